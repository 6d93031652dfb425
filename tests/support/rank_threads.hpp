// SPDX-License-Identifier: Apache-2.0
// Ranks that are threads, and an all_gather that a case can post and wait for on its own: for the tests of communicators.
#pragma once

#include <doctest/doctest.h>

#include <exception>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "onebit/conformance/communicator.hpp"

namespace onebit::test {

// Runs f(rank) in a thread for each rank; answers what each threw, "" where none did.
inline std::vector<std::string> outcomes(int ranks, const std::function<void(int)>& f) {
  std::vector<std::string> texts(static_cast<size_t>(ranks));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank)
    threads.emplace_back([&, rank] {
      try {
        f(rank);
      } catch (const std::exception& e) {
        texts[static_cast<size_t>(rank)] = e.what();
      }
    });
  for (std::thread& thread : threads) thread.join();
  return texts;
}

inline void check_none(const std::vector<std::string>& texts) {
  for (const std::string& text : texts) CHECK(text == "");
}

// only: the one rank that brings bytes; -1: all do.
struct Gather {
  Gather(Communicator& self, int64_t bytes, int only = -1)
      : parts(self.size(), [&](int rank) { return only < 0 || rank == only ? bytes : 0; }),
        in(static_cast<size_t>(parts.size(self.rank())), static_cast<uint8_t>(self.rank() + 1)) {}
  Request* post(Communicator& self, int64_t timeout_ns = -1) {
    return self.all_gather(in.data(), parts.bytes.data(), parts.parts.data(), Call(0, timeout_ns));
  }
  void check() {
    for (size_t rank = 0; rank < parts.parts.size(); ++rank)
      for (int64_t i = 0; i < parts.parts[rank].bytes; ++i)
        conformance::require(parts.at(static_cast<int>(rank))[i] == rank + 1, "bytes are missing");
  }
  conformance::Parts parts;
  std::vector<uint8_t> in;
};

}  // namespace onebit::test
