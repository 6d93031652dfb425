#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Surprise: DistributedRandomSampler of the C++ libtorch 1.13.1 deals a rank the same samples in the same order in every
#   epoch, although set_epoch() is called before each as in Python: make_data_loader has a copy of the sampler, which
#   nobody can reach, and the copy stays at epoch 0. So a rank of two sees half of the data set, ever again. The sampler
#   by itself deals others once set_epoch() and reset() are called.
# Seen: 2026-11-30, Debian 12 package libtorch-dev 1.13.1+dfsg-4, g++ 12.2.0.
# Output seen:
#   8 samples, rank 0 of 2: epochs of the loader 0 2 1 5, 0 2 1 5, 0 2 1 5; of the sampler 0 2 1 5, 1 0 2 5, 5 0 3 1
# Since: open, reported 2022-02-19 (pytorch issue 73141).
# One would have guessed: the epochs of the loader are those of the sampler; the sampler's header says that the order is
#   shuffled at each reset(), and the loader resets it.
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

cat >"$folder/epochs.cpp" <<'CPP'
#include <iostream>
#include <torch/torch.h>
struct Numbers : torch::data::datasets::Dataset<Numbers> {
  torch::data::Example<> get(size_t index) override { return {torch::tensor(static_cast<int64_t>(index)), torch::Tensor()}; }
  torch::optional<size_t> size() const override { return 8; }
};
int main() {
  torch::data::samplers::DistributedRandomSampler sampler(8, /*num_replicas=*/2, /*rank=*/0);
  const auto loader = torch::data::make_data_loader(Numbers(), sampler, /*options=*/4);
  std::cout << "8 samples, rank 0 of 2: epochs of the loader";
  for (size_t epoch = 0; epoch < 3; ++epoch) {
    sampler.set_epoch(epoch);
    for (auto& batch : *loader)
      for (const auto& example : batch) std::cout << ' ' << example.data.item<int64_t>();
    std::cout << (epoch < 2 ? "," : ";");
  }
  std::cout << " of the sampler";
  for (size_t epoch = 0; epoch < 3; ++epoch) {
    sampler.set_epoch(epoch);
    sampler.reset();
    const std::vector<size_t> batch = sampler.next(4).value();
    for (const size_t index : batch) std::cout << ' ' << index;
    if (epoch < 2) std::cout << ',';
  }
}
CPP
LIBRARY_PATH=$libraries timeout 300 g++ -std=c++17 -isystem "$folder/debian/usr/include" \
  -isystem "$folder/debian/usr/include/torch/csrc/api/include" "$folder/epochs.cpp" -o "$folder/epochs" \
  -ltorch -ltorch_cpu -lc10 -Wl,--allow-shlib-undefined || { echo 'changed: the program does not compile'; exit 1; }
seen=$(LD_LIBRARY_PATH=$libraries timeout 60 "$folder/epochs") || seen+=" (ended with status $?)"
expected='8 samples, rank 0 of 2: epochs of the loader 0 2 1 5, 0 2 1 5, 0 2 1 5; of the sampler 0 2 1 5, 1 0 2 5, 5 0 3 1'
if [[ $seen == "$expected" ]]; then
  echo "as stated: $seen"
else
  printf 'changed: expected %s\n         seen     %s\n' "$expected" "$seen"
  exit 1
fi
