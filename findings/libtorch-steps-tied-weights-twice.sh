#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Surprise: where one tensor is registered in two places of a module (tied weights), parameters() of the C++ libtorch
#   1.13.1 lists it twice, and an optimizer made from that list moves it twice in each step, without an error. In
#   Python's torch of the same release parameters() lists it once. So the same network learns with other steps when it
#   is ported to C++.
# Seen: 2026-11-28, Debian 12 packages libtorch-dev and python3-torch 1.13.1+dfsg-4, g++ 12.2.0. A weight of 1 with a
#   gradient of 2 takes one step of SGD with a learning rate of 0.1.
# Output seen:
#   C++: 2 parameters, weight 0.6; Python: 1 parameter, weight 0.8
# Since: not known.
# One would have guessed: both list the tensor once, so 0.8 twice.
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

cat >"$folder/tied.cpp" <<'CPP'
#include <iostream>
#include <torch/torch.h>
struct Tied : torch::nn::Module {
  torch::Tensor weight = register_parameter("encoder", torch::ones(1));
  Tied() { register_parameter("decoder", weight); }
};
int main() {
  Tied module;
  torch::optim::SGD optimizer(module.parameters(), torch::optim::SGDOptions(0.1));
  (2 * module.weight).sum().backward();
  optimizer.step();
  std::cout << "C++: " << module.parameters().size() << " parameters, weight " << module.weight.item<float>() << std::flush;
}
CPP
cat >"$folder/tied.py" <<'PYTHON'
import torch

class Tied(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = torch.nn.Parameter(torch.ones(1))
        self.decoder = self.encoder

module = Tied()
optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
(2 * module.encoder).sum().backward()
optimizer.step()
print(f"; Python: {len(list(module.parameters()))} parameter, weight {module.encoder.item():.1f}")
PYTHON
LIBRARY_PATH=$libraries timeout 300 g++ -std=c++17 -isystem "$folder/debian/usr/include" \
  -isystem "$folder/debian/usr/include/torch/csrc/api/include" "$folder/tied.cpp" -o "$folder/tied" \
  -ltorch -ltorch_cpu -lc10 -Wl,--allow-shlib-undefined || { echo 'changed: the program does not compile'; exit 1; }
seen=$(LD_LIBRARY_PATH=$libraries timeout 60 "$folder/tied") || seen+=" (ended with status $?)"
export PYTHONPATH=$folder/debian/usr/lib/python3/dist-packages
seen+=$(LD_LIBRARY_PATH=$libraries timeout 60 /usr/bin/python3 "$folder/tied.py") || seen+=" (ended with status $?)"
expected='C++: 2 parameters, weight 0.6; Python: 1 parameter, weight 0.8'
if [[ $seen == "$expected" ]]; then
  echo "as stated: $seen"
else
  printf 'changed: expected %s\n         seen     %s\n' "$expected" "$seen"
  exit 1
fi
