// libtorch meets Session: a module's tensors in the form that Session takes. Header-only, for whoever embeds; needs libtorch
// >= 1.8.
#pragma once

#include <torch/torch.h>

#include <string>
#include <vector>

#include "onebit/error.hpp"
#include "onebit/session.hpp"

namespace onebit {
namespace detail {

inline float* dense_floats(const torch::Tensor& tensor, const std::string& name, const char* what) {
  if (tensor.scalar_type() != torch::kFloat32 || !tensor.device().is_cpu() || tensor.layout() != torch::kStrided ||
      !tensor.is_contiguous())
    throw Error(Code::unsupported, std::string(what) + " of '" + name + "' is " + tensor.toString() +
                                       "; expected contiguous fp32 in the CPU's memory");
  return tensor.data_ptr<float>();
}

}  // namespace detail

// The trainable parameters of a module, by name, in its own order. They stay the module's: it must not move them (to another
// device or type) nor change which of them are trainable as long as the session lives.
inline std::vector<Parameter> parameters_of(const torch::nn::Module& module) {
  std::vector<Parameter> parameters;
  for (const auto& item : module.named_parameters())
    if (item.value().requires_grad())
      parameters.push_back(
          {item.key(), item.value().sizes().vec(), detail::dense_floats(item.value(), item.key(), "parameter")});
  return parameters;
}

// Their gradients after backward(), NULL where there is none. They stay the module's: good until its next backward() or
// zero_grad().
inline std::vector<const float*> gradients_of(const torch::nn::Module& module) {
  std::vector<const float*> gradients;
  for (const auto& item : module.named_parameters()) {
    if (!item.value().requires_grad()) continue;
    torch::Tensor& gradient = item.value().mutable_grad();
    if (gradient.defined()) gradient = gradient.contiguous();  // backward() may leave another memory format
    gradients.push_back(gradient.defined() ? detail::dense_floats(gradient, item.key(), "gradient") : nullptr);
  }
  return gradients;
}

}  // namespace onebit
