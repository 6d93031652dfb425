// SPDX-License-Identifier: Apache-2.0
// An author's own reference: the update as the paper prints it, in double, against the plugin. No case of the suite, for only
// the author has the formula:
//
//   onebit::conformance::matches_reference(make, [m = Vectors()](auto& p, const auto& g, const Group& group, int64_t) mutable {
//     ...  p[t][i] -= group.learning_rate * ...;
//   }, 1e-6);
#pragma once

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "onebit/conformance/optimizer/replicas.hpp"

namespace onebit::conformance {

using Vectors = std::vector<std::vector<double>>;
// One step: changes the parameters by the mean over the ranks of their gradients. step: counted from 1.
using ReferenceStep = std::function<void(Vectors& parameters, const Vectors& gradients, const Group& group, int64_t step)>;

inline Vectors in_double(const Tensors& tensors) {
  Vectors vectors;
  for (const Floats& tensor : tensors) vectors.emplace_back(tensor.begin(), tensor.end());
  return vectors;
}
inline Vectors mean_gradients(int64_t step, int ranks) {
  Vectors mean = in_double(gradients_of(step, 0));
  for (int rank = 1; rank < ranks; ++rank) {
    const Tensors more = gradients_of(step, rank);
    for (size_t t = 0; t < mean.size(); ++t)
      for (size_t i = 0; i < mean[t].size(); ++i) mean[t][i] += static_cast<double>(more[t][i]);
  }
  for (auto& tensor : mean)
    for (double& g : tensor) g /= ranks;
  return mean;
}

// tolerance: absolute, of a parameter, where parameters are about 0.5; 0: to the bit.
inline void matches_reference(const MakeOptimizer& make, const ReferenceStep& reference, double tolerance, int64_t steps = 50,
                              const Group& group = {1e-3, 0.01}, int ranks = 2) {
  Replicas replicas(make, ranks, initial_parameters());
  for (const auto& host : replicas.hosts)
    for (Group& own : host->groups) own = group;
  Vectors expected = in_double(initial_parameters());
  for (int64_t step = 1; step <= steps; ++step) {
    replicas.step([&](int rank) { return gradients_of(step, rank); });
    reference(expected, mean_gradients(step, ranks), group, step);
    const Tensors& found = replicas.hosts[0]->parameters;
    for (size_t t = 0; t < found.size(); ++t)
      for (size_t i = 0; i < found[t].size(); ++i) {
        const double p = static_cast<double>(found[t][i]);
        const bool met =
            tolerance > 0 ? std::fabs(p - expected[t][i]) <= tolerance : found[t][i] == static_cast<float>(expected[t][i]);
        require(met, "after step " + std::to_string(step) + " t" + std::to_string(t) + "[" + std::to_string(i) + "] is " +
                         text_of(p) + ", of the reference " + text_of(expected[t][i]));
      }
  }
}

}  // namespace onebit::conformance
