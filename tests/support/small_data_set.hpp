// SPDX-License-Identifier: Apache-2.0
// A data set like Fashion-MNIST, small and easy: class c has bright rows 2 c + 4 and 2 c + 5, over noise.
#pragma once

#include <zlib.h>

#include <filesystem>
#include <stdexcept>
#include <string>

#include "data_sets/idx.hpp"
#include "data_sets/random.hpp"

namespace onebit::test {

inline host::Images small_images(int64_t count, uint64_t seed) {
  host::Images images{count, 28, 28, 10, {}, {}};
  host::Random random(seed);
  for (int64_t i = 0; i < count; ++i) {
    const auto label = static_cast<int64_t>(random.below(10));
    images.labels.push_back(static_cast<uint8_t>(label));
    for (int64_t row = 0; row < 28; ++row)
      for (int64_t column = 0; column < 28; ++column)
        images.pixels.push_back(static_cast<uint8_t>(random.below(100) + (row / 2 == label + 2 ? 150 : 0)));
  }
  return images;
}
inline host::FashionMnist small_data_set(int64_t train, int64_t test) {
  return {small_images(train, 1), small_images(test, 2)};
}

inline void write_gzip(const std::filesystem::path& file, const std::string& bytes) {
  gzFile out = ::gzopen(file.c_str(), "wb1");
  const bool good = ::gzwrite(out, bytes.data(), static_cast<unsigned>(bytes.size())) == static_cast<int>(bytes.size());
  if (::gzclose(out) != Z_OK || !good) throw std::runtime_error("cannot write " + file.string());
}

inline std::string big_endian(const std::vector<int64_t>& values) {
  std::string bytes;
  for (const int64_t v : values)
    for (int shift = 24; shift >= 0; shift -= 8) bytes.push_back(static_cast<char>(v >> shift));
  return bytes;
}

// As the four files that a data folder has.
inline void write_data_set(const host::FashionMnist& data, const std::filesystem::path& folder) {
  const auto write = [&](const host::Images& images, const std::string& part) {
    write_gzip(folder / (part + "-images-idx3-ubyte.gz"), big_endian({0x803, images.count, images.rows, images.columns}) +
                                                              std::string(images.pixels.begin(), images.pixels.end()));
    write_gzip(folder / (part + "-labels-idx1-ubyte.gz"),
               big_endian({0x801, images.count}) + std::string(images.labels.begin(), images.labels.end()));
  };
  write(data.train, "train");
  write(data.test, "t10k");
}

}  // namespace onebit::test
