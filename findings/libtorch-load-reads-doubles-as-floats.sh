#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Surprise: torch::load of the C++ libtorch 1.13.1 compares neither dtype nor shape. The bytes of a checkpoint in
#   double, loaded into a module in float, become floats as they lie, so that the weights are wrong, and a weight of
#   another shape replaces the module's. Neither raises an error.
# Seen: 2026-11-28, Debian 12 package libtorch-dev 1.13.1+dfsg-4, g++ 12.2.0.
# Output seen:
#   weights 3 3 of type double were read as 0 2.125 of type float; a weight of shape [1, 2] became [1, 5]
# Since: not known.
# One would have guessed: 3 3 of type float or an error, and an error for the shape.
set -euo pipefail

skip() {
  printf 'cannot be tried here: %s\n' "$1"
  exit 77
}
command -v g++ >/dev/null || skip 'there is no g++ (Debian package g++)'
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# The packages, and what they need that this machine lacks, are unpacked here and not installed, which takes no root.
packages=(libtorch-dev=1.13.1+dfsg-4 libtorch1.13=1.13.1+dfsg-4)
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

cat >"$folder/load.cpp" <<'CPP'
#include <iostream>
#include <sstream>
#include <torch/torch.h>
torch::nn::Linear linear(int inputs, float value) {
  torch::nn::Linear module(torch::nn::LinearOptions(inputs, 1).bias(false));
  torch::nn::init::constant_(module->weight, value);
  return module;
}
int main() {
  auto doubles = linear(2, 3), longer = linear(5, 3), module = linear(2, 0);
  doubles->to(torch::kDouble);
  std::stringstream file, longer_file;
  torch::save(doubles, file);
  torch::save(longer, longer_file);
  torch::load(module, file);
  const float* read = module->weight.data_ptr<float>(); // throws where the type is another now
  std::cout << "weights 3 3 of type double were read as " << read[0] << " " << read[1] << " of type " << module->weight.dtype();
  torch::load(module, longer_file);
  std::cout << "; a weight of shape [1, 2] became " << module->weight.sizes() << std::flush;
}
CPP
LIBRARY_PATH=$libraries timeout 300 g++ -std=c++17 -isystem "$folder/debian/usr/include" \
  -isystem "$folder/debian/usr/include/torch/csrc/api/include" "$folder/load.cpp" -o "$folder/load" \
  -ltorch -ltorch_cpu -lc10 -Wl,--allow-shlib-undefined || { echo 'changed: the program does not compile'; exit 1; }
seen=$(LD_LIBRARY_PATH=$libraries timeout 60 "$folder/load") || seen+=" (ended with status $?)"
expected='weights 3 3 of type double were read as 0 2.125 of type float; a weight of shape [1, 2] became [1, 5]'
if [[ $seen == "$expected" ]]; then
  echo "as stated: $seen"
else
  printf 'changed: expected %s\n         seen     %s\n' "$expected" "$seen"
  exit 1
fi
