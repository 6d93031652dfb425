// SPDX-License-Identifier: Apache-2.0
// `onebit convert`.
#pragma once

#include "command/command.hpp"

namespace onebit::host {

void add_convert(CLI::App& app, Run& run);

}  // namespace onebit::host
