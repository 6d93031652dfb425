// SPDX-License-Identifier: Apache-2.0
// `onebit check`.
#pragma once

#include "command/command.hpp"

namespace onebit::host {

void add_check(CLI::App& app, Run& run);

}  // namespace onebit::host
