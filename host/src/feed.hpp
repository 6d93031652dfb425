// From a data set to the batches of one rank.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "idx.hpp"
#include "models.hpp"

namespace onebit::host {

class Feed {
 public:
  // images outlive the feed.
  explicit Feed(const Images& images) : images_(images) {
    for (size_t pixel = 0; pixel < level_.size(); ++pixel)
      level_[pixel] = static_cast<float>((static_cast<double>(pixel) / 255 - kMean) / kDeviation);
  }

  // `count` images, index(i) telling which; good until the next call.
  template <class Index>
  Batch take(int64_t count, Index&& index) {
    const int64_t size = images_.rows * images_.columns;
    pixels_.resize(static_cast<size_t>(count * size));
    labels_.resize(static_cast<size_t>(count));
    float* out = pixels_.data();
    for (int64_t i = 0; i < count; ++i) {
      const int64_t image = index(i);
      const uint8_t* from = images_.pixels.data() + image * size;
      for (int64_t p = 0; p < size; ++p) *out++ = level_[from[p]];
      labels_[static_cast<size_t>(i)] = images_.labels[static_cast<size_t>(image)];
    }
    return {pixels_.data(), labels_.data(), count, images_.rows, images_.columns};
  }

 private:
  static constexpr double kMean = 0.2860, kDeviation = 0.3530;  // of Fashion-MNIST's training set

  const Images& images_;
  std::array<float, 256> level_{};  // what a pixel's value is to the model
  std::vector<float> pixels_;
  std::vector<int64_t> labels_;
};

}  // namespace onebit::host
