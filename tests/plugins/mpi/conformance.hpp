// SPDX-License-Identifier: Apache-2.0
// The communicator conformance on a rank that is a process: all cases, or those that are named.
#pragma once

#include <cstdio>
#include <cstring>
#include <exception>

#include "onebit/conformance/communicator.hpp"

namespace onebit::test {

inline bool run_case(const conformance::CommunicatorCase& one, conformance::Rank& self) {
  try {
    one.run(self);
    self->barrier(Call());
    return true;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s: rank %d of %d: %s\n", one.name, self->rank(), self->size(), e.what());
    return false;
  }
}

// names: NULL-terminated, as main's; the first is left out; no other: all cases. Answers the exit status of the process. After
// a case that failed the ranks are out of step, so it is the last.
inline int run_conformance(conformance::Rank& self, char** names) {
  int count = 0;
  for (const conformance::CommunicatorCase& one : conformance::communicator_cases) {
    bool chosen = names[0] == nullptr || names[1] == nullptr;
    for (char** name = names + (names[0] != nullptr ? 1 : 0); *name != nullptr; ++name)
      chosen = chosen || std::strcmp(*name, one.name) == 0;
    if (!chosen) continue;
    if (!run_case(one, self)) return 1;
    ++count;
  }
  if (self->rank() == 0) std::printf("%d cases on %d ranks\n", count, self->size());
  return 0;
}

}  // namespace onebit::test
