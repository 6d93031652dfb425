// SPDX-License-Identifier: Apache-2.0
// Ranks that meet over TCP on this machine, and what a rendezvous throws.
#pragma once

#include <chrono>
#include <string>

#include "onebit/error.hpp"
#include "onebit/rendezvous.hpp"
#include "support/text.hpp"

namespace onebit::test {

inline LaunchedRank rank_of(int rank, int size, uint16_t port = 0) {
  LaunchedRank self;
  self.rank = rank;
  self.size = size;
  self.host = "127.0.0.1";
  self.port = port;
  return self;
}

// A rank 0 that does not wait for those that will not come.
struct Hasty : TcpRendezvous {
  explicit Hasty(const LaunchedRank& self) : TcpRendezvous(self, std::chrono::seconds(20), std::chrono::seconds(0)) {}
};

// What f throws; OK when it throws nothing.
struct Thrown {
  int code;
  std::string text;
};
template <class F>
Thrown error_of(F&& f) {
  try {
    f();
    return {ONEBIT_OK, ""};
  } catch (const Error& e) {
    return {static_cast<int>(e.code()), e.what()};
  }
}

inline std::string key_of(int rank) { return "rank." + std::to_string(rank); }

}  // namespace onebit::test
