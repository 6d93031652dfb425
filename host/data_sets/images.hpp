// SPDX-License-Identifier: Apache-2.0
// Gray images with labels, as samples.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "data_sets/data_set.hpp"

namespace onebit::host {

// Row by row, each with a label below `classes`.
struct Images {
  int64_t count = 0, rows = 0, columns = 0;
  int64_t classes = 10;
  std::vector<uint8_t> pixels;
  std::vector<uint8_t> labels;
};

class ImageSamples final : public Samples {
 public:
  explicit ImageSamples(Images images);
  int64_t count() const override { return images_.count; }
  int64_t answers() const override { return 1; }
  std::unique_ptr<Feed> feed() const override;

  const Images& images() const { return images_; }
  // What a pixel's value is to the model.
  const std::array<float, 256>& levels() const { return levels_; }

 private:
  const Images images_;
  std::array<float, 256> levels_{};
};

}  // namespace onebit::host
