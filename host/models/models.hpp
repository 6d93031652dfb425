// SPDX-License-Identifier: Apache-2.0
// The models that `onebit train` knows by name: their tensors, which need no libtorch, and what a training loop asks of one.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "data_sets/data_set.hpp"
#include "launch/placement.hpp"
#include "onebit/session.hpp"

namespace onebit::host {

// Names and shapes in the order in which the model has them; data is NULL. Throws Error(invalid_argument) for an unknown name.
std::vector<Parameter> tensors_of(const std::string& model);
int64_t elements_of(const Parameter& parameter);

SampleKind kind_of_model(const std::string& model);

// Throws Error(invalid_argument) for a model that does not take what the data set has.
void require_fit(const std::string& model, const std::string& data);

// The initial values of a tensor of a model, from the seed alone, the same bits on every machine. index: which of tensors_of().
// Uniform within 1 / sqrt(fan in), a bias has the fan in of the weight before it; of norms weights 1 and biases 0. gpt: as
// GPT-2, with deviation 0.02, divided by sqrt(2 layers) where a block adds to what passes it by; uniform, too; biases 0. lstm:
// within 0.1 where there is a row for each word, biases there 0; within 1 / sqrt(width) else.
void initialize(const std::string& model, size_t index, uint64_t seed, float* out);

// Of a batch's answers.
struct Judgement {
  double loss = 0;                 // cross entropy in nats, the sum
  int64_t correct = 0;             // answers that would be right
  std::vector<float> losses = {};  // of each answer
};

// A model of one rank, used by one thread at a time. Its tensors are where it was made; batches are in the CPU's memory.
class Model {
 public:
  virtual ~Model() = default;
  // In place as long as the model.
  virtual std::vector<Parameter> parameters() = 0;
  // Parameter `index` to and from memory of the CPU, row by row. As they are here: of models there, and row by row.
  virtual void read(size_t index, float* out);
  virtual void write(size_t index, const float* values);
  // Of what learn() takes the gradient: of 1 - share times the cross entropy with the target, plus share times that with all
  // classes alike (Szegedy et al., arXiv 1512.00567, section 7). 0 until it is set.
  virtual void set_label_smoothing(double share) = 0;
  // From now on, and as long as the answer lives, gradients go to the session while others are still being computed, where this
  // model can do so. The answer does not outlive the session.
  virtual std::shared_ptr<void> attach(Session& /*session*/) { return nullptr; }
  // Forward and backward; tells the mean loss of the batch's answers. gradients() then belong to this batch, until the next
  // call; with `add` they are added to those of the calls before. more: a call with `add` follows before the step.
  virtual double learn(const Batch& batch, bool add, bool more) = 0;
  double learn(const Batch& batch, bool add) { return learn(batch, add, false); }
  virtual std::vector<const float*> gradients() = 0;
  // With these gradients. session: the one that it is attached to, if it is to any.
  virtual StepReport step(Session& session) { return session.step(gradients(), stream()); }
  // The cudaStream_t in which gradients are made and parameters are used, of this model alone; NULL on the CPU.
  virtual void* stream() const { return nullptr; }
  // Forward alone.
  virtual Judgement judge(const Batch& batch) = 0;
  // What it runs on, for the summary: "libtorch 1.13.1", "libtorch 2.15.0, cuda:0".
  virtual std::string backend() const = 0;
};

// Defined in host/libtorch: with libtorch, or without it as an error that says how to get it. Initial values are the same bits
// everywhere. Throws Error(unavailable) where this libtorch has no CUDA, or finds no device.
std::unique_ptr<Model> make_model(const std::string& model, uint64_t seed, const ModelDevice& device = {});

}  // namespace onebit::host
