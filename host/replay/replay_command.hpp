// SPDX-License-Identifier: Apache-2.0
// `onebit replay`.
#pragma once

#include "command/command.hpp"

namespace onebit::host {

void add_replay(CLI::App& app, Run& run);

}  // namespace onebit::host
