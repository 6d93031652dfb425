// SPDX-License-Identifier: Apache-2.0
// LAMB and 1-bit LAMB in double, written from their formulas with the reference's mistakes corrected. After the freeze the test
// asks for the message, compresses it as it likes, and hands the mean back.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "onebit/conformance/fixtures/tile_host.hpp"
#include "support/gradients.hpp"

namespace onebit::test {

using conformance::TileHost;
using Vector = conformance::Floats;

// Parameters in tensors of these sizes, each larger than the one before it, so that their trust ratios differ.
inline std::vector<Vector> lamb_model(const std::vector<size_t>& sizes) {
  std::vector<Vector> zeros;
  for (const size_t size : sizes) zeros.emplace_back(size);
  std::vector<Vector> result = noisy(zeros, 999, 0);
  for (size_t k = 0; k < result.size(); ++k)
    for (float& p : result[k]) p *= 0.1F * static_cast<float>(2 * k + 1);
  return result;
}

class LambOracle {
 public:
  using Tensors = std::vector<std::vector<double>>;

  double lr = 1e-2, b1 = 0.9, b2 = 0.999, eps = 1e-8, decay = 0, scale = 1;
  double max_coeff = 10, min_coeff = 0.01, coeff_beta = 0.9, factor_max = 4, factor_min = 0.5, factor_threshold = 0.1;
  double floor = 0.01, clamp = std::sqrt(1000);
  bool corrected = true, update = true, grows = true;
  std::vector<double> decays;  // of each tensor, instead of decay; and those with none are exempt from trust ratios
  Tensors p, m, v, r, fresh;
  std::vector<double> average, factor, scaling, first_norm;  // of each tensor

  explicit LambOracle(const std::vector<Vector>& parameters)
      : average(parameters.size()), factor(average), scaling(average), first_norm(average) {
    for (const Vector& tensor : parameters) p.emplace_back(tensor.begin(), tensor.end());
    m = v = r = fresh = p;
    for (Tensors* state : {&m, &v, &r, &fresh})
      for (auto& tensor : *state) std::fill(tensor.begin(), tensor.end(), 0.0);
    measured_ = mean_variance_ = average;
  }

  void dense(const std::vector<Vector>& gradients) {
    ++t_;
    for (size_t k = 0; k < p.size(); ++k) dense_tensor(k, gradients[k]);
  }

  void freeze() {
    double rms = 0, moving = 0;
    for (const auto& tensor : m) rms += norm(tensor) / root(tensor), moving += norm(tensor) > 0 ? 1 : 0;
    for (size_t k = 0; k < p.size(); ++k) {
      scaling[k] = !update && norm(m[k]) > 0 ? rms / moving / (norm(m[k]) / root(m[k])) : 1;
      factor[k] = 1;
      if (measured_[k] == 0) average[k] = 1;
      mean_variance_[k] = mean_of({v[k]}) > 0 ? mean_of({v[k]}) : mean_of(v);
      for (size_t i = 0; i < v[k].size(); ++i) {
        fresh[k][i] = v[k][i] / correct(b2);
        const double raised = std::max(fresh[k][i], floor * mean_variance_[k]);
        r[k][i] = raised > 0 ? 1 / (std::sqrt(raised) + eps) : 0;
        if (update) m[k][i] *= r[k][i];
      }
    }
  }

  // m is the mean momentum, or the mean update; one run of elements, as packed.
  std::vector<double> message(const std::vector<Vector>& gradients) const {
    std::vector<double> result;
    for (size_t k = 0; k < p.size(); ++k)
      for (size_t i = 0; i < p[k].size(); ++i) {
        const double g = gradients[k][i] * scale;
        const double entry = update ? std::clamp(r[k][i] * g, -clamp, clamp) : g;
        result.push_back((b1 * m[k][i] + (1 - b1) * entry) * scaling[k]);
      }
    return result;
  }
  void compressed(const Vector& mean) {
    ++t_;
    size_t first = 0;
    for (size_t k = 0; k < p.size(); first += p[k++].size()) compressed_tensor(k, mean.data() + first);
  }

 private:
  static double norm(const std::vector<double>& x) {
    double squares = 0;
    for (const double value : x) squares += value * value;
    return std::sqrt(squares);
  }
  // Of the corrected variance.
  double mean_of(const std::vector<std::vector<double>>& variances) const {
    double sum = 0, elements = 0;
    for (const auto& tensor : variances) {
      for (const double variance : tensor) sum += variance / correct(b2);
      elements += static_cast<double>(tensor.size());
    }
    return sum / elements;
  }
  static double root(const std::vector<double>& x) { return std::sqrt(static_cast<double>(x.size())); }
  double correct(double beta) const { return corrected ? 1 - std::pow(beta, t_) : 1; }
  double decay_of(size_t k) const { return decays.empty() ? decay : decays[k]; }
  bool adapts(size_t k) const { return decays.empty() || decays[k] > 0; }

  void dense_tensor(size_t k, const Vector& gradient) {
    std::vector<double> u(p[k].size());
    for (size_t i = 0; i < u.size(); ++i) {
      const double g = gradient[i] * scale;
      m[k][i] = b1 * m[k][i] + (1 - b1) * g;
      v[k][i] = b2 * v[k][i] + (1 - b2) * g * g;
      u[i] = m[k][i] / correct(b1) / (std::sqrt(v[k][i] / correct(b2)) + eps) + decay_of(k) * p[k][i];
    }
    double c = 1;
    if (adapts(k) && norm(p[k]) > 0 && norm(u) > 0) {
      c = std::clamp(norm(p[k]) / norm(u), min_coeff, max_coeff);
      // the average as printed, and its bias divided out
      const double biased = average[k] * (1 - std::pow(coeff_beta, measured_[k]));
      measured_[k] += 1;
      average[k] = (coeff_beta * biased + (1 - coeff_beta) * c) / (1 - std::pow(coeff_beta, measured_[k]));
    }
    for (size_t i = 0; i < u.size(); ++i) p[k][i] -= lr * c * u[i];
  }

  void compressed_tensor(size_t k, const float* mean) {
    std::vector<double> u0(p[k].size()), u(u0);
    double largest = 0;
    for (size_t i = 0; i < u.size(); ++i) {
      const double now = mean[i] / scaling[k], alive = r[k][i] > 0 ? 1 : 0;
      double gradient = (now - b1 * m[k][i]) / (1 - b1);
      if (update) gradient = alive > 0 ? gradient / r[k][i] : 0;
      m[k][i] = now;
      fresh[k][i] = b2 * fresh[k][i] + (1 - b2) * gradient * gradient;
      u0[i] = alive * now / correct(b1) * (update ? 1 : r[k][i]);
      u[i] = alive * (u0[i] + decay_of(k) * p[k][i]);
      const double raised = std::max(fresh[k][i], floor * mean_variance_[k]);
      if (alive > 0) largest = std::max(largest, 1 / r[k][i] / (std::sqrt(raised) + eps));
    }
    const double q = decay_of(k) > 0 && norm(u) > 0 ? std::min(1.0, norm(u0) / norm(u)) : 1;
    const double wanted = std::clamp(largest * q + (1 - q), factor_min, factor_max);
    factor[k] = std::clamp(wanted, factor[k] * (1 - factor_threshold), factor[k] * (1 + factor_threshold));
    if (first_norm[k] == 0) first_norm[k] = norm(p[k]);
    const double growth = grows && first_norm[k] > 0 ? norm(p[k]) / first_norm[k] : 1;
    double coefficient = grows ? std::clamp(average[k] * growth, min_coeff, max_coeff) : average[k];
    if (grows && measured_[k] == 0)
      coefficient = norm(p[k]) > 0 ? std::clamp(norm(p[k]) / root(p[k]), min_coeff, max_coeff) : 1;
    coefficient *= factor[k];
    if (grows && update && norm(p[k]) > 0 && norm(u) > 0)
      coefficient = std::min(coefficient, 2 * std::clamp(norm(p[k]) / norm(u), min_coeff, max_coeff));
    if (!adapts(k)) coefficient = factor[k] = 1;
    for (size_t i = 0; i < u.size(); ++i) p[k][i] -= lr * coefficient * u[i];
  }

  std::vector<double> measured_, mean_variance_;
  int t_ = 0;
};

}  // namespace onebit::test
