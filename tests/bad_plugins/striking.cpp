// SPDX-License-Identifier: Apache-2.0
// An optimizer that is sound but for one place, where it does something terrible: $ONEBIT_STRIKE says where and what, such as
// "entry segv". What it starts it writes to $ONEBIT_STRIKE_PID.
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>

#include "onebit/plugin.hpp"

namespace {

// A process that goes on beside this one. away: in a group of its own.
void start_another(bool away) {
  const pid_t other = ::fork();
  if (other != 0) {
    std::ofstream(std::getenv("ONEBIT_STRIKE_PID")) << other;
    return;
  }
  if (away) ::setsid();
  for (;;) ::pause();
}

void write_much() {
  for (int line = 0; line < 20000; ++line) std::printf("{\"stage\": \"no word of the host's\"} %d\n", line);
  std::fflush(stdout);
  std::fprintf(stderr, "last words \xff\n");
}

void strike(const std::string& where) {
  const char* const variable = std::getenv("ONEBIT_STRIKE");
  const std::string given = variable == nullptr ? "" : variable;
  if (given.compare(0, where.size() + 1, where + " ") != 0) return;
  const std::string what = given.substr(where.size() + 1);
  if (what == "segv") ::raise(SIGSEGV);
  if (what == "abort") std::abort();
  if (what == "kill") ::raise(SIGKILL);
  if (what == "exit") std::exit(3);
  if (what == "exit_0") ::_exit(0);
  if (what == "throw") throw std::runtime_error("thrown on purpose");
  if (what == "throw_int") throw 3;
  if (what == "start") start_another(false);
  if (what == "start_away") start_another(true);
  if (what == "write") write_much();
  while (what == "hang") ::pause();
}

struct Static {
  Static() { strike("constructor"); }
  ~Static() { strike("destructor"); }
} of_the_library;

class Striking final : public onebit::Optimizer {
 public:
  static onebit::Slice<const onebit_schema> options() {
    static const onebit_schema schema[] = {onebit::real_option("lr", "0.1", 0, 1, "learning rate")};
    return {schema, std::size(schema)};
  }
  Striking(const onebit::Services&, const onebit::Options&) { strike("create"); }
  ~Striking() override { strike("destroy"); }
  void declare(onebit::Slice<const onebit::TensorInfo* const>, onebit::StateDeclarer&) override { strike("declare"); }
  void plan(const onebit::Step&, const onebit::Totals&, onebit::Plan& plan) override {
    plan.add_round(onebit::RoundKind::dense, onebit::Of::gradient);
  }
  void consume(const onebit::Step& step, int, const onebit::Tile& tile) const override {
    for (const onebit::Block& block : onebit::blocks(tile))
      for (int64_t i = 0; i < block.count; ++i)
        block.parameter[i] -= static_cast<float>(step.groups[block.group].learning_rate) * tile.mean[block.packed + i];
  }
};

}  // namespace

// Without the guard of ONEBIT_PLUGIN: what is thrown here gets out.
extern "C" ONEBIT_EXPORT const onebit_plugin* onebit_plugin_entry_v1(const onebit_host*, onebit_error*) {
  strike("entry");
  static const onebit::PluginTables tables("striking", "1.0", {onebit::component<Striking>("striking")});
  static onebit_plugin table = *tables.get();
  table.probe = [](onebit_error*) {
    strike("probe");
    return onebit_code{ONEBIT_OK};
  };
  table.shutdown = [] { strike("shutdown"); };
  return &table;
}
