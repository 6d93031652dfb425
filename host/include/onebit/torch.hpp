// SPDX-License-Identifier: Apache-2.0
// libtorch meets Session: a module's tensors in the form that Session takes. Header-only, for whoever embeds; needs libtorch
// >= 1.8. Tensors on CUDA want session.device = "cuda", and a libtorch with CUDA, for which CMake defines ONEBIT_TORCH_CUDA.
#pragma once

#include <torch/torch.h>

#include <algorithm>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#ifdef ONEBIT_TORCH_CUDA
#include <c10/cuda/CUDAStream.h>
#endif

#include "onebit/error.hpp"
#include "onebit/session.hpp"
#include "onebit/torch_buffers.hpp"

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

// A trainable parameter of a module. A tied one has one name here, its first, and is all of its tensors: the same one under
// several names, or several with the same memory, of which each has a gradient.
struct Trainable {
  std::string name;
  std::vector<torch::Tensor> tensors;
};

inline bool same_memory(const torch::Tensor& a, const torch::Tensor& b) {
  return a.scalar_type() == b.scalar_type() && a.device() == b.device() && a.sizes() == b.sizes() && a.strides() == b.strides();
}

// In the module's order.
inline std::vector<Trainable> trainable_of(const torch::nn::Module& module) {
  std::vector<Trainable> found;
  std::unordered_map<const void*, size_t> places;  // by address
  for (auto& item : module.named_parameters()) {
    const torch::Tensor& tensor = item.value();
    if (!tensor.requires_grad()) continue;
    const bool somewhere = tensor.layout() == torch::kStrided && tensor.has_storage() && tensor.numel() > 0;
    const void* const address = somewhere ? tensor.data_ptr() : nullptr;
    const auto known = address == nullptr ? places.end() : places.find(address);
    if (known == places.end() || !same_memory(found[known->second].tensors.front(), tensor)) {
      if (address != nullptr) places.emplace(address, found.size());
      found.push_back({item.key(), {tensor}});
      continue;
    }
    std::vector<torch::Tensor>& tied = found[known->second].tensors;
    const auto is_this = [&](const torch::Tensor& other) { return other.is_same(tensor); };
    if (std::none_of(tied.begin(), tied.end(), is_this)) tied.push_back(tensor);
  }
  return found;
}

inline bool is_half(const torch::Tensor& tensor) {
  return tensor.scalar_type() == torch::kBFloat16 || tensor.scalar_type() == torch::kFloat16;
}

// home: the device of the session's other tensors. half: whether 16 bits will do.
inline void require_floats(const torch::Tensor& tensor, const std::string& name, const char* what, const torch::Device& home,
                           bool half, const std::string& remedy) {
  if (tensor.device() != home) refuse(tensor, name, what, "it on " + home.str() + ", where the session's other tensors are");
  if (!home.is_cpu() && !home.is_cuda()) refuse(tensor, name, what, "it in memory of the CPU or of a CUDA device");
  if (tensor.layout() != torch::kStrided || !(tensor.scalar_type() == torch::kFloat32 || (half && is_half(tensor))))
    refuse(tensor, name, what, std::string("contiguous fp32") + (half ? ", fp16 or bf16: " : ": ") + remedy);
}

// What a session keeps of a tensor: the memory that it writes to, until it learns of another; and the tensor's address, that no
// other tensor may get it, without what the tensor owns.
struct Held {
  using Object = c10::weak_intrusive_ptr<c10::TensorImpl, c10::UndefinedTensorImpl>;
  c10::Storage memory;
  Object object;
};

// As a session knows it. Row by row, or dense with its dimensions in another order (channels last).
inline Parameter parameter_of(const torch::Tensor& tensor, const std::string& name, const torch::Device& home) {
  require_floats(tensor, name, "parameter", home, true,
                 "convert the module before its session is made, module.to(torch::kFloat32)");
  if (!tensor.unsafeGetTensorImpl()->is_non_overlapping_and_dense())
    refuse(tensor, name, "parameter",
           "it contiguous, or dense with its dimensions in another order (channels last): give it memory of its own before the "
           "session is made, parameter.set_data(parameter.contiguous())");
  Parameter made = {name, tensor.sizes().vec()};
  if (is_half(tensor))
    made.half = static_cast<uint16_t*>(tensor.data_ptr());
  else
    made.data = tensor.data_ptr<float>();
  made.half_type = tensor.scalar_type() == torch::kFloat16 ? HalfType::fp16 : HalfType::bf16;
  if (!tensor.is_contiguous()) made.strides = tensor.strides().vec();
  made.device = {home.is_cpu() ? ONEBIT_DEVICE_CPU : ONEBIT_DEVICE_CUDA, home.is_cpu() ? 0 : home.index()};
  made.identity = tensor.unsafeGetTensorImpl();
  made.memory = std::make_shared<const Held>(Held{tensor.storage(), Held::Object(tensor.getIntrusivePtr())});
  return made;
}

// The gradient as fp32, in the order of its parameter; NULL where there is none. backward() may leave another memory format,
// and leaves the parameter's type.
inline torch::Tensor gradient_of(const torch::Tensor& parameter, const std::string& name) {
  torch::Tensor gradient = parameter.grad();
  if (!gradient.defined()) return gradient;
  require_floats(gradient, name, "gradient", parameter.device(), is_half(parameter),
                 gradient.layout() == torch::kStrided
                     ? "what is left of another type is dropped by mutable_grad() = torch::Tensor()"
                     : "make the layer without sparse gradients");
  if (gradient.sizes() != parameter.sizes())
    refuse(gradient, name, "gradient",
           "the sizes of its parameter, " + c10::str(parameter.sizes()) + ", and not " + c10::str(gradient.sizes()) +
               ": drop it, mutable_grad() = torch::Tensor()");
  const bool in_order = parameter.is_contiguous() ? gradient.is_contiguous() : gradient.strides() == parameter.strides();
  const torch::NoGradGuard no_gradients;
  if (gradient.scalar_type() != torch::kFloat32)
    return torch::empty_strided(parameter.sizes(), parameter.strides(), gradient.options().dtype(torch::kFloat32))
        .copy_(gradient);
  if (in_order) return gradient;
  gradient = torch::empty_strided(parameter.sizes(), parameter.strides(), gradient.options()).copy_(gradient);
  parameter.mutable_grad() = gradient;
  return gradient;
}

// The gradient; of a tied parameter the sum of what its tensors have. Undefined where there is none.
inline torch::Tensor sum_of(const Trainable& trainable) {
  torch::Tensor sum;
  for (const torch::Tensor& tensor : trainable.tensors) {
    const torch::Tensor gradient = gradient_of(tensor, trainable.name);
    if (!gradient.defined()) continue;
    const torch::NoGradGuard no_gradients;
    sum = sum.defined() ? sum + gradient : gradient;
  }
  return sum;
}

inline Gradient gradient_of(const Trainable& trainable) {
  Gradient made;
  const torch::Tensor& first = trainable.tensors.front();
  made.parameter = parameter_of(first, trainable.name, first.device());
  const torch::Tensor sum = sum_of(trainable);
  if (sum.defined()) made.data = sum.data_ptr<float>();
  if (sum.defined() && !sum.is_same(first.grad())) made.memory = std::make_shared<const torch::Tensor>(sum);
  return made;
}

}  // namespace detail

// The trainable parameters of a module, by name, in its own order; all on one device, each fp32, fp16 or bf16 (parameter.hpp
// says what a session makes of these), contiguous or dense (channels last). A tied parameter is one, by the first of its names.
// They stay the module's. What gives them other memory of the same shape, type, order and device (torch::load,
// set_data, to(torch::kFloat64) and back) the session follows at its next step with gradients_of(module), and wants the same
// values on every rank. Which of them are trainable may not change as long as it lives.
inline std::vector<Parameter> parameters_of(const torch::nn::Module& module) {
  std::vector<Parameter> parameters;
  const std::vector<detail::Trainable> found = detail::trainable_of(module);
  for (const detail::Trainable& trainable : found) {
    const torch::Tensor& tensor = trainable.tensors.front();
    parameters.push_back(detail::parameter_of(tensor, trainable.name, found.front().tensors.front().device()));
  }
  return parameters;
}

// Their gradients after backward(), NULL where there is none, each where its parameter is, with the parameters as they are now.
// They stay the module's: good until its next backward() or zero_grad().
inline ModelGradients gradients_of(const torch::nn::Module& module) {
  std::vector<Gradient> gradients;
  for (const detail::Trainable& trainable : detail::trainable_of(module)) gradients.push_back(detail::gradient_of(trainable));
  return ModelGradients(std::move(gradients));
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
