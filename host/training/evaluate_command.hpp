// SPDX-License-Identifier: Apache-2.0
// `onebit evaluate`.
#pragma once

#include "command/command.hpp"

namespace onebit::host {

void add_evaluate(CLI::App& app, Run& run);

}  // namespace onebit::host
