// SPDX-License-Identifier: Apache-2.0
// The plugin `threads`: the communicator of ranks that are threads of one process.
#include "onebit/plugin.hpp"

#include "communicator.hpp"

ONEBIT_PLUGIN("threads", "1.0.0", onebit::component<onebit::threads::ThreadsCommunicator>("threads"))
