// SPDX-License-Identifier: Apache-2.0
// Where the ranks of a run will live: decided from the communicator that was selected, the ranks that were asked for, and who
// started this process.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "launch/ranks.hpp"
#include "launch/ways_out.hpp"
#include "onebit/configuration.hpp"

namespace onebit::host {

struct RanksAsked {
  int64_t count = 0;
  std::string by;      // "--ranks", "train.ranks", ...: what stands before the number where it can't be
  bool typed = false;  // on the command line, so it must be met; else it is what a configuration or a trace has
};

// Throws Error where these do not fit, with commands that do (of the communicators that are there). A launcher that started
// this process alone does not count, but what was asked for; that is said on stderr where it may surprise. Does not return
// where ranks are processes and nobody has started them: this process then becomes mpirun, or itself starts them and waits for
// them, with these arguments.
Ranks place_ranks(const Selection& communicator, const RanksAsked& asked, const std::vector<std::string>& arguments,
                  const CommunicatorsThere& there = {});

// Where a model's tensors live. number: of a CUDA device; they are dealt out in turn, so that the first number that no device
// has is device 0 again.
struct ModelDevice {
  int64_t type = ONEBIT_DEVICE_CPU;
  int number = 0;
};

// Where the model of a rank lives that runs here: each rank of a machine has a device of its own, as far as there are so many.
// device: session.device; place: as in Ranks.
ModelDevice device_of(std::string_view device, size_t place);

}  // namespace onebit::host
