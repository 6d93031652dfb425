// SPDX-License-Identifier: Apache-2.0
// NCCL as it is found at run time. In one process all share one libnccl.so.2: torch's, ours, or whoever's came first.
#pragma once

#include <string>

#include "abi.hpp"

namespace onebit::nccl {

struct Library {
  Api api{};
  std::string file;  // that was bound
  int version = 0;   // as ncclGetVersion tells it
};

// Binds `file`; "": what the process has loaded already, else what the loader finds. Once for each name: later calls answer the
// same. Throws Error(unavailable) that says what was looked for, found and missing. Thread-safe.
const Library& library(const std::string& file);

// "2.8.3", of 2803 or 20803
std::string version_text(int version);

}  // namespace onebit::nccl
