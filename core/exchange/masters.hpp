// SPDX-License-Identifier: Apache-2.0
// Masters: the fp32 copies of parameters that the embedder has in 16 bits (parameter.hpp says what they are for).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "device/buffer.hpp"
#include "device/device.hpp"
#include "dtypes/wire_type.hpp"
#include "onebit/optimizer.hpp"

namespace onebit {

class Masters {
 public:
  // tensors: of the model. The meter outlives it; its device is whose memory all is in.
  Masters(MemoryMeter& meter, size_t tensors) : meter_(meter), all_(tensors) {}

  // Answers the tensor's masters, zeros at first: they are good as long as this.
  float* add(size_t tensor, WireType type, uint16_t* halves, int64_t elements);
  bool any() const { return bytes_ > 0; }
  uint64_t bytes() const { return bytes_; }

  // The embedder's halves are there now, NULL where they have been: each master that does not round to its half becomes the
  // half's value.
  void take(size_t tensor, uint16_t* halves = nullptr);
  void take_all();
  // The embedder's become the masters, rounded. skip: of the device; NULL: they do.
  void round_all(const int32_t* skip = nullptr) const;
  // The same of one block, on the CPU, in its cache.
  void round(const onebit_block& block) const;

 private:
  struct Master {
    WireType type = WireType::fp32;
    uint16_t* halves = nullptr;  // NULL: the parameter is fp32
    Buffer values;
    int64_t elements = 0;
  };
  MemoryMeter& meter_;
  std::vector<Master> all_;  // by tensor
  uint64_t bytes_ = 0;
};

}  // namespace onebit
