// SPDX-License-Identifier: Apache-2.0
// Recorded gradients, as `onebit replay` reads them: a safetensors file with `parameter/<name>`, the values before the first
// step, and `gradient/<step>/<rank>/<name>` for consecutive steps, in F32, or in BF16 or F16, which become the same numbers in
// fp32. The tensors' order is that of the parameters' data in the file. Tensors of whole numbers, of which there are no
// gradients, and what has neither name and another type are left out.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "onebit/safetensors.hpp"

namespace onebit::host {

class GradientTrace {
  using Entry = SafetensorsReader::Entry;

 public:
  // Throws Error(invalid_argument), naming the key that is missing, unknown or of another shape, unless the trace is complete.
  explicit GradientTrace(const std::filesystem::path& file);

  struct Tensor {
    std::string name;
    std::vector<int64_t> shape;
    int64_t elements;
  };
  const std::vector<Tensor>& tensors() const { return tensors_; }
  int64_t first_step() const { return first_step_; }
  int64_t steps() const { return steps_; }
  int ranks() const { return ranks_; }
  const std::filesystem::path& file() const { return file_; }
  const std::vector<const Entry*>& left_out() const { return left_out_; }

  // By several threads at once; tensor is an index in tensors().
  void read_parameter(size_t tensor, float* out) const;
  void read_gradient(int64_t step, int rank, size_t tensor, float* out) const;

  static std::string gradient_key(int64_t step, int rank, const std::string& name);

 private:
  [[noreturn]] void fail(const std::string& what) const;
  void add_parameters();
  void add_gradients();
  void check_complete() const;

  std::filesystem::path file_;
  SafetensorsReader reader_;
  std::vector<Tensor> tensors_;
  std::vector<const Entry*> parameters_, left_out_;
  std::vector<const Entry*> gradients_;  // [step - first][rank][tensor]
  int64_t first_step_ = 0, steps_ = 0;
  int ranks_ = 0;
};

}  // namespace onebit::host
