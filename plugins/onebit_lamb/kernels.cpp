// In groups of 32 elements where there are sums, else plain: the compiler vectorises them for each target that Highway asks
// for.
#include "kernels.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "onebit/lamb_loops.hpp"

HWY_BEFORE_NAMESPACE();
namespace onebit {
namespace HWY_NAMESPACE {

using kernels::FactorSums;
using kernels::Frozen;
using kernels::Scaling;

// in may be out.
inline void scale(float factor, int64_t count, const float* in, float* out) {
  for (int64_t i = 0; i < count; ++i) out[i] = in[i] * factor;
}

inline float sum_squares(Input values, int64_t count) {
  LaneSum sum;
  for (int64_t begin = 0; begin < count; begin += kLanes) {
    Group32 squares;
    const int64_t n = std::min(kLanes, count - begin);
    for (int64_t i = 0; i < n; ++i) squares.values[i] = values[begin + i] * values[begin + i];
    add_group(sum, squares.values);
  }
  return sum.total();
}

template <bool of_updates>
void freeze_all(const AdamScalars& scalars, float floor, Scaling scaling, int64_t count, Output momentum, Output variance,
                Output fresh) {
  const float correct = scalars.correct2;
  for (int64_t i = 0; i < count; ++i) fresh[i] = variance[i] * correct;
  freeze(scalars, floor, count, variance);
  for (int64_t i = 0; i < count; ++i) momentum[i] *= of_updates ? variance[i] : scaling.factor;
}

template <bool of_updates>
void produce(const AdamScalars& scalars, Scaling scaling, float gradient_scale, float limit, int64_t count, Input before,
             Input reciprocal, Input gradient, Output message) {
  const AdamScalars s = scalars;
  for (int64_t i = 0; i < count; ++i) {
    const float g = gradient[i] * gradient_scale;
    message[i] = of_updates ? adam_momentum(s, before[i], preconditioned(reciprocal[i], g, limit))
                            : adam_momentum(s, before[i] * scaling.inverse, g) * scaling.factor;
  }
}

// What a group adds to the four of FactorSums; for the last the inverse, which costs no division, and is never 0.
struct FactorGroup {
  Group32 direction, update, parameter, inverse_ratio;
};

class FactorLanes {
 public:
  HWY_INLINE FactorLanes() {  // an implied one would not be compiled for the target
    for (float& least : least_) least = FLT_MAX;
  }
  HWY_INLINE void add(const FactorGroup& group, int64_t count) {
    add_group(direction_, group.direction.values);
    add_group(update_, group.update.values);
    add_group(parameter_, group.parameter.values);
    for (int64_t k = 0; k < count; ++k) {
      const float inverse = group.inverse_ratio.values[k];
      least_[k] = inverse < least_[k] ? inverse : least_[k];
    }
  }
  FactorSums total() const {
    return {direction_.total(), update_.total(), parameter_.total(), 1.0f / *std::min_element(least_, least_ + kLanes)};
  }

 private:
  LaneSum direction_, update_, parameter_;
  float least_[kLanes];
};

// The mean gradient is what two means in a row make of it: (m - b1 m') / (1-b1), and r is divided out where m is an update.
// Dead elements are multiplied away: with more than one choice in it the loop would not be vectorised.
template <bool of_updates>
HWY_INLINE void refresh_group(const AdamScalars& s, float inverse, float weight_decay, int64_t count, Input mean, Input before,
                              Input reciprocal, Output fresh, float floor, Input parameter, FactorGroup& group) {
  const float inverse_rest = 1.0f / s.rest1;
  for (int64_t i = 0; i < count; ++i) {
    const float r = reciprocal[i];
    const float alive = r > 0.0f ? 1.0f : 0.0f, dead = 1.0f - alive;
    const float m = mean[i] * inverse;
    const float entry = (m - s.beta1 * (before[i] * inverse)) * inverse_rest;
    const float gradient = of_updates ? alive * entry / (r + dead) : entry;
    const float v = adam_variance(s, fresh[i], gradient);
    fresh[i] = v;
    const float direction = alive * ((of_updates ? m : r * m) * s.correct1);
    const float decayed = direction + alive * (weight_decay * parameter[i]);
    const float raised = v > floor ? v : floor;
    group.direction.values[i] = direction * direction;
    group.update.values[i] = decayed * decayed;
    group.parameter.values[i] = parameter[i] * parameter[i];
    group.inverse_ratio.values[i] = r * (std::sqrt(raised) + s.eps) + dead * FLT_MAX;
  }
}

template <bool of_updates>
FactorSums refresh(const AdamScalars& scalars, Scaling scaling, float weight_decay, int64_t count, Input mean, Input before,
                   Frozen frozen, Input parameter) {
  const AdamScalars s = scalars;
  const float inverse = of_updates ? 1.0f : scaling.inverse;
  FactorLanes lanes;
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    FactorGroup group;
    refresh_group<of_updates>(s, inverse, weight_decay, kLanes, mean + i, before + i, frozen.reciprocal + i, frozen.fresh + i,
                              frozen.floor, parameter + i, group);
    lanes.add(group, kLanes);
  }
  FactorGroup rest;
  refresh_group<of_updates>(s, inverse, weight_decay, count - i, mean + i, before + i, frozen.reciprocal + i, frozen.fresh + i,
                            frozen.floor, parameter + i, rest);
  lanes.add(rest, count - i);
  return lanes.total();
}

template <bool of_updates>
void step(const AdamScalars& scalars, Scaling scaling, Rates rates, int64_t count, Input mean, Input reciprocal,
          Output parameter) {
  const float correct = scalars.correct1;
  for (int64_t i = 0; i < count; ++i) {
    const float direction = of_updates ? mean[i] * correct : reciprocal[i] * (mean[i] * scaling.inverse * correct);
    parameter[i] = stepped_if_alive(parameter[i], direction, rates.learning_rate, rates.weight_decay, reciprocal[i]);
  }
}

template <bool of_updates>
const kernels::Loops* table_of() {
  static constexpr kernels::Loops loops = {update_moments,      step_by_moments,     scale,
                                           sum_squares,         sum_variance,        freeze_all<of_updates>,
                                           produce<of_updates>, refresh<of_updates>, step<of_updates>};
  return &loops;
}
const kernels::Loops* table(bool of_updates) { return of_updates ? table_of<true>() : table_of<false>(); }

}  // namespace HWY_NAMESPACE
}  // namespace onebit
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace onebit {
HWY_EXPORT(table);
const kernels::Loops& kernels::loops(bool of_updates) { return *HWY_DYNAMIC_DISPATCH(table)(of_updates); }
}  // namespace onebit
#endif
