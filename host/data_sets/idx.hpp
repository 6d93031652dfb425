// SPDX-License-Identifier: Apache-2.0
// Data sets as IDX files, gzipped or not: big-endian magic (0, 0, type, dimensions), the dimensions, then the elements.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "data_sets/images.hpp"

namespace onebit::host {

struct IdxArray {
  std::vector<int64_t> shape;
  std::vector<uint8_t> data;
};
// Reads an array of unsigned bytes with this many dimensions. Throws Error: absent, truncated, damaged or something else.
IdxArray read_idx(const std::filesystem::path& file, int dimensions);

struct FashionMnist {
  Images train, test;
};
// Fashion-MNIST, 60,000 and 10,000 images of 28 x 28, from its four files as they are published, or unpacked.
FashionMnist read_fashion_mnist(const std::filesystem::path& folder);

}  // namespace onebit::host
