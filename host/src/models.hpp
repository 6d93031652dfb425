// The models that `onebit train` knows by name: their tensors, which need no libtorch, and what a training loop asks of one.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "onebit/session.hpp"

namespace onebit::host {

// Names and shapes in the order in which the model has them; data is NULL. Throws Error(invalid_argument) for an unknown name.
std::vector<Parameter> tensors_of(const std::string& model);
int64_t elements_of(const Parameter& parameter);

// The initial values of a tensor, from the seed alone: uniform within 1 / sqrt(fan in), the same bits on every machine.
// index: which of `tensors` it is. A bias has the fan in of the weight before it.
void initialize(const std::vector<Parameter>& tensors, size_t index, uint64_t seed, float* out);

struct Batch {
  const float* pixels = nullptr;  // count x rows x columns
  const int64_t* labels = nullptr;
  int64_t count = 0, rows = 0, columns = 0;
};

// A model of one rank, used by one thread at a time.
class Model {
 public:
  virtual ~Model() = default;
  // In place as long as the model.
  virtual std::vector<Parameter> parameters() = 0;
  // Forward and backward; answers the mean loss. gradients() then belong to this batch, until the next call.
  virtual double learn(const Batch& batch) = 0;
  virtual std::vector<const float*> gradients() = 0;
  // How many of the batch it would label rightly.
  virtual int64_t correct(const Batch& batch) = 0;
  // What it runs on, for the summary: "libtorch 1.13.1".
  virtual std::string backend() const = 0;
};

// Defined in host/train: with libtorch, or without it as an error that says how to get it.
std::unique_ptr<Model> make_model(const std::string& model, uint64_t seed);

}  // namespace onebit::host
