// SPDX-License-Identifier: Apache-2.0
// Which cases of a conformance suite a component fails, and in what words: for the tests that wrong components are caught.
#pragma once

#include <doctest/doctest.h>

#include <map>
#include <set>
#include <string>

#include "onebit/conformance/fixtures/unmet.hpp"

namespace onebit::test {

// By the case's name, what it says. without: a case to leave out, such as one with threads for a component that is a race.
template <class Cases, class Make>
std::map<std::string, std::string> failing(const Cases& cases, const Make& make, const std::string& without = "") {
  std::map<std::string, std::string> failed;
  for (const auto& one : cases) try {
      if (one.name != without) one.run(make);
    } catch (const conformance::NotApplicable&) {
    } catch (const std::exception& e) {
      failed[one.name] = e.what();
    }
  return failed;
}

// What a defect should come to: the case that is there for it, a part of its words, and other cases that may notice, too.
struct Catch {
  std::string by, saying;
  std::set<std::string> also = {};
  bool anything = false;  // spoils so much that any case may notice
  bool races = false;     // with itself, on several threads: not to be tried there, for ThreadSanitizer's sake
};

inline void check_caught(const std::map<std::string, std::string>& failed, const Catch& expected) {
  const auto found = failed.find(expected.by);
  if (found == failed.end()) {
    FAIL_CHECK("the case ", expected.by, " did not notice");
  } else {
    CHECK_MESSAGE(found->second.find(expected.saying) != std::string::npos, found->second);
    MESSAGE(found->second);
  }
  for (const auto& item : failed)  // clang 14 lets no lambda of doctest's capture structured bindings
    if (!expected.anything && item.first != expected.by)
      CHECK_MESSAGE(expected.also.count(item.first) == 1, item.first, ": ", item.second);
}

}  // namespace onebit::test
