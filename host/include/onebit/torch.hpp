// SPDX-License-Identifier: Apache-2.0
// libtorch meets Session: a module's tensors in the form that Session takes. Header-only, for whoever embeds; needs libtorch
// >= 1.8. Tensors on CUDA want session.device = "cuda", and a libtorch with CUDA, for which CMake defines ONEBIT_TORCH_CUDA.
#pragma once

#include <torch/torch.h>

#include <string>
#include <vector>

#ifdef ONEBIT_TORCH_CUDA
#include <c10/cuda/CUDAStream.h>
#endif

#include "onebit/error.hpp"
#include "onebit/session.hpp"

namespace onebit {
namespace detail {

// A tensor that a session can't take.
[[noreturn]] inline void refuse(const torch::Tensor& tensor, const std::string& name, const char* what,
                                const std::string& expected) {
  const bool strided = tensor.layout() == torch::kStrided;
  throw Error(Code::unsupported, std::string(what) + " of '" + name + "' is " + tensor.toString() + " on " +
                                     tensor.device().str() + (strided && !tensor.is_contiguous() ? ", not contiguous" : "") +
                                     "; expected " + expected);
}

// home: the device of the session's other tensors.
inline float* dense_floats(const torch::Tensor& tensor, const std::string& name, const char* what, const torch::Device& home) {
  if (tensor.device() != home) refuse(tensor, name, what, "it on " + home.str() + ", where the session's other tensors are");
  if (!home.is_cpu() && !home.is_cuda()) refuse(tensor, name, what, "it in memory of the CPU or of a CUDA device");
  if (tensor.scalar_type() != torch::kFloat32 || tensor.layout() != torch::kStrided || !tensor.is_contiguous())
    refuse(tensor, name, what, "contiguous fp32");
  return tensor.data_ptr<float>();
}

}  // namespace detail

// The trainable parameters of a module, by name, in its own order; all on one device. They stay the module's: it must not move
// them (to another device or type) nor change which of them are trainable as long as the session lives.
inline std::vector<Parameter> parameters_of(const torch::nn::Module& module) {
  std::vector<Parameter> parameters;
  torch::Device home = torch::kCPU;
  for (const auto& item : module.named_parameters()) {
    const torch::Tensor& tensor = item.value();
    if (!tensor.requires_grad()) continue;
    if (parameters.empty()) home = tensor.device();
    parameters.push_back({item.key(), tensor.sizes().vec(), detail::dense_floats(tensor, item.key(), "parameter", home)});
  }
  return parameters;
}

// Their gradients after backward(), NULL where there is none, each where its parameter is. They stay the module's: good until
// its next backward() or zero_grad().
inline std::vector<const float*> gradients_of(const torch::nn::Module& module) {
  std::vector<const float*> gradients;
  for (const auto& item : module.named_parameters()) {
    if (!item.value().requires_grad()) continue;
    torch::Tensor& gradient = item.value().mutable_grad();
    if (gradient.defined() && gradient.layout() == torch::kStrided)
      gradient = gradient.contiguous();  // backward() may leave another memory format
    const torch::Device home = item.value().device();
    gradients.push_back(gradient.defined() ? detail::dense_floats(gradient, item.key(), "gradient", home) : nullptr);
  }
  return gradients;
}

// What Session::step() takes as `stream`: the calling thread's current stream of libtorch on this device, in which gradients
// are made and parameters are used; NULL on the CPU. libtorch's default stream is NULL as well, which CUDA reads as its legacy
// default stream. Ranks that are threads and share a device need a stream each: in a common one each rank's work would wait
// behind a step that waits for the other's.
inline void* torch_stream(const torch::Device& device) {
  if (device.is_cpu()) return nullptr;
#ifdef ONEBIT_TORCH_CUDA
  if (device.is_cuda()) return c10::cuda::getCurrentCUDAStream(device.index()).stream();
#endif
  throw Error(Code::unsupported,
              "there is no stream for " + device.str() +
                  ": expected the CPU, or a CUDA device and an onebit that was built with a libtorch with CUDA");
}

}  // namespace onebit
