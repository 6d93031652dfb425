// SPDX-License-Identifier: Apache-2.0
#include "dtypes/half_conversion.hpp"

#include <algorithm>
#include <array>
#include <numeric>

#include "onebit/programs/prefetch.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "dtypes/half_conversion.cpp"
#include <hwy/foreach_target.h>
//
#include <hwy/cache_control.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace onebit::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::CappedTag<float, 16>;
using Words = hn::RebindToUnsigned<Floats>;
using Halves = hn::Rebind<uint16_t, Floats>;
using FloatVector = hn::Vec<Floats>;
using WordVector = hn::Vec<Words>;
constexpr Floats df;
constexpr Words dw;
constexpr int64_t width = hn::MaxLanes(df);
using Signed = hn::RebindToSigned<Floats>;

constexpr uint32_t magnitude_bits = 0x7fffffff, fp32_infinity = 0x7f800000, fp32_quiet = 0x00400000;
constexpr uint32_t rebias = (127U - 15U) << 23;           // between the exponents of fp32 and fp16
constexpr uint32_t smallest_normal = (127U - 14U) << 23;  // fp16's, 2^-14, as fp32
constexpr uint32_t past_largest = (127U + 16U) << 23;     // 2^16: infinite in fp16
constexpr uint32_t subnormal_ruler = (127U - 1U) << 23;   // 0.5, whose last place is 2^-24, as a subnormal fp16's

// Whether magnitudes exceed a bound. They are below 2^31, and old targets only compare signed numbers.
HWY_INLINE hn::Mask<Words> above(WordVector magnitude, uint32_t bound) {
  const Signed di;
  return hn::RebindMask(dw, hn::Gt(hn::BitCast(di, magnitude), hn::Set(di, static_cast<int32_t>(bound))));
}
HWY_INLINE WordVector at_most(WordVector magnitude, uint32_t bound) {
  return hn::IfThenElse(above(magnitude, bound), hn::Set(dw, bound), magnitude);
}

// Drops the low bits of a word, rounding the rest to nearest even.
template <int bits>
HWY_INLINE WordVector round_off(WordVector word) {
  const auto odd = hn::And(hn::ShiftRight<bits>(word), hn::Set(dw, 1));
  return hn::ShiftRight<bits>(hn::Add(hn::Add(word, odd), hn::Set(dw, (1U << (bits - 1)) - 1)));
}

struct Fp16 {
  static HWY_INLINE WordVector encode(FloatVector value) {
    const auto word = hn::BitCast(dw, value);
    const auto magnitude = hn::And(word, hn::Set(dw, magnitude_bits));
    const auto sign = hn::ShiftRight<16>(hn::AndNot(hn::Set(dw, magnitude_bits), word));
    const auto bounded = at_most(magnitude, past_largest);
    const auto normal = round_off<13>(hn::Sub(bounded, hn::Set(dw, rebias)));
    // The sum's last place is the subnormal's: the addition itself rounds.
    const auto sum = hn::Add(hn::BitCast(df, bounded), hn::BitCast(df, hn::Set(dw, subnormal_ruler)));
    const auto subnormal = hn::Sub(hn::BitCast(dw, sum), hn::Set(dw, subnormal_ruler));
    const auto nan = hn::Or(hn::And(hn::ShiftRight<13>(magnitude), hn::Set(dw, 0x3ff)), hn::Set(dw, 0x7e00));
    const auto number = hn::IfThenElse(above(bounded, smallest_normal - 1), normal, subnormal);
    return hn::Or(sign, hn::IfThenElse(above(magnitude, fp32_infinity), nan, number));
  }
  static HWY_INLINE FloatVector decode(WordVector half) {
    const auto magnitude = hn::And(half, hn::Set(dw, 0x7fff));
    const auto sign = hn::ShiftLeft<16>(hn::Sub(half, magnitude));
    const auto shifted = hn::ShiftLeft<13>(magnitude);
    const auto normal = hn::Add(shifted, hn::Set(dw, rebias));
    // Counted from 2^-14, a subnormal is the difference of two normal numbers, which is exact.
    const auto base = hn::BitCast(df, hn::Set(dw, smallest_normal));
    const auto raised = hn::BitCast(df, hn::Add(shifted, hn::Set(dw, smallest_normal)));
    const auto subnormal = hn::BitCast(dw, hn::Sub(raised, base));
    const auto quiet = hn::IfThenElseZero(above(magnitude, 0x7c00), hn::Set(dw, fp32_quiet));
    const auto special = hn::Or(hn::Or(shifted, hn::Set(dw, fp32_infinity)), quiet);
    auto word = hn::IfThenElse(above(magnitude, 0x3ff), normal, subnormal);
    word = hn::IfThenElse(above(magnitude, 0x7bff), special, word);
    return hn::BitCast(df, hn::Or(sign, word));
  }
};

struct Bf16 {
  static HWY_INLINE WordVector encode(FloatVector value) {
    const auto word = hn::BitCast(dw, value);
    const auto magnitude = hn::And(word, hn::Set(dw, magnitude_bits));
    const auto nan = hn::Or(hn::ShiftRight<16>(word), hn::Set(dw, 0x40));
    return hn::IfThenElse(above(magnitude, fp32_infinity), nan, round_off<16>(word));
  }
  static HWY_INLINE FloatVector decode(WordVector half) {
    const auto word = hn::ShiftLeft<16>(half);
    const auto magnitude = hn::And(word, hn::Set(dw, magnitude_bits));
    const auto quiet = hn::IfThenElseZero(above(magnitude, fp32_infinity), hn::Set(dw, fp32_quiet));
    return hn::BitCast(df, hn::Or(word, quiet));
  }
};

// Answers ones in all bits where a value that is not zero becomes zero.
template <class Half>
HWY_INLINE WordVector encode_vector(const float* values, FloatVector factor, uint16_t* out) {
  const auto value = hn::LoadU(df, values);
  const auto word = Half::encode(hn::Mul(value, factor));
  // as signed numbers, for which every target has a conversion; they are all below 2^16
  hn::StoreU(hn::DemoteTo(Halves(), hn::BitCast(Signed(), word)), Halves(), out);
  const auto nothing = hn::Eq(hn::And(word, hn::Set(dw, 0x7fff)), hn::Zero(dw));
  return hn::IfThenElseZero(nothing, hn::VecFromMask(dw, hn::RebindMask(dw, hn::Ne(value, hn::Zero(df)))));
}
#if HWY_TARGET <= HWY_AVX2 && HWY_ARCH_X86  // whose processors convert as Fp16::encode does, to the bit
template <>
HWY_INLINE WordVector encode_vector<Fp16>(const float* values, FloatVector factor, uint16_t* out) {
  const hn::Rebind<hwy::float16_t, Floats> dh;
  const auto value = hn::LoadU(df, values), scaled = hn::Mul(value, factor);
  hn::StoreU(hn::DemoteTo(dh, scaled), dh, reinterpret_cast<hwy::float16_t*>(out));
  const auto nothing = hn::Le(hn::Abs(scaled), hn::Set(df, 0x1p-25F));
  return hn::VecFromMask(dw, hn::RebindMask(dw, hn::And(nothing, hn::Ne(value, hn::Zero(df)))));
}
#endif
template <class Half, bool add>
HWY_INLINE void decode_vector(const uint16_t* halves, FloatVector weight, float* out) {
  const auto value = hn::Mul(weight, Half::decode(hn::PromoteTo(dw, hn::LoadU(Halves(), halves))));
  hn::StoreU(add ? hn::Add(hn::LoadU(df, out), value) : value, df, out);
}

template <class Half>
uint64_t encode(const float* values, float by, int64_t count, uint16_t* out) {
  const auto factor = hn::Set(df, by);
  auto lost = hn::Zero(dw);
  int64_t i = 0;
  for (; i + width <= count; i += width) lost = hn::Sub(lost, encode_vector<Half>(values + i, factor, out + i));
  if (i < count) {
    HWY_ALIGN float rest[width] = {};
    HWY_ALIGN uint16_t halves[width];
    std::copy(values + i, values + count, rest);
    lost = hn::Sub(lost, encode_vector<Half>(rest, factor, halves));
    std::copy_n(halves, count - i, out + i);
  }
  HWY_ALIGN uint32_t by_lane[width];
  hn::Store(lost, dw, by_lane);
  return std::accumulate(by_lane, by_lane + width, uint64_t{0});
}

uint32_t largest(const float* values, int64_t count) {
  const Signed di;
  const auto magnitude = [&](const float* from) HWY_ATTR {
    return hn::And(hn::BitCast(di, hn::LoadU(df, from)), hn::Set(di, static_cast<int32_t>(magnitude_bits)));
  };
  auto most = hn::Zero(di);
  int64_t i = 0;
  for (; i + width <= count; i += width) most = hn::Max(most, magnitude(values + i));
  if (i < count) {
    HWY_ALIGN float rest[width] = {};
    std::copy(values + i, values + count, rest);
    most = hn::Max(most, magnitude(rest));
  }
  HWY_ALIGN int32_t by_lane[width];
  hn::Store(most, di, by_lane);
  return static_cast<uint32_t>(*std::max_element(by_lane, by_lane + width));
}

template <class Half, bool add>
void decode(const uint16_t* halves, int64_t count, float weight, float* out) {
  const auto factor = hn::Set(df, weight);
  int64_t i = 0;
  for (; i + width <= count; i += width) decode_vector<Half, add>(halves + i, factor, out + i);
  if (i == count) return;
  HWY_ALIGN uint16_t rest[width] = {};
  HWY_ALIGN float values[width] = {};
  std::copy(halves + i, halves + count, rest);
  if (add) std::copy(out + i, out + count, values);
  decode_vector<Half, add>(rest, factor, values);
  std::copy_n(values, count - i, out + i);
}

// Whole vectors; answers how many elements that were. streamed: past the caches, into memory that is aligned to a vector.
template <bool streamed>
int64_t narrow_vectors(const float* values, int64_t count, uint16_t* out) {
  int64_t i = 0;
  for (; i + width <= count; i += width) {
    const auto halves = hn::TruncateTo(Halves(), round_off<16>(hn::BitCast(dw, hn::LoadU(df, values + i))));
    if constexpr (streamed)
      hn::Stream(halves, Halves(), out + i);
    else
      hn::StoreU(halves, Halves(), out + i);
  }
  if constexpr (streamed) hwy::FlushStream();
  return i;
}

void narrow_bf16(const float* values, int64_t count, uint16_t* out, bool streamed) {
  constexpr size_t bytes = width * sizeof(uint16_t);  // half a vector of the smallest targets, which can't be streamed
  const bool streams = streamed && bytes >= 16 && reinterpret_cast<uintptr_t>(out) % bytes == 0;
  const int64_t done = streams ? narrow_vectors<true>(values, count, out) : narrow_vectors<false>(values, count, out);
  encode<Bf16>(values + done, 1.0F, count - done, out + done);
}

void widen_bf16(const uint16_t* halves, int64_t count, float* out) {
  int64_t i = 0;
  for (; i + prefetch_run <= count; i += prefetch_run) {
    prefetch(halves + i);
    for (int64_t j = i; j < i + prefetch_run; j += width)
      hn::StoreU(hn::BitCast(df, hn::ShiftLeft<16>(hn::PromoteTo(dw, hn::LoadU(Halves(), halves + j)))), df, out + j);
  }
  decode<Bf16, false>(halves + i, count - i, 1.0F, out + i);
}

uint64_t encode_fp16(const float* values, float factor, int64_t count, uint16_t* out) {
  return encode<Fp16>(values, factor, count, out);
}
uint64_t encode_bf16(const float* values, float factor, int64_t count, uint16_t* out) {
  return encode<Bf16>(values, factor, count, out);
}
void decode_fp16(const uint16_t* halves, int64_t count, float weight, bool add, float* out) {
  add ? decode<Fp16, true>(halves, count, weight, out) : decode<Fp16, false>(halves, count, weight, out);
}
void decode_bf16(const uint16_t* halves, int64_t count, float weight, bool add, float* out) {
  add ? decode<Bf16, true>(halves, count, weight, out) : decode<Bf16, false>(halves, count, weight, out);
}

}  // namespace onebit::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace onebit {

HWY_EXPORT(largest);
HWY_EXPORT(encode_fp16);
HWY_EXPORT(encode_bf16);
HWY_EXPORT(decode_fp16);
HWY_EXPORT(decode_bf16);
HWY_EXPORT(narrow_bf16);
HWY_EXPORT(widen_bf16);

uint32_t largest_magnitude(const float* values, int64_t count) { return HWY_DYNAMIC_DISPATCH(largest)(values, count); }

uint64_t to_half(WireType type, const float* values, float factor, int64_t count, uint16_t* out) {
  return type == WireType::fp16 ? HWY_DYNAMIC_DISPATCH(encode_fp16)(values, factor, count, out)
                                : HWY_DYNAMIC_DISPATCH(encode_bf16)(values, factor, count, out);
}

void from_half(WireType type, const uint16_t* halves, int64_t count, float weight, bool add, float* out) {
  type == WireType::fp16 ? HWY_DYNAMIC_DISPATCH(decode_fp16)(halves, count, weight, add, out)
                         : HWY_DYNAMIC_DISPATCH(decode_bf16)(halves, count, weight, add, out);
}

void take_halves(WireType type, const uint16_t* halves, int64_t count, float* masters) {
  constexpr int64_t most = 512;
  std::array<uint16_t, most> rounded;
  std::array<float, most> values;
  for (int64_t first = 0; first < count; first += most) {
    const int64_t some = std::min(most, count - first);
    to_half(type, masters + first, 1.0F, some, rounded.data());
    if (std::equal(rounded.data(), rounded.data() + some, halves + first)) continue;
    from_half(type, halves + first, some, 1.0F, false, values.data());
    for (int64_t i = 0; i < some; ++i)
      if (rounded[static_cast<size_t>(i)] != halves[first + i]) masters[first + i] = values[static_cast<size_t>(i)];
  }
}

void narrow(const float* values, int64_t count, uint16_t* out, bool streamed) {
  HWY_DYNAMIC_DISPATCH(narrow_bf16)(values, count, out, streamed);
}
void widen(const uint16_t* halves, int64_t count, float* out) { HWY_DYNAMIC_DISPATCH(widen_bf16)(halves, count, out); }

}  // namespace onebit
#endif
