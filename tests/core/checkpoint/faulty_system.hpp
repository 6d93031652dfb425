// SPDX-License-Identifier: Apache-2.0
// An operating system that fails on request. The test program has its own write, fsync, rename, unlink, mkdir and so on
// (faulty_system.cpp), which the core's and the C++ library's calls come to as well; they count the calls on paths in one
// folder, and at the n-th one fail, write less, or end the process, as a kill -9 at this moment would.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace onebit::test {

// A sanitizer has calls of its own in their place: then nothing fails, and what needs it is skipped.
#ifdef ONEBIT_SANITIZED
inline constexpr bool calls_can_fail = false;
#else
inline constexpr bool calls_can_fail = true;
#endif

enum class Fault {
  none,
  exit_before,  // the process ends instead of the call
  exit_after,   // the call is done, and nobody hears of it
  error,        // the call fails, and is not done
  short_write,  // half is written
  full,         // from then on nothing more can be written or made, and the first write is a short one
};

struct FaultPlan {
  std::string folder;  // only calls on paths below it count
  uint64_t at = 0;     // counted from 1; 0: never
  Fault fault = Fault::none;
  int error = 0;             // of Fault::error
  bool writes_only = false;  // no other call counts
  bool no_exchange = false;  // as a file system that can't exchange two names
};

inline constexpr int kKilledStatus = 77;

// Not thread-safe: calls in the folder come from one thread. While there is a plan fsync does nothing, for the machine stays
// up.
void begin_faults(const FaultPlan& plan);
void end_faults();
// Since begin_faults.
bool fault_happened();
// "rename FROM TO" and so on, with paths from the plan's folder on, "." for itself.
const std::vector<std::string>& recorded_calls();

}  // namespace onebit::test
