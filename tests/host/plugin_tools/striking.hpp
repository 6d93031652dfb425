// SPDX-License-Identifier: Apache-2.0
// Runs `onebit plugins probe` or `verify` on the plugin that does something terrible at a place of the test's choice.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "support/running.hpp"
#include "support/scratch_folder.hpp"

namespace onebit::test {

inline std::string bad_plugin(const std::string& name) {
  return std::filesystem::canonical(ONEBIT_BAD_PLUGINS "/" + name + ".so").string();
}

// Sanitizers would answer for the signals that a plugin dies of.
inline std::string with_plain_signals() {
  std::string text;
  for (const char* name : {"ASAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS"}) {
    const char* const now = std::getenv(name);
    text += std::string(name) + "='" + (now == nullptr ? "" : std::string(now) + ":") +
            "handle_segv=0:handle_abort=0:handle_sigbus=0:detect_leaks=0' ";
  }
  return text;
}

// arguments: "probe --json"; strike: "entry segv". Where the plugin's process started another, `started` is to hold its number.
inline Outcome run_striking(const std::string& arguments, const std::string& strike,
                            const std::filesystem::path& started = "/dev/null") {
  return run_shell(with_plain_signals() + "ONEBIT_STRIKE='" + strike + "' ONEBIT_STRIKE_PID='" + started.string() + "' '" +
                   onebit_command() + "' plugins " + arguments + " '" + bad_plugin("striking") + "'");
}

// A zombie is gone: it waits for nobody but its parent.
inline bool lives(pid_t process) {
  std::ifstream file("/proc/" + std::to_string(process) + "/stat");
  std::string number, name, state;
  return file >> number >> name >> state && state != "Z";
}

}  // namespace onebit::test
