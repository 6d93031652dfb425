// SPDX-License-Identifier: Apache-2.0
// The codec's loops, 32 elements at a time: their 32 lanes of a sum, or their one word of sign bits.
#include "codec.hpp"

#include <cstring>

#include "onebit/programs/prefetch.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "codec.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "groups.hpp"  // every pass: after foreach_target.h

HWY_BEFORE_NAMESPACE();
namespace onebit {
namespace HWY_NAMESPACE {

constexpr FloatTag d;

HWY_INLINE FloatVector load_sum(const float* values, const float* errors, int64_t i) {
  return hn::Add(hn::LoadU(d, values + i), hn::LoadU(d, errors + i));
}

// What a sum is of. factor is a power of two that keeps squares away from overflow and underflow.
struct Magnitude {
  HWY_INLINE FloatVector operator()(FloatVector x) const { return hn::Abs(x); }
};
struct Square {
  HWY_INLINE FloatVector operator()(FloatVector x) const { return hn::Mul(x, x); }
};
struct ScaledSquare {
  HWY_INLINE FloatVector operator()(FloatVector x) const {
    const FloatVector scaled = hn::Mul(x, hn::Set(d, factor));
    return hn::Mul(scaled, scaled);
  }
  float factor;
};

template <class Term>
HWY_INLINE void add_terms(LaneSum& sum, const Term& term, const float* values, const float* errors) {
  for (int64_t k = 0; k < kVectors; ++k) sum.add(k, term(load_sum(values, errors, k * kWidth)));
}

template <class Term>
HWY_INLINE float sum_terms(const Term& term, const float* values, const float* errors, int64_t count) {
  LaneSum sum;
  int64_t i = 0;
  for (; i + prefetch_run <= count; i += prefetch_run) {
    prefetch(errors + i);  // values come from the cache
    for (int64_t j = i; j < i + prefetch_run; j += kLanes) add_terms(sum, term, values + j, errors + j);
  }
  for (; i + kLanes <= count; i += kLanes) add_terms(sum, term, values + i, errors + i);
  if (i < count) add_terms(sum, term, Padded(values + i, count - i).values, Padded(errors + i, count - i).values);
  return sum.total();
}

float sum_magnitudes(const float* values, const float* errors, int64_t count) {
  return sum_terms(Magnitude(), values, errors, count);
}
float sum_squares(const float* values, const float* errors, int64_t count) {
  return sum_terms(Square(), values, errors, count);
}
float sum_scaled_squares(const float* values, const float* errors, int64_t count, float factor) {
  return sum_terms(ScaledSquare{factor}, values, errors, count);
}

void encode_words(const float* values, const float* errors, float* new_errors, int64_t count, float scale, std::byte* words) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const uint32_t word = encode_group(values + i, errors + i, new_errors + i, scale);
    std::memcpy(words + i / 8, &word, sizeof word);
  }
  if (i == count) return;
  const int64_t rest = count - i;
  const Padded value(values + i, rest);
  Padded error(errors + i, rest);
  const uint32_t word = encode_group(value.values, error.values, error.values, scale) & ((uint32_t{1} << rest) - 1);
  std::memcpy(words + i / 8, &word, sizeof word);
  std::memcpy(new_errors + i, error.values, static_cast<size_t>(rest) * sizeof(float));
}

template <bool add>
void decode_words(const std::byte* words, int64_t count, float scale, float* out) {
  int64_t i = 0;
  uint32_t word;
  for (; i + kLanes <= count; i += kLanes) {
    std::memcpy(&word, words + i / 8, sizeof word);
    decode_group<add>(word, scale, out + i);
  }
  if (i == count) return;
  Padded rest(out + i, add ? count - i : 0);
  std::memcpy(&word, words + i / 8, sizeof word);
  decode_group<add>(word, scale, rest.values);
  std::memcpy(out + i, rest.values, static_cast<size_t>(count - i) * sizeof(float));
}

void decode_set(const std::byte* words, int64_t count, float scale, float* out) {
  decode_words<false>(words, count, scale, out);
}
void decode_add(const std::byte* words, int64_t count, float scale, float* out) {
  decode_words<true>(words, count, scale, out);
}

}  // namespace HWY_NAMESPACE
}  // namespace onebit
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace onebit {

HWY_EXPORT(sum_magnitudes);
HWY_EXPORT(sum_squares);
HWY_EXPORT(sum_scaled_squares);
HWY_EXPORT(encode_words);
HWY_EXPORT(decode_set);
HWY_EXPORT(decode_add);

namespace codec {

void encode(const float* values, const float* errors, float* new_errors, int64_t count, float scale, std::byte* payload) {
  std::memcpy(payload, &scale, sizeof scale);
  HWY_DYNAMIC_DISPATCH(encode_words)(values, errors, new_errors, count, scale, payload + sizeof scale);
}

void decode(const std::byte* payload, int64_t count, float weight, bool add, float* out) {
  float scale;
  std::memcpy(&scale, payload, sizeof scale);
  const auto words = add ? HWY_DYNAMIC_DISPATCH(decode_add) : HWY_DYNAMIC_DISPATCH(decode_set);
  words(payload + sizeof scale, count, weight * scale, out);
}

double sum(Norm norm, const float* values, const float* errors, int64_t count) {
  if (norm == Norm::l1) return HWY_DYNAMIC_DISPATCH(sum_magnitudes)(values, errors, count);
  const float squares = HWY_DYNAMIC_DISPATCH(sum_squares)(values, errors, count);
  const int exponent = rescaling(squares);
  if (exponent == 0) return squares;
  const float factor = rescaling_factor(exponent);
  return without_rescaling(HWY_DYNAMIC_DISPATCH(sum_scaled_squares)(values, errors, count, factor), exponent);
}

}  // namespace codec
}  // namespace onebit
#endif
