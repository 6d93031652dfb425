// What every compressor must do, written once for all of them. A case makes the compressors it needs, and throws Unmet where it
// finds something else than it expects, or NotApplicable where it has nothing to say.
//
//   #define CASE(name) TEST_CASE("mine: " #name) { onebit::conformance::name([] { return std::make_unique<Mine>(...); }); }
//   ONEBIT_COMPRESSOR_CASES(CASE)
//
// run.hpp runs them over a library, doctest.hpp makes test cases of them.
#pragma once

#include "onebit/conformance/compressor/described.hpp"

// clang-format off
#define ONEBIT_COMPRESSOR_CASES(X) \
  X(describes_itself_soundly)
// clang-format on

namespace onebit::conformance {

struct CompressorCase {
  const char* name;
  void (*run)(const MakeCompressor& make);
};

#define ONEBIT_CASE(name) {#name, name},
inline const CompressorCase compressor_cases[] = {ONEBIT_COMPRESSOR_CASES(ONEBIT_CASE)};
#undef ONEBIT_CASE

}  // namespace onebit::conformance
