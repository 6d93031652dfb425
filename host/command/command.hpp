// SPDX-License-Identifier: Apache-2.0
// What a subcommand of `onebit` shares with main. Each subcommand has one function, declared in a header of its own room. It
// adds itself to the app and, when it was chosen on the command line, leaves what to do in run.chosen; main calls that once
// everything is parsed and the logger has its level.
#pragma once

#include <spdlog/logger.h>

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace onebit::host {

struct Run {
  std::shared_ptr<spdlog::logger> logger;  // to stderr
  std::vector<std::string> arguments;      // the command line, without the command itself
  std::function<void()> chosen;            // throws onebit::Error: printed as one line, exit code 1
  int exit_code = 0;                       // main's, when chosen returns; it may set it
};

}  // namespace onebit::host
