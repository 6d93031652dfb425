// SPDX-License-Identifier: Apache-2.0
// A model that needs no libtorch: softmax regression on images.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "models/models.hpp"

namespace onebit::test {

// Ten linear scores, softmax and cross entropy; the hook, called after each backward, may spoil things.
class Regression : public host::Model {
 public:
  static constexpr int64_t kPixels = 28 * 28, kClasses = 10, kElements = kPixels * kClasses;
  using Hook = std::function<void(int64_t call, Regression& model)>;
  explicit Regression(Hook hook) : weights_(kElements), gradient_(kElements), hook_(std::move(hook)) {}

  std::vector<Parameter> parameters() override { return {{"weights", {kClasses, kPixels}, weights_.data()}}; }
  double learn(const host::Batch& batch, bool add, bool /*more*/) override {
    if (!add) std::fill(gradient_.begin(), gradient_.end(), 0.0f);
    double loss = 0;
    for (int64_t i = 0; i < batch.count; ++i) {
      std::vector<double> p = probabilities(batch, i);
      loss -= std::log(std::max(p[batch.targets[i]], 1e-30));
      p[batch.targets[i]] -= 1;
      for (int64_t c = 0; c < kClasses; ++c)
        for (int64_t x = 0; x < kPixels; ++x)
          gradient_[c * kPixels + x] += static_cast<float>(p[c] * pixel(batch, i, x) / batch.count);
    }
    if (hook_) hook_(++calls_, *this);
    return loss / batch.count;
  }
  std::vector<const float*> gradients() override { return {gradient_.data()}; }
  host::Judgement judge(const host::Batch& batch) override {
    judged_.push_back(std::accumulate(weights_.begin(), weights_.end(), 0.0));
    host::Judgement sums;
    for (int64_t i = 0; i < batch.count; ++i) {
      const std::vector<double> p = probabilities(batch, i);
      sums.loss -= std::log(std::max(p[batch.targets[i]], 1e-30));
      sums.correct += std::max_element(p.begin(), p.end()) - p.begin() == batch.targets[i];
    }
    return sums;
  }
  void set_label_smoothing(double share) override { label_smoothing_ = share; }
  std::string backend() const override { return "test"; }
  const std::vector<float>& weights() const { return weights_; }
  const std::vector<double>& judged() const { return judged_; }
  double label_smoothing() const { return label_smoothing_; }
  void spoil() { gradient_[5] = std::numeric_limits<float>::quiet_NaN(); }
  void lose() { weights_[5] = std::numeric_limits<float>::quiet_NaN(); }

 private:
  static double pixel(const host::Batch& batch, int64_t i, int64_t x) { return batch.pixels[i * kPixels + x]; }
  std::vector<double> probabilities(const host::Batch& batch, int64_t i) const {
    std::vector<double> scores(kClasses);
    for (int64_t c = 0; c < kClasses; ++c)
      for (int64_t x = 0; x < kPixels; ++x) scores[c] += weights_[c * kPixels + x] * pixel(batch, i, x);
    const double most = *std::max_element(scores.begin(), scores.end());
    double sum = 0;
    for (double& s : scores) sum += s = std::exp(s - most);
    for (double& s : scores) s /= sum;
    return scores;
  }
  std::vector<float> weights_, gradient_;
  double label_smoothing_ = 0;
  std::vector<double> judged_;  // the sum of the weights at each call
  Hook hook_;
  int64_t calls_ = 0;
};

}  // namespace onebit::test
