// SPDX-License-Identifier: Apache-2.0
// `onebit train`.
#pragma once

#include "command/command.hpp"

namespace onebit::host {

void add_train(CLI::App& app, Run& run);

}  // namespace onebit::host
