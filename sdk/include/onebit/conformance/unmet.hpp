// SPDX-License-Identifier: Apache-2.0
// What a conformance case throws where a component does not do what the contract says, and how it asks. Cases know no test
// framework: run.hpp runs them over a library, doctest.hpp makes test cases of them.
#pragma once

#include <cstdio>
#include <stdexcept>
#include <string>

namespace onebit::conformance {

// The text is for the author: what was expected, what was found, where.
struct Unmet : std::runtime_error {
  using std::runtime_error::runtime_error;
};
// The case says nothing about this component, and why.
struct NotApplicable : std::runtime_error {
  using std::runtime_error::runtime_error;
};

inline void require(bool met, const std::string& text) {
  if (!met) throw Unmet(text);
}

// A number with all its digits, for texts.
inline std::string text_of(double value) {
  char text[40];
  std::snprintf(text, sizeof text, "%.9g", value);
  return text;
}

// A number that need not be exact.
inline std::string about(double value) {
  char text[40];
  std::snprintf(text, sizeof text, "about %.3g", value);
  return text;
}

}  // namespace onebit::conformance
