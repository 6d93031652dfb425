// SPDX-License-Identifier: Apache-2.0
// Cases of whether the optimizer optimizes: a convex quadratic, noisy gradients, two ranks.
//
//   loss(p) = sum of a_i (p_i - target_i)^2 / 2,   a_i from 0.5 to 2
//
// The right learning rate is the author's business: one of several must do.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>

#include "onebit/conformance/optimizer/replicas.hpp"

namespace onebit::conformance {

class Quadratic {
 public:
  explicit Quadratic(uint64_t seed) : target{noises(seed, 33, 1), noises(seed + 1, 100, 1)} {}

  double loss(const Tensors& parameters) const {
    double sum = 0;
    for (size_t t = 0; t < target.size(); ++t)
      for (size_t i = 0; i < target[t].size(); ++i) {
        const double away = static_cast<double>(parameters[t][i]) - static_cast<double>(target[t][i]);
        sum += curvature(i) * away * away / 2;
      }
    return sum;
  }
  Tensors gradients(const Tensors& parameters, int64_t step, int rank) const {
    Tensors result = parameters;
    for (size_t t = 0; t < target.size(); ++t)
      for (size_t i = 0; i < target[t].size(); ++i)
        result[t][i] = static_cast<float>(curvature(i)) * (parameters[t][i] - target[t][i]) +
                       0.2F * noise(static_cast<uint64_t>(step * 10 + rank) * 2 + t, i);
    return result;
  }

  Tensors target;

 private:
  static double curvature(size_t i) { return 0.5 * static_cast<double>(1 + i % 4); }
};

constexpr int64_t descent_steps = 400;
constexpr double learning_rates[] = {0.01, 0.003, 0.03, 0.001, 0.1, 0.3, 1};

// A lossy exchange as a 1-bit compressor makes it: signs and the mean magnitude, with error feedback on the workers and on the
// server.
class SignExchange {
 public:
  Floats operator()(const Tensors& messages, bool reset) {
    if (reset) errors_.clear();
    errors_.resize(messages.size() + 1, Floats(messages[0].size()));
    Tensors decoded;
    for (size_t rank = 0; rank < messages.size(); ++rank) decoded.push_back(encoded(messages[rank], errors_[rank]));
    return encoded(exact_mean(decoded), errors_.back());
  }

 private:
  static Floats encoded(const Floats& values, Floats& errors) {
    double sum = 0;
    for (size_t i = 0; i < values.size(); ++i) sum += std::fabs(static_cast<double>(values[i] + errors[i]));
    const auto scale = static_cast<float>(sum / static_cast<double>(values.size()));
    Floats decoded(values.size());
    for (size_t i = 0; i < values.size(); ++i) {
      const float x = values[i] + errors[i];
      decoded[i] = x < 0 ? -scale : scale;
      errors[i] = x - decoded[i];
    }
    return decoded;
  }
  Tensors errors_;
};

inline void set_learning_rate(Replicas& replicas, double rate) {
  for (const auto& host : replicas.hosts)
    for (Group& group : host->groups) group = {rate, 0};
}
inline const Plan& descend(Replicas& replicas, const Quadratic& quadratic) {
  const int64_t step = replicas.hosts[0]->number;
  return replicas.step(
      [&](int rank) { return quadratic.gradients(replicas.hosts[static_cast<size_t>(rank)]->parameters, step, rank); });
}

// Protects from: a sign that is wrong, and all that makes a step no step downhill.
inline void descends(const MakeOptimizer& make) {
  const Quadratic quadratic(11);
  const Tensors start = {noises(1, 33, 1), noises(2, 100, 1)};
  const double before = quadratic.loss(start);
  double best = before;
  for (const double rate : learning_rates) {
    Replicas replicas(make, 2, start);
    set_learning_rate(replicas, rate);
    for (int64_t step = 1; step <= descent_steps; ++step) descend(replicas, quadratic);
    const double after = quadratic.loss(replicas.hosts[0]->parameters);
    if (after < 0.1 * before) return;
    if (after < best) best = after;
  }
  throw Unmet("on a convex quadratic, the loss is " + text_of(before) + " at first and " + text_of(best) + " after " +
              std::to_string(descent_steps) + " steps with the best of the learning rates 0.001 to 1; expected a tenth");
}

// Protects from: messages that a codec with error feedback does not carry: an update that only an exact mean leads downhill.
// The quadratic moves when the first compressed round comes, so that the way down is that of compressed steps.
inline void descends_through_signs(const MakeOptimizer& make) {
  const Quadratic first(11), second(31);
  double best = 0, before = 0;
  for (const double rate : learning_rates) {
    Replicas replicas(make, 2, first.target);
    replicas.exchange = SignExchange();
    set_learning_rate(replicas, rate);
    const auto compresses = [](const Plan& plan) {
      return std::any_of(plan.rounds().begin(), plan.rounds().end(),
                         [](const Plan::Round& round) { return round.kind == RoundKind::compressed; });
    };
    while (replicas.hosts[0]->number <= 2 * journey_steps && !compresses(descend(replicas, first))) {
    }
    if (replicas.hosts[0]->number > 2 * journey_steps)
      throw NotApplicable("no round was compressed in " + std::to_string(2 * journey_steps) + " steps");
    before = second.loss(replicas.hosts[0]->parameters);
    for (int64_t step = 1; step <= descent_steps; ++step) descend(replicas, second);
    const double after = second.loss(replicas.hosts[0]->parameters);
    if (after < 0.2 * before) return;
    if (best == 0 || after < best) best = after;
  }
  throw Unmet("on a convex quadratic, with rounds compressed to signs with error feedback, the loss is " + text_of(before) +
              " at first and " + text_of(best) + " after " + std::to_string(descent_steps) +
              " steps with the best of the learning rates 0.001 to 1; expected a fifth");
}

}  // namespace onebit::conformance
