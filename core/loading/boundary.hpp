// SPDX-License-Identifier: Apache-2.0
// The host's side of a call into a plugin: a code and a message come back, an onebit::Error goes up, naming the component.
#pragma once

#include <unistd.h>

#include <memory>
#include <string>
#include <utility>

#include "onebit/abi.h"
#include "onebit/error.hpp"
#include "onebit/manifest.hpp"

namespace onebit {

std::string code_name(onebit_code code);  // "INVALID_ARGUMENT"

// Where a call leaves its message. Only the head is set: zeroing 496 bytes would cost more than the call.
struct CallError : onebit_error {
  CallError() {
    struct_size = sizeof(onebit_error);
    native = 0;
    message[0] = '\0';
  }
  // The message, or words for its absence; whole UTF-8 letters, terminated whatever the plugin did.
  std::string reason();
};

// A component as its adapter holds it: its name for errors, its options, and its plugin kept from shutting down.
class Boundary {
 public:
  Boundary(std::string who, std::shared_ptr<const onebit_plugin> plugin, ResolvedTable options = {})
      : who_(std::move(who)), plugin_(std::move(plugin)), options_(std::move(options)) {}

  const std::string& who() const { return who_; }

  template <class F>
  void call(F&& f) const {
    CallError err;
    if (const onebit_code code = contained([&] { return f(&err); }); code != ONEBIT_OK) [[unlikely]]
      fail(code, err);
  }
  // A call that may refuse the options, such as create: the error begins with where the one was written that it names. create:
  // an invalid argument that it does not name is told where the table begins.
  template <class F>
  void configure(F&& f, bool create = false) const {
    try {
      call(f);
    } catch (const Error& e) {
      refuse_options(e, create);
    }
  }
  // A plugin lets no exception out; one that does all the same has failed. Costs nothing where none comes.
  template <class F>
  auto contained(F&& f) const {
    try {
      return f();
    } catch (...) {
      escaped();
    }
  }
  [[noreturn]] void fail(onebit_code code, CallError& err) const;
  // For what the plugin answered with OK and yet is not acceptable. unsupported: it speaks of what this host does not know.
  [[noreturn]] void refuse(const std::string& reason, Code code = Code::internal) const;

 private:
  [[noreturn]] void escaped() const;
  [[noreturn]] void refuse_options(const Error& e, bool create) const;

  std::string who_;
  std::shared_ptr<const onebit_plugin> plugin_;
  ResolvedTable options_;
};

// An object of a plugin's. What its destroy lets out is lost: there is nobody left to tell. In a fork of the process that made
// it the object is left alone: the threads that it would wait for are not there.
template <class Object>
struct Destroyer {
  void (*destroy)(Object*);
  pid_t process = ::getpid();
  void operator()(Object* object) const noexcept {
    if (::getpid() != process) return;
    try {
      destroy(object);
    } catch (...) {
    }
  }
};
template <class Object>
using Owned = std::unique_ptr<Object, Destroyer<Object>>;

}  // namespace onebit
