// SPDX-License-Identifier: Apache-2.0
// Errors on both sides of the plugin boundary: an exception inside, a code and a caller-owned message across (abi.h).
#pragma once

#include <cstdio>
#include <exception>
#include <new>
#include <stdexcept>
#include <string>
#include <string_view>

#include "onebit/abi.h"

namespace onebit {

enum class Code : onebit_code {
  invalid_argument = ONEBIT_INVALID_ARGUMENT,
  unsupported = ONEBIT_UNSUPPORTED,
  unavailable = ONEBIT_UNAVAILABLE,
  out_of_memory = ONEBIT_OUT_OF_MEMORY,
  timeout = ONEBIT_TIMEOUT,
  aborted = ONEBIT_ABORTED,
  peer_failed = ONEBIT_PEER_FAILED,
  device_error = ONEBIT_DEVICE_ERROR,
  state_mismatch = ONEBIT_STATE_MISMATCH,
  internal = ONEBIT_INTERNAL,
};

// Of a code that a later version made, too.
inline Code code_of(onebit_code code) {
  return code >= ONEBIT_INVALID_ARGUMENT && code <= ONEBIT_INTERNAL ? static_cast<Code>(code) : Code::internal;
}

// What went wrong, in words for the person who can mend it. native: errno, MPI or NCCL code; 0 if none.
class Error : public std::runtime_error {
 public:
  Error(Code code, const std::string& message, int native = 0) : std::runtime_error(message), code_(code), native_(native) {}
  Code code() const noexcept { return code_; }
  int native() const noexcept { return native_; }

 private:
  Code code_;
  int native_;
};

inline std::string_view view(onebit_str text) {
  return text.data ? std::string_view(text.data, text.size) : std::string_view();
}
inline onebit_str str(std::string_view text) { return {text.data(), text.size()}; }

namespace detail {

inline onebit_code fill(onebit_error* err, onebit_code code, const char* message, int native = 0) noexcept {
  if (err != nullptr) {
    if (ONEBIT_HAS(err, onebit_error, native)) err->native = native;
    if (ONEBIT_HAS(err, onebit_error, message)) std::snprintf(err->message, sizeof err->message, "%s", message);
  }
  return code;
}

// Runs f; whatever it throws becomes a code and a message. Every slot of every table is such a call.
template <class F>
onebit_code guard(onebit_error* err, F&& f) noexcept {
  try {
    f();
    return ONEBIT_OK;
  } catch (const Error& e) {
    return fill(err, static_cast<onebit_code>(e.code()), e.what(), e.native());
  } catch (const std::bad_alloc&) {
    return fill(err, ONEBIT_OUT_OF_MEMORY, "out of memory");
  } catch (const std::exception& e) {
    return fill(err, ONEBIT_INTERNAL, e.what());
  } catch (...) {
    return fill(err, ONEBIT_INTERNAL, "an exception that is not a std::exception");
  }
}

}  // namespace detail
}  // namespace onebit
