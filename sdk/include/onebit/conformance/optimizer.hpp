// What every optimizer must do, written once for all of them. A case makes the optimizers it needs, and throws Unmet where it
// finds something else than it expects, or NotApplicable where it has nothing to say.
//
//   #define CASE(name) TEST_CASE("mine: " #name) { onebit::conformance::name([] { return std::make_unique<Mine>(...); }); }
//   ONEBIT_OPTIMIZER_CASES(CASE)
//
// run.hpp runs them over a library, doctest.hpp makes test cases of them.
#pragma once

#include "onebit/conformance/optimizer/declared.hpp"

// clang-format off
#define ONEBIT_OPTIMIZER_CASES(X) \
  X(declares_sound_state)
// clang-format on

namespace onebit::conformance {

struct OptimizerCase {
  const char* name;
  void (*run)(const MakeOptimizer& make);
};

#define ONEBIT_CASE(name) {#name, name},
inline const OptimizerCase optimizer_cases[] = {ONEBIT_OPTIMIZER_CASES(ONEBIT_CASE)};
#undef ONEBIT_CASE

}  // namespace onebit::conformance
