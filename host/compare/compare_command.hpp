// SPDX-License-Identifier: Apache-2.0
// `onebit compare`.
#pragma once

#include "command/command.hpp"

namespace onebit::host {

void add_compare(CLI::App& app, Run& run);

}  // namespace onebit::host
