// SPDX-License-Identifier: Apache-2.0
// The options that every optimizer of the Adam family has, and those of the 1-bit ones among them.
#pragma once

#include <cfloat>
#include <cmath>
#include <initializer_list>
#include <limits>
#include <vector>

#include "onebit/adaptive/adam.hpp"
#include "onebit/number_text.hpp"
#include "onebit/optimizer.hpp"
#include "onebit/options.hpp"

namespace onebit {

struct AdamOptions {
  // The schema: the options of all, then an optimizer's own.
  static std::vector<onebit_schema> and_also(std::initializer_list<onebit_schema> own) {
    std::vector<onebit_schema> schema = {
        real_option("lr", "1e-3", 0, 1e6, "learning rate"),
        array_option("betas", "[0.9, 0.999]", 2, 0, 1,
                     "decay rates of the momentum (beta1) and of the variance (beta2); both below 1"),
        real_option("eps", "1e-8", 1e-20, 1,
                    "added to the square root of the variance, against division by zero; at least what is left of the smallest "
                    "gradients, whose squares are zero in fp32"),
        real_option("weight_decay", "0", 0, 1e6, "decoupled weight decay, as in AdamW (PyTorch's AdamW: 0.01 by default)"),
        boolean_option("bias_correction", "true", "divide momentum and variance by 1 - beta^t, where t counts the updates")};
    schema.insert(schema.end(), own);
    return schema;
  }
  explicit AdamOptions(const Options& options)
      : betas(AdamBetas::checked(options.reals("betas"))),
        eps(checked_eps(options.real("eps"), betas)),
        bias_correction(options.boolean("bias_correction")) {}

  // Of an update, counted from 1.
  AdamScalars scalars(int64_t update) const { return {betas, eps, bias_correction ? update : 0}; }
  AdamAges ages(int64_t update) const { return ages(update, update); }
  AdamAges ages(int64_t momentum, int64_t variance) const {
    return bias_correction ? AdamAges{betas.first, betas.second, momentum, variance} : AdamAges{};
  }

  const AdamBetas betas;
  const double eps;
  const bool bias_correction;

 private:
  // A gradient whose square adds nothing to the variance is divided by eps alone, so eps must not be smaller than it.
  static double checked_eps(double eps, AdamBetas betas) {
    const double least = std::sqrt(static_cast<double>(FLT_TRUE_MIN) / (1 - betas.second));
    if (eps >= least) return eps;
    throw Error(Code::invalid_argument, "eps is " + number_text(eps) + "; with beta2 = " + number_text(betas.second, 9) +
                                            " it must be at least " + number_text(least, 2) +
                                            ", the smallest gradient whose square fp32 can add to the variance: set a larger "
                                            "eps, or a smaller beta2");
  }
};

// What keeps compressed steps in bounds.
struct BoundedMessages {
  static onebit_schema message_option() {
    return text_option(
        "message", "\"update\"", "update|momentum",
        "what is compressed and sent. update: the momentum of preconditioned gradients (divided by the root of the variance), "
        "which keeps steps bounded; momentum: that of the gradients, as in the paper");
  }
  static onebit_schema floor_option() {
    return real_option(
        "variance_floor", "0.01", 0, 1,
        "smallest variance to divide by, as a fraction of the mean variance of the tensor, or of the model where the tensor "
        "has none; also that of elements "
        "which have seen no gradient by the freeze; 0: none, and such elements stay where they are");
  }
  static onebit_schema clamp_option() {
    return clamp_option(
        "message = \"update\": largest absolute value of a rank's preconditioned gradient. \"auto\": as many times "
        "1 / sqrt(1 - beta2), the most that there can be in Adam, as there are ranks, and that itself for the mean; 0: no "
        "limit");
  }
  // Of LAMB, which learns worse with more for each rank: its trust ratios may not exceed twice those of the compressed update.
  static onebit_schema lamb_clamp_option() {
    return clamp_option(
        "message = \"update\": largest absolute value of a rank's preconditioned gradient. \"auto\": 1 / sqrt(1 - beta2), the "
        "most that there can be in Adam; 0: no limit");
  }
  static onebit_schema reciprocal_option() {
    return text_option(
        "reciprocal_dtype", "\"fp32\"", "fp32|bf16",
        "data type of the frozen reciprocal of the variance's root, which is kept in place of the variance after "
        "the freeze; bf16 takes half the memory and is rounded to nearest");
  }
  explicit BoundedMessages(const Options& options)
      : of_updates(options.text("message") == "update"),
        reciprocal(options.text("reciprocal_dtype") == "bf16" ? ElementType::bf16 : ElementType::fp32),
        variance_floor(options.real("variance_floor")),
        auto_(options.is_text("clamp")),
        limit_(limit_of(options)),
        young_beta2_(options.is_text("clamp") && options.boolean("bias_correction") ? beta2_of(options) : 0) {}

  const bool of_updates;
  const ElementType reciprocal;
  const double variance_floor;
  bool has_limit() const { return of_updates && std::isfinite(limit_); }

  // Of a preconditioned gradient. Adam's is one of the mean over ranks; where a feature is so rare that one rank alone has it,
  // its own gradient is as many times the mean as there are ranks.
  float limit(int32_t ranks) const { return auto_ ? limit_ * static_cast<float>(ranks) : limit_; }
  // Of a step's direction, which holds whatever ranks and codec make of that.
  float step_limit() const { return auto_ && of_updates ? limit_ : std::numeric_limits<float>::infinity(); }

  // The factor of both where gradients are divided by a variance that is still being learnt, at step t: Adam's limit is lower
  // there, about sqrt(t) soon after the start. Without it, steps whose own gradient is not in the variance yet can be many
  // times what Adam would do.
  float youth(int64_t t) const { return static_cast<float>(std::sqrt(1 - std::pow(young_beta2_, static_cast<double>(t)))); }

 private:
  static onebit_schema clamp_option(const char* help) {
    onebit_schema schema = option("clamp", ONEBIT_VALUE_FLOAT | ONEBIT_VALUE_STRING, "\"auto\"", 0, 1e30, help);
    schema.choices = str("auto");
    return schema;
  }
  // A gradient that comes once in k steps is about sqrt(k) in the units of its variance; in Adam, whose variance has a share of
  // 1 - beta2, over 1 - beta2^t at step t, of the gradient's own square, at most the root of the inverse.
  static float limit_of(const Options& options) {
    if (options.is_text("clamp")) return static_cast<float>(1 / std::sqrt(1 - beta2_of(options)));
    const auto limit = static_cast<float>(options.real("clamp"));
    return limit > 0 ? limit : std::numeric_limits<float>::infinity();
  }
  static double beta2_of(const Options& options) { return AdamBetas::checked(options.reals("betas")).second; }

  bool auto_;
  float limit_;
  double young_beta2_;  // 0: the limit is the same at every step
};

}  // namespace onebit
