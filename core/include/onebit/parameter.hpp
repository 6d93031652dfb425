// SPDX-License-Identifier: Apache-2.0
// What a session trains: parameters and gradients as the embedder hands them over.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "onebit/abi.h"

namespace onebit {

enum class HalfType { fp16, bf16 };

// A tensor of the model: fp32, fp16 or bf16 in the memory of session.device, owned by the embedder, alive and in place as long
// as the session, unless every step is told where it is (ModelGradients). Memory belongs to one parameter of one session:
// overlaps are refused.
struct Parameter {
  std::string name;
  std::vector<int64_t> shape;
  float* data = nullptr;  // fp32; NULL where it is in `half`
  // In elements; empty: row by row. Other strides must leave neither gap nor overlap: such a tensor (channels last, transposed)
  // is taken in the order of its memory, which is the same on every rank, and so are its gradients.
  std::vector<int64_t> strides = {};
  onebit_device device = {0, 0};   // where data is; type 0: the embedder vouches for it
  const void* identity = nullptr;  // the object that stays where its memory changes; NULL: the name will do
  // Keeps data, and what identity points at, as long as the session uses them; NULL: the embedder does.
  std::shared_ptr<const void> memory = {};
  // Of 16 bits. The session keeps an fp32 copy then, its master weights (Micikevicius et al., Mixed Precision Training, ICLR
  // 2018, section 3.1): those are stepped, saved and compared, 4 more bytes a parameter, and after each step `half` is what
  // they are, rounded to nearest even. So what is written there between steps is overwritten: to change a parameter, load() a
  // checkpoint, or give it other memory. Gradients are fp32.
  uint16_t* half = nullptr;
  HalfType half_type = HalfType::bf16;

  // Where it is: data or half.
  const void* place() const { return half != nullptr ? static_cast<const void*>(half) : data; }
};

// A gradient, and which parameter it is of, as that is now.
struct Gradient {
  const float* data = nullptr;  // in the order of the parameter's memory, read-only; NULL: there is none
  Parameter parameter;
  std::shared_ptr<const void> memory = {};  // keeps data alive as long as this lives; NULL: the embedder does
  // NOLINTNEXTLINE(google-explicit-constructor): it stands for its data
  operator const float*() const { return data; }
};

// Of all parameters, in their order: what onebit/torch.hpp makes of a module at every step. Converts to bare pointers.
class ModelGradients : public std::vector<Gradient> {
 public:
  explicit ModelGradients(std::vector<Gradient> gradients) : vector(std::move(gradients)) {}
  // They are good as long as this lives, which keeps fp32 copies, and sums of gradients of tensors that share memory.
  // NOLINTNEXTLINE(google-explicit-constructor): it stands for bare pointers
  operator std::vector<const float*>() const& { return std::vector<const float*>(begin(), end()); }
  operator std::vector<const float*>() && = delete;
  friend bool operator==(const ModelGradients& a, const std::vector<const float*>& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end());
  }
};

}  // namespace onebit
