// SPDX-License-Identifier: Apache-2.0
// What a child process that tries a plugin tells its parent: JSON objects, one a line, through a pipe that the plugin does not
// know of. {"stage": ...} says what begins, so that the parent knows in what a child died that tells no more.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "onebit/registry.hpp"

namespace onebit::host {

class Report {
 public:
  // descriptor: of the pipe. From here on this process ends with its parent, leaves no core file, and its own children do not
  // inherit the pipe.
  explicit Report(int descriptor);

  // doing: what begins, a noun in such words as "its entry": "crashed while its entry ran", "did not return from its entry".
  void stage(const std::string& doing);
  void stage(LoadStage stage);
  // What follows is no more than the end of the process.
  void end();
  void tell(const nlohmann::ordered_json& message) const;

  // Runs f, with the plugin's code in it, past which nothing is thrown. Answers why it failed: "" where it did not.
  template <class F>
  std::string failure_of(F&& f) const {
    try {
      f();
      return "";
    } catch (const Error& e) {
      return e.what();
    } catch (const std::exception& e) {
      return crossed() + ": " + e.what();
    } catch (...) {
      return crossed();
    }
  }

 private:
  std::string crossed() const { return stage_ + " let an exception out, which no plugin may"; }

  int descriptor_;
  std::string stage_;
};

}  // namespace onebit::host
