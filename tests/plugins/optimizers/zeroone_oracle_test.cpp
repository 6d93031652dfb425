// SPDX-License-Identifier: Apache-2.0
// 0/1 Adam, call by call, against its formulas in double: both messages, both variance stages, learning rates that change,
// groups with rates and decays of their own, and a compression that is a plain factor, so that nothing is left to signs.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <string>

#include "onebit/conformance/fixtures/tile_host.hpp"
#include "support/component.hpp"

namespace onebit::test {

using conformance::TileHost;
using Vector = conformance::Floats;
namespace {

constexpr double kept = 0.8;  // of a message, by this test's compression
constexpr int ranks = 2;      // as a TileHost has them
constexpr int freeze_step = 13, kappa = 2, local_scaler = 9, clipper = 4;

struct ZeroOneForm {
  bool update, momentum, corrected, per_step;
  double floor, clamp;  // 0: "auto"
};

// One tensor on one rank.
struct ZeroOneOracle {
  ZeroOneForm form;
  double lr = 0, decay = 0;
  std::vector<double> p, m, v, u, anchor;
  double mean = 0, rates = 0, keep = 1;
  int t = 0, variance_updates = 0, held_updates = 0, variance_age = 0, frozen = 0, waited = 0;

  double r(double variance, double corrected_age) const { return r(variance, corrected_age, form.floor); }
  double r(double variance, double corrected_age, double floor) const {
    const double correct = form.corrected ? 1 - std::pow(0.999, corrected_age) : 1;
    const double raised = std::max(correct > 0 ? variance / correct : 0, floor * mean);
    return raised > 0 ? 1 / (std::sqrt(raised) + 1e-8) : 0;
  }
  // What there can be in Adam: of the mean over ranks, and so of a step; once the variance is frozen, a rank's own entries may
  // be as many times as large as there are ranks.
  double most() const { return std::sqrt((frozen == 0 && form.corrected ? 1 - std::pow(0.999, t) : 1) / 0.001); }
  double entry(double reciprocal, double g) const {
    const double clamp = form.clamp > 0 ? form.clamp : (frozen > 0 ? ranks : 1) * most();
    return form.update ? std::clamp(reciprocal * g, -clamp, clamp) : g;
  }
  double bounded(double direction, double steps = 1) const {
    return form.update && form.clamp == 0 ? std::clamp(direction, -steps * most(), steps * most()) : direction;
  }
  int age() const { return form.per_step ? variance_age : variance_updates; }

  // holds: many elements of the model have had no gradient yet, so that the variance is updated in each step.
  void step(const Vector& g, bool holds) {
    ++t;
    if (frozen > 0 || t > freeze_step) return frozen_step(g);
    holds = holds && form.per_step;
    const bool update = holds || t % (1 << ((variance_updates - held_updates) / kappa)) == 0;
    held_updates += holds ? 1 : 0;
    if (update)
      variance_step(g);
    else
      early_step(g);
    if (t == freeze_step) freeze();
  }
  void variance_step(const Vector& g) {
    const double b2 = form.per_step ? std::pow(0.999, t - variance_age) : 0.999;
    variance_age = t;
    ++variance_updates;
    double sum = 0;
    for (size_t i = 0; i < p.size(); ++i) {
      m[i] = 0.9 * m[i] + 0.1 * g[i];
      v[i] = b2 * v[i] + (1 - b2) * g[i] * g[i];
      sum += v[i];
      move(i, r(v[i], age(), variance_updates == t ? std::min(form.floor, 1e-30) : form.floor), m[i]);
    }
    mean = sum / static_cast<double>(p.size()) / (form.corrected ? 1 - std::pow(0.999, age()) : 1);
  }
  void early_step(const Vector& g) {
    for (size_t i = 0; i < p.size(); ++i) {
      const double ri = r(v[i], age()), before = form.update ? ri * m[i] : m[i];
      const double sent = form.momentum ? 0.9 * before + 0.1 * entry(ri, g[i]) : entry(ri, g[i]);
      const double back = form.update ? (ri > 0 ? kept * sent / ri : 0) : kept * sent;
      m[i] = form.momentum ? back : 0.9 * m[i] + 0.1 * back;
      move(i, ri, m[i], true);
    }
  }
  void move(size_t i, double ri, double momentum, bool is_bounded = false) {
    const double direction = ri * momentum / (form.corrected ? 1 - std::pow(0.9, t) : 1);
    if (ri > 0) p[i] -= lr * ((is_bounded ? bounded(direction) : direction) + decay * p[i]);
  }
  void freeze() {
    for (size_t i = 0; i < p.size(); ++i) {
      v[i] = r(v[i], age());
      m[i] *= (form.update ? v[i] : 1) / (form.corrected ? 1 - std::pow(0.9, t) : 1);
      anchor[i] = p[i];
    }
  }
  void frozen_step(const Vector& g) {
    const bool sync = t % std::min(clipper, 1 << (frozen / local_scaler)) == 0;
    ++frozen;
    ++waited;
    rates += lr;
    keep *= 1 - lr * decay;
    for (size_t i = 0; i < p.size(); ++i) {
      m[i] = 0.9 * m[i] + 0.1 * entry(v[i], g[i]);
      u[i] += lr * m[i];
      if (v[i] > 0) p[i] -= lr * (bounded(form.update ? m[i] : v[i] * m[i]) + decay * p[i]);
    }
    if (sync) bring_together();
  }
  void bring_together() {
    const double rate = rates / waited;
    for (size_t i = 0; i < p.size(); ++i) {
      const double sum = kept * (rate > 0 ? u[i] / rate : waited * m[i]);
      m[i] = sum / waited;
      if (v[i] > 0) anchor[i] = keep * anchor[i] - rate * bounded(form.update ? sum : v[i] * sum, waited);
      p[i] = anchor[i];
      u[i] = 0;
    }
    waited = 0;
    rates = 0;
    keep = 1;
  }
};

// A lack of gradients (in one of `lack` elements) and a rare one (every 7th) among the rest.
Vector gradient(std::mt19937& generator, size_t size, int t, size_t lack) {
  std::normal_distribution<float> distribution(0, 1);
  Vector g(size);
  for (size_t i = 0; i < size; ++i) {
    const float drawn = distribution(generator) * (i % 3 == 0 ? 1e-3F : 1.0F);
    g[i] = i % lack == 0 || (i % 7 == 0 && t % 8 != 1) ? 0.0F : drawn;
  }
  return g;
}

std::string options(const ZeroOneForm& form) {
  std::string lines =
      "refresh = 0\nvar_freeze_step = 13\nvar_update_scaler = 2\nlocal_step_scaler = 9\nlocal_step_clipper = 4\n";
  lines += std::string("message = \"") + (form.update ? "update" : "momentum") + "\"\n";
  lines += std::string("variance_stage = \"") + (form.momentum ? "momentum" : "gradient") + "\"\n";
  lines += std::string("beta2_per = \"") + (form.per_step ? "step" : "update") + "\"\n";
  lines += std::string("bias_correction = ") + (form.corrected ? "true" : "false") + "\n";
  lines += "variance_floor = " + std::to_string(form.floor) + "\n";
  lines += "clamp = " + (form.clamp > 0 ? std::to_string(form.clamp) : "\"auto\"") + "\n";
  return lines;
}

bool many_are_unseen(const std::vector<ZeroOneOracle>& oracles) {
  double unseen = 0, elements = 0;
  for (const ZeroOneOracle& oracle : oracles)
    for (const double variance : oracle.v) unseen += variance > 0 ? 0 : 1, elements += 1;
  return oracles[0].variance_updates > 0 && unseen > 0.1 * elements;
}

void compare_with_oracle(const ZeroOneForm& form, size_t lack) {
  CAPTURE(options(form));
  CAPTURE(lack);
  const auto optimizer = make_optimizer("zeroone_adam", options(form));
  const std::vector<Vector> initial = {Vector(100, 0.5F), Vector(37, -0.25F)};
  TileHost host(*optimizer, initial, 32);
  host.mean = [](const Vector& message, bool compressed) {
    Vector mean = message;
    for (float& value : mean) value *= compressed ? static_cast<float>(kept) : 1.0F;
    return mean;
  };
  std::vector<ZeroOneOracle> oracles;
  for (const Vector& tensor : initial) {
    const std::vector<double> p(tensor.begin(), tensor.end()), none(tensor.size());
    oracles.push_back({form, 0, 0, p, none, none, none, none});
  }
  std::mt19937 generator(5);
  double worst = 0;
  for (int t = 1; t <= 60; ++t) {
    const double factor = t > 32 && t <= 40 ? 0 : 1 - 0.01 * t;  // steps 33 to 40: two whole intervals at a rate of 0
    const bool holds = many_are_unseen(oracles);
    std::vector<Vector> gradients;
    for (size_t k = 0; k < oracles.size(); ++k) {
      oracles[k].lr = factor * (k == 0 ? 0.01 : 0.003);
      oracles[k].decay = k == 0 ? 0.1 : 0;
      host.groups[k] = {oracles[k].lr, oracles[k].decay};
      gradients.push_back(gradient(generator, initial[k].size(), t, lack));
      oracles[k].step(gradients[k], holds);
    }
    host.step(gradients);
    for (size_t k = 0; k < oracles.size(); ++k)
      for (size_t i = 0; i < initial[k].size(); ++i)
        worst = std::max(worst, std::fabs(static_cast<double>(host.parameters[k][i]) - oracles[k].p[i]));
  }
  CHECK(worst < 5e-6);  // without bias correction steps are up to 30 learning rates
}

}  // namespace

TEST_CASE("zeroone_adam: every form against the formulas, at every step") {
  for (const bool update : {true, false})
    for (const bool momentum : {true, false})
      for (const bool corrected : {true, false})
        for (const bool per_step : {true, false})
          for (const size_t lack : {12U, 5U})  // without and with a variance that is held
            for (const double clamp : {10.0, 0.0})
              compare_with_oracle({update, momentum, corrected, per_step, corrected ? 0.01 : 0.0, clamp}, lack);
}

}  // namespace onebit::test
