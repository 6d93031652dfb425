#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Surprise: Module::to(torch::kBFloat16) of the C++ libtorch 1.13.1 converts parameters and leaves their gradients as
#   they are, and what later backward passes find is added to those. So a bf16 parameter has an fp32 gradient until it is
#   dropped. In Python's torch of the same release Module.to(torch.bfloat16) converts both. Who reads a gradient as what
#   its parameter is made of reads other numbers.
# Seen: 2026-11-30, Debian 12 packages libtorch-dev and python3-torch 1.13.1+dfsg-4, g++ 12.2.0. A linear layer is
#   converted between two backward passes that are not preceded by zero_grad().
# Output seen:
#   C++: parameter c10::BFloat16, gradient float; Python: parameter torch.bfloat16, gradient torch.bfloat16
# Since: not known.
# One would have guessed: a gradient has the type of its parameter, in C++ too.
set -euo pipefail

skip() {
  printf 'cannot be tried here: %s\n' "$1"
  exit 77
}
command -v g++ >/dev/null || skip 'there is no g++ (Debian package g++)'
[[ -x /usr/bin/python3 ]] || skip 'there is no /usr/bin/python3 (Debian package python3)'
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# The packages, and what they need that this machine lacks, are unpacked here and not installed, which takes no root.
packages=(libtorch-dev=1.13.1+dfsg-4 python3-torch=1.13.1+dfsg-4 libtorch1.13=1.13.1+dfsg-4)
mkdir -p "$folder"/{archives,lists}/partial
fetch() {
  timeout 500 apt-get -qq -o Debug::NoLocking=1 -o Dir::Cache::Archives="$folder/archives" -o APT::Get::Assume-Yes=1 \
    -o APT::Install-Recommends=0 -o APT::Get::ReInstall=1 -o APT::Get::allow-downgrades=1 -o APT::Get::Download-Only=1 \
    "$@" >>"$folder/apt.log" 2>&1
}
lists=(-o Dir::State::Lists="$folder/lists") # where those of the machine are missing or too old
fetch install "${packages[@]}" || { fetch "${lists[@]}" update && fetch "${lists[@]}" install "${packages[@]}"; } ||
  skip "apt-get cannot download ${packages[*]}: $(tail -n 1 "$folder/apt.log")"
for package in "$folder"/archives/*.deb; do dpkg -x "$package" "$folder/debian" || skip "dpkg cannot unpack $package"; done
libraries=$(find "$folder/debian" -name 'lib*.so*' -printf '%h\n' | sort -u | paste -sd :)

cat >"$folder/convert.cpp" <<'CPP'
#include <iostream>
#include <torch/torch.h>
int main() {
  torch::nn::Linear layer(3, 2);
  layer(torch::ones({1, 3})).sum().backward();
  layer->to(torch::kBFloat16);
  layer(torch::ones({1, 3}, torch::kBFloat16)).sum().backward();
  std::cout << "C++: parameter " << layer->weight.dtype() << ", gradient " << layer->weight.grad().dtype() << std::flush;
}
CPP
cat >"$folder/convert.py" <<'PYTHON'
import torch

layer = torch.nn.Linear(3, 2)
layer(torch.ones(1, 3)).sum().backward()
layer.to(torch.bfloat16)
layer(torch.ones(1, 3, dtype=torch.bfloat16)).sum().backward()
print(f"; Python: parameter {layer.weight.dtype}, gradient {layer.weight.grad.dtype}")
PYTHON
LIBRARY_PATH=$libraries timeout 300 g++ -std=c++17 -isystem "$folder/debian/usr/include" \
  -isystem "$folder/debian/usr/include/torch/csrc/api/include" "$folder/convert.cpp" -o "$folder/convert" \
  -ltorch -ltorch_cpu -lc10 -Wl,--allow-shlib-undefined || { echo 'changed: the program does not compile'; exit 1; }
seen=$(LD_LIBRARY_PATH=$libraries timeout 60 "$folder/convert") || seen+=" (ended with status $?)"
export PYTHONPATH=$folder/debian/usr/lib/python3/dist-packages
seen+=$(LD_LIBRARY_PATH=$libraries timeout 60 /usr/bin/python3 "$folder/convert.py") || seen+=" (ended with status $?)"
expected='C++: parameter c10::BFloat16, gradient float; Python: parameter torch.bfloat16, gradient torch.bfloat16'
if [[ $seen == "$expected" ]]; then
  echo "as stated: $seen"
else
  printf 'changed: expected %s\n         seen     %s\n' "$expected" "$seen"
  exit 1
fi
