// SPDX-License-Identifier: Apache-2.0
// What is behind the handles of onebit/onebit.h, and what every call of it does first: its arguments are looked at, its errors
// become codes.
#pragma once

#include <sys/types.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "c_api/log_queue.hpp"
#include "onebit/configuration.hpp"
#include "onebit/error.hpp"
#include "onebit/manifest.hpp"
#include "onebit/onebit.h"
#include "onebit/registry.hpp"
#include "onebit/session.hpp"

struct onebit_manifest {
  onebit::Manifest manifest;
};

struct onebit_registry {
  std::shared_ptr<onebit::c_api::LogQueue> log;
  std::shared_ptr<onebit::Registry> registry;
};

struct onebit_configuration {
  std::shared_ptr<onebit::Registry> registry;  // which a Configuration refers to
  onebit::Configuration configuration;
};

struct onebit_session {
  std::shared_ptr<onebit::Registry> registry;  // whose metrics a report has
  onebit::Session session;
  const size_t parameters;
  onebit::Communicator& communicator;  // which any thread may abort
  const pid_t process;
  std::mutex calls;  // held by a call
  std::optional<onebit::Session::AtAnchor> anchor;
  onebit::StepReport last;
  onebit::LoadReport loaded;
};

namespace onebit::c_api {

// Keeps the whole message for onebit_last_error().
onebit_code failed(onebit_error* err, Code code, const char* message, int native = 0) noexcept;

// Runs f; whatever it throws becomes a code and a message.
template <class F>
onebit_code call(onebit_error* err, F&& f) noexcept {
  try {
    f();
    return ONEBIT_OK;
  } catch (const Error& e) {
    return failed(err, e.code(), e.what(), e.native());
  } catch (const std::bad_alloc&) {
    return failed(err, Code::out_of_memory, "out of memory");
  } catch (const std::exception& e) {
    return failed(err, Code::internal, e.what());
  } catch (...) {
    return failed(err, Code::internal, "an exception that is not a std::exception");
  }
}

[[noreturn]] void refuse(const std::string& text);  // throws Error(invalid_argument)

// An argument that is no NULL. name: as in onebit.h.
template <class T>
T& required(T* argument, const char* name) {
  if (argument == nullptr) refuse("the argument '" + std::string(name) + "' is NULL");
  return *argument;
}
// Where a result goes, which is NULL until it is there.
template <class T>
T*& result(T** out, const char* name = "out") {
  required(out, name) = nullptr;
  return *out;
}
// The size of a struct in version 1.0, by its last field then.
#define ONEBIT_FIRST_SIZE(type, last) (offsetof(type, last) + sizeof(type::last))
// A struct that the caller made, of version 1.0 or later. size: its first one.
template <class T>
T& required_struct(T* argument, const char* name, size_t size) {
  required(argument, name);
  if (argument->struct_size < size)
    refuse("'" + std::string(name) + "' has struct_size " + std::to_string(argument->struct_size) + "; expected " +
           std::to_string(size) + ", its sizeof");
  return *argument;
}
// As much of a result as the caller's struct has room for.
template <class T>
void give(const T& whole, T& out) {
  const uint64_t size = out.struct_size;
  std::memcpy(&out, &whole, std::min<uint64_t>(size, sizeof whole));
  out.struct_size = size;
}
std::string text(const char* argument, const char* name);
std::vector<std::string> texts(const char* const* argument, size_t count, const char* name);

// A copy that onebit_free() frees.
char* given(const std::string& text);

// One call of a session: a second one is refused.
class SessionCall {
 public:
  explicit SessionCall(onebit_session* of);
  onebit_session& handle() const { return handle_; }
  Session* operator->() const { return &handle_.session; }

 private:
  onebit_session& handle_;
  std::unique_lock<std::mutex> lock_;
};

std::vector<Parameter> parameters_of(const onebit_parameter* const* parameters, size_t count);
// As told to the caller, where it asked: of a struct that was looked at before the step, which it must not fail.
void check_report(const onebit_step_report* out);
void tell(const StepReport& report, onebit_step_report* out);

}  // namespace onebit::c_api
