// SPDX-License-Identifier: Apache-2.0
// Programs on the CPU (program.hpp): plain loops, which the compiler vectorises for each target that Highway asks for.
#include "onebit/programs/lanes.hpp"
#include "onebit/programs/prefetch.hpp"
#include "onebit/programs/view.hpp"

#if defined(ONEBIT_PROGRAM_CPU_HPP) == defined(HWY_TARGET_TOGGLE)  // once a target
#ifdef ONEBIT_PROGRAM_CPU_HPP
#undef ONEBIT_PROGRAM_CPU_HPP
#else
#define ONEBIT_PROGRAM_CPU_HPP
#endif

#undef ONEBIT_PROGRAMS
#undef ONEBIT_END_PROGRAMS
#undef ONEBIT_LOOP
#undef ONEBIT_BODY
#define ONEBIT_PROGRAMS   \
  HWY_BEFORE_NAMESPACE(); \
  namespace onebit {      \
  namespace HWY_NAMESPACE {
#define ONEBIT_END_PROGRAMS \
  }                         \
  }                         \
  HWY_AFTER_NAMESPACE();
#define ONEBIT_LOOP inline
#define ONEBIT_BODY HWY_ATTR

ONEBIT_PROGRAMS

template <class Element>
using InputOf = const Element* HWY_RESTRICT;
template <class Element>
using OutputOf = Element* HWY_RESTRICT;
using Input = InputOf<float>;
using Output = OutputOf<float>;

inline bool is_first() { return true; }

template <class F, class... Arrays>
HWY_INLINE void each(int64_t count, F f, const Arrays*... arrays) {
  for (int64_t begin = 0; begin < count; begin += prefetch_run) {
    prefetch(arrays + begin...);
    const int64_t end = run_end(begin, count);
    for (int64_t i = begin; i < end; ++i) f(i);
  }
}

template <int n>
struct Sums {
  float at[n];
};

// The terms of 32 elements, 0 beyond the end.
template <int n>
struct TermsOfGroup {
  HWY_ALIGN float at[n][kLanes] = {};
};
template <int n, class F>
HWY_INLINE void find_terms(TermsOfGroup<n>& terms, int64_t first, int64_t count, F& f) {
  for (int64_t k = 0; k < count; ++k) {
    const Sums<n> found = f(first + k);
    for (int t = 0; t < n; ++t) terms.at[t][k] = found.at[t];
  }
}

template <int n>
class LaneSums {
 public:
  HWY_INLINE LaneSums() {}  // an implied one would not be compiled for the target
  template <int more>
  HWY_INLINE void add(const TermsOfGroup<more>& terms) {
    for (int t = 0; t < n; ++t) add_group(sums_[t], terms.at[t]);
  }
  HWY_INLINE void total(float* totals) const {
    for (int t = 0; t < n; ++t) totals[t] = sums_[t].total();
  }

 private:
  LaneSum sums_[n];
};

template <int n, class F>
HWY_INLINE Sums<n> sums(int64_t count, F f) {
  LaneSums<n> lanes;
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    TermsOfGroup<n> terms;
    find_terms(terms, i, kLanes, f);
    lanes.add(terms);
  }
  if (i < count) {
    TermsOfGroup<n> terms;
    find_terms(terms, i, count - i, f);
    lanes.add(terms);
  }
  Sums<n> result;
  lanes.total(result.at);
  return result;
}

template <int n, class F>
HWY_INLINE Sums<n + 1> sums_and_least(int64_t count, F f) {
  LaneSums<n> lanes;
  float least[kLanes];
  for (float& lane : least) lane = HUGE_VALF;
  for (int64_t i = 0; i < count; i += kLanes) {
    TermsOfGroup<n + 1> terms;
    const int64_t here = i + kLanes <= count ? kLanes : count - i;
    if (here == kLanes)
      find_terms(terms, i, kLanes, f);
    else
      find_terms(terms, i, here, f);
    lanes.add(terms);
    for (int64_t k = 0; k < here; ++k) least[k] = terms.at[n][k] < least[k] ? terms.at[n][k] : least[k];
  }
  Sums<n + 1> result;
  lanes.total(result.at);
  result.at[n] = HUGE_VALF;
  for (const float lane : least) result.at[n] = lane < result.at[n] ? lane : result.at[n];
  return result;
}

inline double sum_of_blocks(const View& view, int64_t tensor, int slot) {
  double sum = 0;
  for (int64_t block = view.first_block[tensor]; block < view.first_block[tensor + 1]; ++block)
    sum += doubles(view, slot)[block];
  return sum;
}
inline double least_of_blocks(const View& view, int64_t tensor, int slot) {
  double least = HUGE_VAL;
  for (int64_t block = view.first_block[tensor]; block < view.first_block[tensor + 1]; ++block)
    least = doubles(view, slot)[block] < least ? doubles(view, slot)[block] : least;
  return least;
}

template <class Program, class Pass>
void over_blocks(const Pass& pass, const View& view, const Tile& tile) {
  for (const Block& block : blocks(tile)) Program::run(pass, view, block);
}
template <class Program, class Pass>
void over_tensors(const Pass& pass, const View& view, const Totals& totals) {
  for (int64_t tensor = 0; tensor < totals.tensor_count; ++tensor) Program::run(pass, view, tensor);
}
template <class Program, class Pass>
void over_model(const Pass& pass, const View& view, const Totals&) {
  Program::run(pass, view);
}

ONEBIT_END_PROGRAMS

#endif
