// SPDX-License-Identifier: Apache-2.0
#include "yardstick.hpp"

#include "kernels.hpp"

namespace onebit::gpu_bench {

Yardstick::Yardstick(MemoryMeter& meter, int64_t elements, cudaStream_t stream)
    : elements_(elements),
      stream_(stream),
      from_(meter, static_cast<size_t>(elements) * sizeof(float)),
      to_(meter, static_cast<size_t>(elements) * sizeof(float)) {
  fill(from_.as<float>(), elements_, 1, stream_);
}

double Yardstick::seconds(Way way) {
  return stopwatch_.seconds(stream_, [&] {
    if (way == Way::kernel) return copy(from_.as<float>(), to_.as<float>(), elements_, stream_);
    const auto bytes = static_cast<size_t>(elements_) * sizeof(float);
    cuda::check(cudaMemcpyAsync(to_.bytes(), from_.bytes(), bytes, cudaMemcpyDeviceToDevice, stream_), "cudaMemcpyAsync");
  });
}

}  // namespace onebit::gpu_bench
