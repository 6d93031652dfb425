// SPDX-License-Identifier: Apache-2.0
// What every rendezvous has in common: limits of time, and the words of its errors.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstring>
#include <string>
#include <string_view>

#include "onebit/error.hpp"
#include "onebit/number_text.hpp"

namespace onebit {

constexpr int64_t kLongestTimeout = 1'000'000'000'000'000'000;  // ns, 30 years: the clock does not overflow

inline std::string quoted_key(std::string_view key) { return "rendezvous key '" + std::string(key) + '\''; }

inline std::string timeout_text(std::string_view key, int64_t limit_ns) {
  return "no rank has put " + quoted_key(key) + " within " + fixed_text(static_cast<double>(limit_ns) * 1e-9, 6) + " s";
}

inline void require_value(std::string_view key, const void* value, size_t size) {
  if (value == nullptr && size > 0) throw Error(Code::invalid_argument, quoted_key(key) + " was put with a value that is NULL");
}

// *size is told also where the value does not fit.
inline void hand_over(std::string_view key, std::string_view found, void* value, size_t capacity, size_t* size) {
  *size = found.size();
  if (found.size() > capacity)
    throw Error(Code::invalid_argument, "the value of " + quoted_key(key) + " has " + std::to_string(found.size()) +
                                            " bytes, more than the " + std::to_string(capacity) + " that were asked for");
  if (!found.empty()) std::memcpy(value, found.data(), found.size());
}

}  // namespace onebit
