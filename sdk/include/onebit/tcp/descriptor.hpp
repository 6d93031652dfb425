// SPDX-License-Identifier: Apache-2.0
// File descriptors, and what the system's calls answer.
#pragma once

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "onebit/error.hpp"

namespace onebit::tcp {

// A file descriptor, closed at its end; none where the number is negative.
class Descriptor {
 public:
  explicit Descriptor(int number = -1) : number_(number) {}
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  int number() const { return number_; }
  bool open() const { return number_ >= 0; }

 private:
  int number_;
};

// Throws Error(unavailable) with what errno means.
[[noreturn]] inline void fail(const std::string& what) {
  const int native = errno;
  throw Error(Code::unavailable, what + ": " + std::strerror(native), native);
}

// What a call of the system answered, unless that is an error.
inline int checked(int number, const char* call) {
  if (number < 0) fail(call);
  return number;
}

// poll(2). timeout_ns < 0: for ever. A signal ends it early.
inline void wait_for(std::vector<pollfd>& polled, int64_t timeout_ns) {
  const int64_t ms = timeout_ns < 0 ? -1 : std::min<int64_t>((timeout_ns + 999'999) / 1'000'000, INT_MAX);
  if (::poll(polled.data(), polled.size(), static_cast<int>(ms)) < 0 && errno != EINTR) fail("poll");
}

}  // namespace onebit::tcp
