// SPDX-License-Identifier: Apache-2.0
// Cases of sizes and numbers at the edge.
#pragma once

#include <cmath>
#include <limits>
#include <string>

#include "onebit/conformance/optimizer/plans.hpp"

namespace onebit::conformance {

inline void require_finite(const TileHost& host, const std::string& when) {
  for (size_t t = 0; t < host.parameters.size(); ++t)
    for (size_t i = 0; i < host.parameters[t].size(); ++i)
      if (!std::isfinite(host.parameters[t][i]))
        throw Unmet(when + ", " + host.model.name(static_cast<int64_t>(t)) + "[" + std::to_string(i) + "] of " +
                    std::to_string(host.parameters[t].size()) + " is " + text_of(host.parameters[t][i]));
}

// Protects from: loops that only work for whole vectors, and for tensors that have elements at all.
inline void odd_sizes(const MakeOptimizer& make) {
  const std::vector<std::vector<size_t>> models = {{0}, {1}, {31}, {33}, {4096}, {4097}, {4097, 0, 33, 4096, 1, 31, 0}};
  for (const std::vector<size_t>& sizes : models) {
    Tensors start;
    for (const size_t size : sizes) start.push_back(noises(size, size, 0.5F));
    const auto optimizer = make();
    TileHost host(*optimizer, start);
    host.state.poison_released = true;
    for (uint64_t step = 1; step <= 5; ++step) {
      Tensors gradients;
      for (const size_t size : sizes) gradients.push_back(noises(step * 5000 + size, size, 0.1F));
      host.step(gradients);
    }
    require_finite(host, "after 5 steps of a model of " + std::to_string(sizes.size()) + " tensors");
  }
}

// Protects from: loops that leave out the rest of a vector.
inline void every_element_moves(const MakeOptimizer& make) {
  for (const size_t size : {size_t{1}, size_t{2}, size_t{7}, size_t{31}, size_t{33}, size_t{100}, size_t{4097}}) {
    const Floats start = noises(size, size, 0.25F, 0.5F);
    const auto optimizer = make();
    TileHost host(*optimizer, {start});
    host.state.poison_released = true;
    for (uint64_t step = 1; step <= 10; ++step) host.step({noises(step * 5000 + size, size, 0.05F, 0.1F)});
    for (size_t i = 0; i < size; ++i)
      if (host.parameters[0][i] == start[i])
        throw Unmet("element " + std::to_string(i) + " of a tensor of " + std::to_string(size) +
                    " has not moved in 10 steps, though it got a gradient in each");
  }
}

// Protects from: division by zero where a model has no gradient yet.
inline void zero_gradients_are_harmless(const MakeOptimizer& make) {
  Traveller traveller(make);
  Tensors none = initial_parameters();
  for (Floats& tensor : none) std::fill(tensor.begin(), tensor.end(), 0.0F);
  for (int64_t step = 1; step <= journey_steps; ++step) traveller.host.step(none);
  require_finite(traveller.host, "after " + std::to_string(journey_steps) + " steps whose gradients were all zero");
}

// Protects from: squares that overflow or vanish, and infinity divided by itself.
inline void extreme_gradients_are_harmless(const MakeOptimizer& make) {
  for (const float size : {1e-42F, 1e-25F, 1e15F}) {
    Traveller traveller(make);
    for (int64_t step = 1; step <= journey_steps; ++step) {
      Tensors gradients = gradients_of(step);
      for (Floats& tensor : gradients)
        for (float& g : tensor) g *= size;
      traveller.host.step(gradients);
    }
    require_finite(traveller.host, "after " + std::to_string(journey_steps) + " steps with gradients of " + about(size));
  }
}

// Protects from: moving parameters that the user froze with a learning rate of 0, and all of them in the first step of a
// warm-up.
inline void zero_learning_rate_moves_nothing(const MakeOptimizer& make) {
  Traveller traveller(make);
  for (Group& group : traveller.host.groups) group = {0, 0};
  const Tensors start = traveller.host.parameters;
  for (int64_t step = 1; step <= journey_steps; ++step) {
    traveller.step();
    for (size_t t = 0; t < start.size(); ++t)
      require(same_bits(start[t], traveller.host.parameters[t]),
              "with learning rate 0 and weight decay 0, parameters moved in step " + std::to_string(step) + ": " +
                  first_difference(start[t], traveller.host.parameters[t]));
  }
}

constexpr size_t disturbed_tensor = 4;

// Goes along with a traveller, but disturbs the gradient of one element at one step. Answers the first step that shows in other
// tensors; 0: none. The steps are followed as long as both plan alike: a decision over the whole model is no leak.
inline int64_t shows_elsewhere(const MakeOptimizer& make, int64_t at, int64_t until, float factor, std::string& where) {
  Traveller calm(make), disturbed(make);
  for (int64_t step = 1; step <= until; ++step) {
    Tensors gradients = gradients_of(step);
    if (step == at) gradients[disturbed_tensor][5] *= factor;
    const bool alike = same_plan(calm.step(), disturbed.host.step(gradients));
    if (!alike) return 0;
    for (size_t t = 0; t < gradients.size(); ++t) {
      const Floats &one = calm.host.parameters[t], &other = disturbed.host.parameters[t];
      if (t == disturbed_tensor || same_bits(one, other)) continue;
      where = calm.host.model.name(static_cast<int64_t>(t)) + ": " + first_difference(one, other);
      return step;
    }
  }
  return 0;
}

// Protects from: sums, maxima and vectors that reach beyond their tensor. An optimizer that couples tensors on purpose, so that
// an ordinary change of one shows in the others, is not asked.
inline void nan_stays_in_its_tensor(const MakeOptimizer& make) {
  for (const int64_t at : {int64_t{3}, journey_steps - 20}) {
    std::string where;
    if (shows_elsewhere(make, at, at + 15, 3, where) != 0)
      throw NotApplicable("this optimizer couples tensors: a larger gradient in one changes others");
    const int64_t step = shows_elsewhere(make, at, at + 15, std::numeric_limits<float>::quiet_NaN(), where);
    require(step == 0, "a NaN among the gradients of t" + std::to_string(disturbed_tensor) + " at step " + std::to_string(at) +
                           " shows at step " + std::to_string(step) + " in another tensor, " + where);
  }
}

}  // namespace onebit::conformance
