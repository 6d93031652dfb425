// SPDX-License-Identifier: Apache-2.0
// The device of a model as libtorch knows it, and a stream there.
#pragma once

#include <c10/core/StreamGuard.h>
#include <torch/torch.h>

#include <string>

#ifdef ONEBIT_TORCH_CUDA
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAStream.h>
#endif

#include "libtorch/telling.hpp"
#include "models/models.hpp"
#include "onebit/error.hpp"

namespace onebit::host {

#ifdef ONEBIT_TORCH_CUDA

inline torch::Device cuda_device(int number) {
  const int devices = telling([] { return c10::cuda::device_count_ensure_non_zero(); }, Code::unavailable,
                              "session.device = \"cuda\", but libtorch " TORCH_VERSION " finds no CUDA device");
  return {torch::kCUDA, static_cast<torch::DeviceIndex>(number % devices)};
}

// Of no other rank: in a common stream, one rank's work would wait behind a step that waits for the other's.
inline c10::Stream new_cuda_stream(const torch::Device& device) { return c10::cuda::getStreamFromPool(false, device.index()); }

#else

inline torch::Device cuda_device(int) {
#ifdef ONEBIT_TORCH_CUDA_WITHOUT_HEADERS
  const std::string reason =
      "without the CUDA of libtorch " TORCH_VERSION ", for no headers of CUDA " ONEBIT_TORCH_CUDA_WITHOUT_HEADERS
      " were found: install that CUDA toolkit (or, beside a torch from pip, nvidia-cuda-crt), configure";
#else
  const std::string reason =
      "with a libtorch without CUDA (" TORCH_VERSION
      "): install a CUDA build of torch (`python3 -m pip install torch`), configure with "
      "-DCMAKE_PREFIX_PATH=FOLDER, the one that `python3 -c 'import torch; print(torch.utils.cmake_prefix_path)'` prints,";
#endif
  throw Error(Code::unavailable, "this onebit was built " + reason + " and build again, or set session.device = \"cpu\"");
}
// Never called: there is no such device.
inline c10::Stream new_cuda_stream(const torch::Device& device) { return c10::Stream(c10::Stream::DEFAULT, device); }

#endif

inline torch::Device torch_device(const ModelDevice& device) {
  return device.type == ONEBIT_DEVICE_CUDA ? cuda_device(device.number) : torch::Device(torch::kCPU);
}
inline c10::Stream new_stream(const torch::Device& device) {
  return device.is_cuda() ? new_cuda_stream(device) : c10::Stream(c10::Stream::DEFAULT, device);
}

}  // namespace onebit::host
