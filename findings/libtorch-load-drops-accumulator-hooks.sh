#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Surprise: after torch::load(module, file) of the C++ libtorch 1.13.1 the hooks on its parameters' gradient accumulators are never
#   called again, without an error, even where the accumulators are kept alive: load gives each parameter a new one. It is on
#   such hooks that data parallelism starts to reduce a gradient. Python's load_state_dict copies values and keeps the hooks.
# Seen: 2026-11-28, Debian 12 package libtorch-dev 1.13.1+dfsg-4, g++ 12.2.0.
# Output seen:
#   calls of the hook in a backward: before load 1, gradient 1; after load 0, gradient 1
# One would have guessed: the parameters are the same objects with other values, so 1 call before and after.
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
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>
#include <torch/torch.h>
struct Count final : torch::autograd::FunctionPostHook {
  explicit Count(int& calls) : calls(calls) {}
  torch::autograd::variable_list operator()(const torch::autograd::variable_list& outputs,
                                            const torch::autograd::variable_list&) override {
    ++calls;
    return outputs;
  }
  int& calls;
};
int main() {
  torch::nn::Linear module(1, 1);
  int calls = 0;
  const auto held = torch::autograd::impl::grad_accumulator(module->weight);
  held->add_post_hook(std::make_unique<Count>(calls));
  const auto backward = [&] {
    calls = 0;
    module->zero_grad();
    module(torch::ones({1, 1})).sum().backward();
    std::cout << calls << ", gradient " << module->weight.grad().item<float>();
  };
  std::cout << "calls of the hook in a backward: before load ";
  backward();
  std::stringstream file;
  torch::save(module, file);
  torch::load(module, file);
  std::cout << "; after load ";
  backward();
}
CPP
timeout 300 g++ -std=c++17 -isystem /usr/include/torch/csrc/api/include \
  "$folder/load.cpp" -o "$folder/load" -ltorch -ltorch_cpu -lc10
seen=$(timeout 60 "$folder/load") || seen+=" (ended with status $?)"
expected='calls of the hook in a backward: before load 1, gradient 1; after load 0, gradient 1'
if [[ $seen == "$expected" ]]; then
  echo "as stated: $seen"
else
  printf 'changed: expected %s\n         seen     %s\n' "$expected" "$seen"
  exit 1
fi
