// SPDX-License-Identifier: Apache-2.0
// The run that most cases of the optimizer suite watch: a small model of odd sizes, gradients that any order of calls finds
// again, and so many steps that an optimizer which changes its ways by itself, such as one that freezes its variance when that
// is stable, has done so before the end.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "onebit/conformance/fixtures/noise.hpp"
#include "onebit/conformance/fixtures/tile_host.hpp"

namespace onebit::conformance {

using MakeOptimizer = std::function<std::unique_ptr<Optimizer>()>;

constexpr int64_t journey_steps = 200;
constexpr int64_t journey_block = 64;

// Tensors without an element, with one, less than a block, exactly one, and several.
inline const std::vector<size_t>& journey_sizes() {
  static const std::vector<size_t> sizes = {0, 1, 31, 33, 64, 200};
  return sizes;
}
inline Tensors initial_parameters() {
  Tensors tensors;
  for (const size_t size : journey_sizes()) tensors.push_back(noises(tensors.size() + 1, size, 0.5F, 0.1F));
  return tensors;
}
// Of a step on a rank. The first elements of the last tensor never get one.
inline Tensors gradients_of(int64_t step, int rank = 0) {
  Tensors tensors;
  for (const size_t size : journey_sizes())
    tensors.push_back(noises(static_cast<uint64_t>(step * 1000 + rank * 100) + 7 + tensors.size(), size, 0.1F, 0.03F));
  std::fill_n(tensors.back().begin(), 10, 0.0F);
  return tensors;
}

// A model with an optimizer of its own.
struct Traveller {
  explicit Traveller(const MakeOptimizer& make, std::vector<uint64_t> flags = {})
      : optimizer(make()), host(*optimizer, initial_parameters(), journey_block, std::move(flags)) {
    host.state.poison_released = true;
    for (size_t g = 0; g < host.groups.size(); ++g) host.groups[g] = {1e-3 * static_cast<double>(g + 1), g % 2 == 0 ? 0.01 : 0};
  }
  const Plan& step() { return host.step(gradients_of(host.number)); }

  std::unique_ptr<Optimizer> optimizer;
  TileHost host;
};

// What two hosts do not have in common, of parameters and state; "": nothing.
inline std::string difference(const TileHost& a, const TileHost& b) {
  for (size_t t = 0; t < a.parameters.size(); ++t)
    if (!same_bits(a.parameters[t], b.parameters[t]))
      return "parameter " + a.model.name(static_cast<int64_t>(t)) + ": " + first_difference(a.parameters[t], b.parameters[t]);
  for (size_t s = 0; s < a.state.slots.size(); ++s) {
    const TileSlot &one = a.state.slots[s], &other = b.state.slots[s];
    if (one.extent == ONEBIT_PER_BLOCK) continue;
    if (one.floats != other.floats)
      return "state '" + one.name + "': " + first_difference(one.floats.values(), other.floats.values());
    if (!one.same_as(other)) return "state '" + one.name + "' has other numbers";
  }
  return same_bits(a.previous, b.previous) ? "" : "retained mean: " + first_difference(a.previous, b.previous);
}
inline std::string at_step(const TileHost& host) { return "step " + std::to_string(host.number - 1); }

// Two travellers that are to go the same way; other takes its step as it likes.
inline void require_same_way(Traveller& one, Traveller& other, const std::string& unmet,
                             const std::function<void()>& step_of_other) {
  for (int64_t step = 1; step <= journey_steps; ++step) {
    one.step();
    step_of_other();
    const std::string found = difference(one.host, other.host);
    require(found.empty(), unmet + ": after " + at_step(one.host) + ", " + found);
  }
}

}  // namespace onebit::conformance
