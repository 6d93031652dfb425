// SPDX-License-Identifier: Apache-2.0
// What an operation is called in errors, and how they end.
#pragma once

#include <cstdint>
#include <string>

#include "message.hpp"
#include "onebit/collectives/collective_signature.hpp"
#include "onebit/collectives/limits.hpp"

namespace onebit::nccl {

// A communicator's first operations are those of its making: the ranks meet, and say that they are connected.
constexpr uint64_t kCreateOperations = 2;

// "all_gather (operation 7)"
inline std::string title(Collective kind, uint64_t sequence) {
  if (sequence <= kCreateOperations) return "create";
  return std::string(name_of(kind)) + " (operation " + std::to_string(sequence - kCreateOperations) + ')';
}

// What to do about a limit that was reached.
inline const char* advice(Limit limit) {
  return limit == Limit::stall ? raise_stall : limit == Limit::meeting ? raise_timeout : "";
}

}  // namespace onebit::nccl
