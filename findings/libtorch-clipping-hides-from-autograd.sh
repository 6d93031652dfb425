#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Surprise: clip_grad_norm_ of the C++ libtorch 1.13.1 changes gradients behind autograd's back. It multiplies
#   grad.data(), which has a version counter of its own, so grad._version() stays as it is and autograd's check of
#   tensors that were saved for a later backward sees nothing. A gradient penalty that was computed before the clipping
#   then gets a wrong derivative without an error. clip_grad_value_ does the same.
# Seen: 2026-11-30, Debian 12 package libtorch-dev 1.13.1+dfsg-4, g++ 12.2.0. The header of PyTorch 2.15.0 has the same
#   line; there it was read and not run.
# Output seen (p = 3, y = p^3, the derivative of (dy/dp)^2 after the gradient was changed, and its version before and
#   after):
#   unclipped 972, version 1 to 1; clip_grad_norm_ 36, version 1 to 1; clip_grad_value_ 36, version 1 to 1;
#   grad.mul_ an error, version 1 to 2
# Since: not known.
# One would have guessed: the version goes up as with every operation in place, and the second backward() throws "has
#   been modified by an inplace operation", as it does with grad.mul_.
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

cat >"$folder/clip.cpp" <<'CPP'
#include <functional>
#include <iostream>
#include <torch/torch.h>
void try_with(const std::function<void(torch::Tensor&)>& change) {
  torch::Tensor p = torch::full({1}, 3.0, torch::requires_grad());
  p.pow(3).sum().backward({}, /*retain_graph=*/true, /*create_graph=*/true);
  const torch::Tensor gradient = p.grad();
  const torch::Tensor penalty = gradient.pow(2).sum();
  const auto before = gradient._version();
  change(p);
  const auto after = gradient._version();
  p.mutable_grad() = torch::Tensor();
  try {
    penalty.backward();
    std::cout << p.grad().item<float>();
  } catch (const c10::Error& error) {
    const bool told = std::string(error.what()).find("modified by an inplace operation") != std::string::npos;
    std::cout << (told ? "an error" : "another error");
  }
  std::cout << ", version " << before << " to " << after;
}
int main() {
  std::cout << "unclipped ";
  try_with([](torch::Tensor&) {});
  std::cout << "; clip_grad_norm_ ";
  try_with([](torch::Tensor& p) { torch::nn::utils::clip_grad_norm_(p, 1.0); });
  std::cout << "; clip_grad_value_ ";
  try_with([](torch::Tensor& p) { torch::nn::utils::clip_grad_value_(p, 1.0); });
  std::cout << "; grad.mul_ ";
  try_with([](torch::Tensor& p) {
    const torch::NoGradGuard no_gradients;
    p.mutable_grad().mul_(1.0 / 27);
  });
}
CPP
LIBRARY_PATH=$libraries timeout 300 g++ -std=c++17 -isystem "$folder/debian/usr/include" \
  -isystem "$folder/debian/usr/include/torch/csrc/api/include" "$folder/clip.cpp" -o "$folder/clip" \
  -ltorch -ltorch_cpu -lc10 -Wl,--allow-shlib-undefined || { echo 'changed: the program does not compile'; exit 1; }
seen=$(LD_LIBRARY_PATH=$libraries timeout 60 "$folder/clip" 2>"$folder/told") || seen+=" (ended with status $?)"
expected='unclipped 972, version 1 to 1; clip_grad_norm_ 36, version 1 to 1; clip_grad_value_ 36, version 1 to 1; grad.mul_ an error, version 1 to 2'
if [[ $seen == "$expected" ]]; then
  echo "as stated: $seen"
else
  printf 'changed: expected %s\n         seen     %s\n' "$expected" "$seen"
  exit 1
fi
