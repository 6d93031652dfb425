// SPDX-License-Identifier: Apache-2.0
// Bytes of device memory a parameter that sessions hold: what `onebit check` promises, what a session tells of itself, and what
// the device has less.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace onebit::gpu_bench {

// Bytes an element of the model, without its parameters and gradients.
struct Held {
  std::string optimizer, stage;
  int64_t elements = 0;
  double promised = 0;  // state, errors and retained means
  double held = 0;      // of these
  double buffers = 0;   // of the exchange, besides
  double measured = 0;  // all that the device has less than before the session
};

// Of each optimizer and stage, for a model of so many elements, or fewer.
void measure_memory(int64_t elements, int64_t bucket_bytes, const std::function<void(const Held&)>& say);

}  // namespace onebit::gpu_bench
