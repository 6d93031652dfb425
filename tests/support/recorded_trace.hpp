// SPDX-License-Identifier: Apache-2.0
// Traces of gradients for `onebit replay`, written by tests.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "onebit/safetensors.hpp"
#include "support/trace.hpp"

namespace onebit::test {

struct Recorded {
  std::string key;
  std::vector<int64_t> shape;
  std::vector<float> values;
};
using Trace = std::vector<Recorded>;

inline void write_trace(const std::filesystem::path& file, const Trace& trace) {
  std::vector<SafetensorsWriter::Tensor> tensors;
  for (const Recorded& r : trace) tensors.push_back({r.key, r.shape});
  SafetensorsWriter writer(file, tensors);
  for (size_t i = 0; i < trace.size(); ++i) writer.write(i, trace[i].values.data());
  writer.commit();
}

// Tensors of these sizes on `ranks` ranks, steps first to first + steps - 1, from the closed forms of trace.hpp.
inline Trace closed_form(const std::vector<size_t>& sizes, int ranks, int first, int steps) {
  Trace trace;
  for (size_t k = 0; k < sizes.size(); ++k) {
    const auto tensor = static_cast<int>(k);
    const std::string name = "layer/" + std::to_string(k);
    const std::vector<int64_t> shape = {static_cast<int64_t>(sizes[k])};
    trace.push_back({"parameter/" + name, shape, trace_parameter(tensor, sizes[k])});
    for (int t = 1; t <= steps; ++t)
      for (int rank = 0; rank < ranks; ++rank)
        trace.push_back({"gradient/" + std::to_string(first + t - 1) + "/" + std::to_string(rank) + "/" + name, shape,
                         trace_gradient(t, rank, tensor, sizes[k])});
  }
  return trace;
}

}  // namespace onebit::test
