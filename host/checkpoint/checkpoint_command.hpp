// SPDX-License-Identifier: Apache-2.0
// `onebit checkpoint`.
#pragma once

#include "command/command.hpp"

namespace onebit::host {

void add_checkpoint(CLI::App& app, Run& run);

}  // namespace onebit::host
