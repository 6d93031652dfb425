// SPDX-License-Identifier: Apache-2.0
// The command `onebit`. Exit codes: 0 done, 1 an error (told in one message on stderr), 2 wrong usage, 130 and 143 ended by
// SIGINT and SIGTERM.
#include <fcntl.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <iostream>
#include <sstream>
#include <string>

#include "check/check_command.hpp"
#include "checkpoint/checkpoint_command.hpp"
#include "command/command.hpp"
#include "command/output.hpp"
#include "compare/compare_command.hpp"
#include "convert/convert_command.hpp"
#include "launch/launcher.hpp"
#include "plugin_tools/plugins_command.hpp"
#include "replay/replay_command.hpp"
#include "training/evaluate_command.hpp"
#include "training/train_command.hpp"

namespace onebit::host {
namespace {

struct Verbosity {
  std::string level = "warn";
  int more = 0;

  void add_to(CLI::App& app) {
    app.add_option("--log-level", level, "Write log messages of this level and above to stderr")
        ->check(CLI::IsMember({"trace", "debug", "info", "warn", "error", "off"}))
        ->capture_default_str();
    app.add_flag("-v,--verbose", more, "Write more log messages: -v is --log-level info, -vv is --log-level debug");
  }
  spdlog::level::level_enum chosen() const {
    if (more > 0) return more == 1 ? spdlog::level::info : spdlog::level::debug;
    return spdlog::level::from_str(level);
  }
};

// DeepSpeed's launcher, and torch.distributed.launch before torchrun, put it into the command line as well.
struct LocalRank {
  int value = -1;

  void add_to(CLI::App& app) {
    app.add_option("--local_rank,--local-rank", value,
                   "The rank among those of this machine, as some launchers give it; otherwise LOCAL_RANK is read")
        ->check(CLI::NonNegativeNumber);
  }
  void note() const {
    if (value >= 0) note_local_rank(value);
  }
};

// One that is closed would be the number of the next file that is opened, and what is printed would go into that. Now whoever
// writes there is told that it can't be done.
void hold_standard_descriptors() {
  for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    if (::fcntl(descriptor, F_GETFD) < 0)
      static_cast<void>(::open("/dev/null", descriptor == STDIN_FILENO ? O_WRONLY : O_RDONLY));
}

int run(int argc, char** argv) {
  CLI::App app(
      "onebit trains models over slow networks. The optimizer, the compressor and the communicator are plugins, chosen in a "
      "TOML file, the manifest.",
      "onebit");
  Run run{spdlog::stderr_color_mt("onebit"), {argv + std::min(argc, 1), argv + argc}, {}, 0};
  run.logger->set_pattern(speaker() + "%+");
  Verbosity verbosity;
  LocalRank local_rank;
  verbosity.add_to(app);
  local_rank.add_to(app);
  app.set_version_flag("-V,--version", "onebit " ONEBIT_VERSION);
  app.require_subcommand(1);
  app.fallthrough();
  add_train(app, run);
  add_evaluate(app, run);
  add_compare(app, run);
  add_replay(app, run);
  add_check(app, run);
  add_checkpoint(app, run);
  add_convert(app, run);
  add_plugins(app, run);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    std::ostringstream told;
    const int code = app.exit(e, told, std::cerr);
    print(told.str());
    return code == 0 ? 0 : 2;
  }
  run.logger->set_level(verbosity.chosen());
  local_rank.note();
  run.chosen();
  return run.exit_code;
}

}  // namespace
}  // namespace onebit::host

int main(int argc, char** argv) {
  onebit::host::hold_standard_descriptors();
  try {
    return onebit::host::run(argc, argv);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%sonebit: error: %s\n", onebit::host::speaker().c_str(), e.what());
    return 1;
  } catch (...) {
    std::fprintf(stderr, "%sonebit: error: something was thrown that is no std::exception\n", onebit::host::speaker().c_str());
    return 1;
  }
}
