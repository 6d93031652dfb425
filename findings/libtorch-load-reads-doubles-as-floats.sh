#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Surprise: torch::load of the C++ libtorch 1.13.1 compares neither dtype nor shape. The bytes of a checkpoint in double, loaded
#   into a module in float, become floats as they lie, so that the weights are wrong, and a weight of another shape replaces
#   the module's. Neither raises an error. Python's load_state_dict converts the first and refuses the second.
# Seen: 2026-11-28, Debian 12 package libtorch-dev 1.13.1+dfsg-4, g++ 12.2.0.
# Output seen:
#   weights 3 3 of type double were read as 0 2.125 of type float; a weight of shape [1, 2] became [1, 5]
# One would have guessed: 3 3 of type float or an error, and an error for the shape.
set -euo pipefail

skip() {
  printf 'can not be tried here: %s\n' "$1"
  exit 77
}
((EUID == 0)) || skip 'only root can install packages'
packages=(libtorch-dev=1.13.1+dfsg-4 g++)
DEBIAN_FRONTEND=noninteractive timeout 500 apt-get -o DPkg::Lock::Timeout=300 -qq -y --no-install-recommends install \
  "${packages[@]}" >/dev/null 2>&1 || skip "apt-get can not install ${packages[*]}"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

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
timeout 300 g++ -std=c++17 -isystem /usr/include/torch/csrc/api/include \
  "$folder/load.cpp" -o "$folder/load" -ltorch -ltorch_cpu -lc10
seen=$(timeout 60 "$folder/load") || seen+=" (ended with status $?)"
expected='weights 3 3 of type double were read as 0 2.125 of type float; a weight of shape [1, 2] became [1, 5]'
if [[ $seen == "$expected" ]]; then
  echo "as stated: $seen"
else
  printf 'changed: expected %s\n         seen     %s\n' "$expected" "$seen"
  exit 1
fi
