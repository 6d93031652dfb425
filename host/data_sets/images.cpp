// SPDX-License-Identifier: Apache-2.0
// Images as batches.
#include "data_sets/images.hpp"

#include <utility>

namespace onebit::host {
namespace {

constexpr double kMean = 0.2860, kDeviation = 0.3530;  // of Fashion-MNIST's training set

class ImageFeed final : public Feed {
 public:
  explicit ImageFeed(const ImageSamples& samples) : samples_(samples) {}
  Batch take(const std::vector<int64_t>& samples) override {
    const Images& images = samples_.images();
    const int64_t size = images.rows * images.columns;
    pixels_.resize(samples.size() * static_cast<size_t>(size));
    labels_.resize(samples.size());
    float* out = pixels_.data();
    for (size_t i = 0; i < samples.size(); ++i) {
      const uint8_t* from = images.pixels.data() + samples[i] * size;
      for (int64_t p = 0; p < size; ++p) *out++ = samples_.levels()[from[p]];
      labels_[i] = images.labels[static_cast<size_t>(samples[i])];
    }
    return {static_cast<int64_t>(samples.size()), 1, labels_.data(), pixels_.data(), nullptr, images.rows, images.columns};
  }

 private:
  const ImageSamples& samples_;
  std::vector<float> pixels_;
  std::vector<int64_t> labels_;
};

}  // namespace

ImageSamples::ImageSamples(Images images) : images_(std::move(images)) {
  for (size_t pixel = 0; pixel < levels_.size(); ++pixel)
    levels_[pixel] = static_cast<float>((static_cast<double>(pixel) / 255 - kMean) / kDeviation);
}

std::unique_ptr<Feed> ImageSamples::feed() const { return std::make_unique<ImageFeed>(*this); }

}  // namespace onebit::host
