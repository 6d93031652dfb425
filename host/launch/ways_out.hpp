// SPDX-License-Identifier: Apache-2.0
// Where a launcher and a communicator do not fit: what does fit, here and now, in words that can be typed.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "launch/launcher.hpp"
#include "onebit/configuration.hpp"

namespace onebit::host {

// Names of the communicators that can be used on this machine for a device, by how their ranks come about.
struct CommunicatorsThere {
  std::vector<std::string> threads;    // of one process
  std::vector<std::string> processes;  // that mpirun starts
  std::vector<std::string> meeting;    // either; as processes they meet at MASTER_ADDR, whoever started them
};
CommunicatorsThere communicators_there(const Registry& registry, int64_t device);

struct Misfit {
  Launched by;
  std::string communicator;            // the one that was selected
  int64_t ranks;                       // that the run would have
  std::vector<std::string> arguments;  // of this command
};

// What may follow an error after "; ": another communicator under the same launcher, or commands without it.
std::string ways_out(const Misfit& misfit, const CommunicatorsThere& there);

// A command's words without these options and their values.
std::vector<std::string> without_options(const std::vector<std::string>& arguments,
                                         std::initializer_list<std::string_view> options);

// Words as a shell takes them.
std::string line_of(const std::vector<std::string>& words);

}  // namespace onebit::host
