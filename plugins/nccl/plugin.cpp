// SPDX-License-Identifier: Apache-2.0
// The plugin `nccl`: the communicator of ranks that have a GPU each.
#include "onebit/plugin.hpp"

#include "communicator.hpp"

ONEBIT_PLUGIN("nccl", "1.0.0", onebit::component<onebit::nccl::NcclCommunicator>("nccl", ONEBIT_DEVICE_CUDA))
