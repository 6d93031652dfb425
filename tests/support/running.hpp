// SPDX-License-Identifier: Apache-2.0
// Runs the command `onebit` as people do, and catches what it says.
#pragma once

#include <sys/wait.h>

#include <cstdio>
#include <filesystem>
#include <stdexcept>
#include <string>

namespace onebit::test {

struct Outcome {
  int status = -1;   // exit code; 128 + signal when one ended it
  std::string text;  // stdout and stderr
};

// For the shell.
inline std::string in_quotes(const std::filesystem::path& path) { return "'" + path.string() + "'"; }

// command: for the shell.
inline Outcome run_shell(const std::string& command) {
  FILE* pipe = ::popen(("exec 2>&1\n" + command).c_str(), "r");
  if (pipe == nullptr) throw std::runtime_error("no shell");
  Outcome outcome;
  char piece[4096];
  for (size_t got = 0; (got = std::fread(piece, 1, sizeof piece, pipe)) > 0;) outcome.text.append(piece, got);
  const int status = ::pclose(pipe);
  outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return outcome;
}

inline std::string onebit_command() { return ONEBIT_BINARY_DIR "/bin/onebit"; }
inline Outcome run_onebit(const std::string& arguments) { return run_shell(onebit_command() + " " + arguments); }

}  // namespace onebit::test

#define CHECK_SAYS(outcome, part) CHECK_MESSAGE((outcome).text.find(part) != std::string::npos, (outcome).text)
