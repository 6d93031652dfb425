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

inline void freeze_afresh(const AdamScalars& scalars, float floor, int64_t count, Output variance, Output fresh) {
  const float correct = scalars.correct2;
  for (int64_t i = 0; i < count; ++i) fresh[i] = variance[i] * correct;
  freeze(scalars, floor, count, variance);
}

inline void precondition(int64_t count, Input reciprocal, Output momentum) {
  for (int64_t i = 0; i < count; ++i) momentum[i] *= reciprocal[i];
}

inline void produce_momentum(const AdamScalars& scalars, Scaling scaling, float gradient_scale, int64_t count, Input before,
                             Input gradient, Output message) {
  const AdamScalars s = scalars;
  for (int64_t i = 0; i < count; ++i)
    message[i] = adam_momentum(s, before[i] * scaling.inverse, gradient[i] * gradient_scale) * scaling.factor;
}

inline void produce_update(const AdamScalars& scalars, float gradient_scale, float limit, int64_t count, Input before,
                           Input reciprocal, Input gradient, Output message) {
  const AdamScalars s = scalars;
  for (int64_t i = 0; i < count; ++i)
    message[i] = adam_momentum(s, before[i], preconditioned(reciprocal[i], gradient[i] * gradient_scale, limit));
}

// What a group adds to the three of FactorSums; for the last the inverse, which costs no division, and is never 0.
struct FactorGroup {
  Group32 direction, update, inverse_ratio;
};

class FactorLanes {
 public:
  HWY_INLINE FactorLanes() {  // an implied one would not be compiled for the target
    for (float& least : least_) least = FLT_MAX;
  }
  HWY_INLINE void add(const FactorGroup& group, int64_t count) {
    add_group(direction_, group.direction.values);
    add_group(update_, group.update.values);
    for (int64_t k = 0; k < count; ++k) {
      const float inverse = group.inverse_ratio.values[k];
      least_[k] = inverse < least_[k] ? inverse : least_[k];
    }
  }
  FactorSums total() const { return {direction_.total(), update_.total(), 1.0f / *std::min_element(least_, least_ + kLanes)}; }

 private:
  LaneSum direction_, update_;
  float least_[kLanes];
};

// The mean gradient is what two means in a row make of it: (m - b1 m') / (1-b1), and r is divided out where m is an update.
// Dead elements are multiplied away: with more than one choice in it the loop would not be vectorised.
template <bool update>
HWY_INLINE void refresh_group(const AdamScalars& s, Scaling scaling, float weight_decay, int64_t count, Input mean,
                              Input before, Input reciprocal, Output fresh, float floor, Input parameter, FactorGroup& group) {
  const float inverse_rest = 1.0f / s.rest1;
  for (int64_t i = 0; i < count; ++i) {
    const float r = reciprocal[i];
    const float alive = r > 0.0f ? 1.0f : 0.0f, dead = 1.0f - alive;
    const float m = mean[i] * scaling.inverse;
    const float entry = (m - s.beta1 * (before[i] * scaling.inverse)) * inverse_rest;
    const float gradient = update ? alive * entry / (r + dead) : entry;
    const float v = adam_variance(s, fresh[i], gradient);
    fresh[i] = v;
    const float direction = alive * ((update ? m : r * m) * s.correct1);
    const float decayed = direction + alive * (weight_decay * parameter[i]);
    const float raised = v > floor ? v : floor;
    group.direction.values[i] = direction * direction;
    group.update.values[i] = decayed * decayed;
    group.inverse_ratio.values[i] = r * (std::sqrt(raised) + s.eps) + dead * FLT_MAX;
  }
}

template <bool update>
inline FactorSums refresh(const AdamScalars& scalars, Scaling scaling, float weight_decay, int64_t count, Input mean,
                          Input before, Frozen frozen, Input parameter) {
  const AdamScalars s = scalars;
  FactorLanes lanes;
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    FactorGroup group;
    refresh_group<update>(s, scaling, weight_decay, kLanes, mean + i, before + i, frozen.reciprocal + i, frozen.fresh + i,
                          frozen.floor, parameter + i, group);
    lanes.add(group, kLanes);
  }
  FactorGroup rest;
  refresh_group<update>(s, scaling, weight_decay, count - i, mean + i, before + i, frozen.reciprocal + i, frozen.fresh + i,
                        frozen.floor, parameter + i, rest);
  lanes.add(rest, count - i);
  return lanes.total();
}

inline FactorSums refresh_from_momentum(const AdamScalars& s, Scaling scaling, float weight_decay, int64_t count, Input mean,
                                        Input before, Frozen frozen, Input parameter) {
  return refresh<false>(s, scaling, weight_decay, count, mean, before, frozen, parameter);
}
inline FactorSums refresh_from_update(const AdamScalars& s, float weight_decay, int64_t count, Input mean, Input before,
                                      Frozen frozen, Input parameter) {
  return refresh<true>(s, {1, 1}, weight_decay, count, mean, before, frozen, parameter);
}

inline void step_by_momentum(const AdamScalars& scalars, Scaling scaling, Rates rates, int64_t count, Input mean,
                             Input reciprocal, Output parameter) {
  const float correct = scalars.correct1;
  for (int64_t i = 0; i < count; ++i)
    parameter[i] = stepped_if_alive(parameter[i], reciprocal[i] * (mean[i] * scaling.inverse * correct), rates.learning_rate,
                                    rates.weight_decay, reciprocal[i]);
}

inline void step_by_update(const AdamScalars& scalars, Rates rates, int64_t count, Input mean, Input reciprocal,
                           Output parameter) {
  const float correct = scalars.correct1;
  for (int64_t i = 0; i < count; ++i)
    parameter[i] = stepped_if_alive(parameter[i], mean[i] * correct, rates.learning_rate, rates.weight_decay, reciprocal[i]);
}

}  // namespace HWY_NAMESPACE
}  // namespace onebit
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace onebit {

HWY_EXPORT(update_moments);
HWY_EXPORT(step_by_moments);
HWY_EXPORT(scale);
HWY_EXPORT(sum_variance);
HWY_EXPORT(sum_squares);
HWY_EXPORT(freeze_afresh);
HWY_EXPORT(precondition);
HWY_EXPORT(produce_momentum);
HWY_EXPORT(produce_update);
HWY_EXPORT(refresh_from_momentum);
HWY_EXPORT(refresh_from_update);
HWY_EXPORT(step_by_momentum);
HWY_EXPORT(step_by_update);

namespace kernels {

LambSquares update_moments(const AdamScalars& s, float weight_decay, int64_t count, const float* gradient, float* momentum,
                           float* variance, const float* parameter) {
  return HWY_DYNAMIC_DISPATCH(update_moments)(s, weight_decay, count, gradient, momentum, variance, parameter);
}
void step_by_moments(const AdamScalars& s, Rates rates, int64_t count, const float* momentum, const float* variance,
                     float* parameter) {
  HWY_DYNAMIC_DISPATCH(step_by_moments)(s, rates, count, momentum, variance, parameter);
}
void scale(float factor, int64_t count, const float* in, float* out) { HWY_DYNAMIC_DISPATCH(scale)(factor, count, in, out); }
VarianceSum sum_variance(const float* variance, int64_t count) { return HWY_DYNAMIC_DISPATCH(sum_variance)(variance, count); }
float sum_squares(const float* values, int64_t count) { return HWY_DYNAMIC_DISPATCH(sum_squares)(values, count); }
void freeze(const AdamScalars& s, float floor, int64_t count, float* variance, float* fresh) {
  HWY_DYNAMIC_DISPATCH(freeze_afresh)(s, floor, count, variance, fresh);
}
void precondition(int64_t count, const float* reciprocal, float* momentum) {
  HWY_DYNAMIC_DISPATCH(precondition)(count, reciprocal, momentum);
}
void produce_momentum(const AdamScalars& s, Scaling scaling, float gradient_scale, int64_t count, const float* before,
                      const float* gradient, float* message) {
  HWY_DYNAMIC_DISPATCH(produce_momentum)(s, scaling, gradient_scale, count, before, gradient, message);
}
void produce_update(const AdamScalars& s, float gradient_scale, float limit, int64_t count, const float* before,
                    const float* reciprocal, const float* gradient, float* message) {
  HWY_DYNAMIC_DISPATCH(produce_update)(s, gradient_scale, limit, count, before, reciprocal, gradient, message);
}
FactorSums refresh_from_momentum(const AdamScalars& s, Scaling scaling, float weight_decay, int64_t count, const float* mean,
                                 const float* before, Frozen frozen, const float* parameter) {
  return HWY_DYNAMIC_DISPATCH(refresh_from_momentum)(s, scaling, weight_decay, count, mean, before, frozen, parameter);
}
FactorSums refresh_from_update(const AdamScalars& s, float weight_decay, int64_t count, const float* mean, const float* before,
                               Frozen frozen, const float* parameter) {
  return HWY_DYNAMIC_DISPATCH(refresh_from_update)(s, weight_decay, count, mean, before, frozen, parameter);
}
void step_by_momentum(const AdamScalars& s, Scaling scaling, Rates rates, int64_t count, const float* mean,
                      const float* reciprocal, float* parameter) {
  HWY_DYNAMIC_DISPATCH(step_by_momentum)(s, scaling, rates, count, mean, reciprocal, parameter);
}
void step_by_update(const AdamScalars& s, Rates rates, int64_t count, const float* mean, const float* reciprocal,
                    float* parameter) {
  HWY_DYNAMIC_DISPATCH(step_by_update)(s, rates, count, mean, reciprocal, parameter);
}

}  // namespace kernels
}  // namespace onebit
#endif
