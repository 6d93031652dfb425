// SPDX-License-Identifier: Apache-2.0
// Plugin `distributed_lion`: a library with two components, an optimizer and the compressor that it was made for. Each is good
// with others, too: the optimizer with any compressor, `vote` under any optimizer whose messages are signs.
#include "onebit/plugin.hpp"

#include "optimizer.hpp"
#include "vote.hpp"

ONEBIT_PLUGIN("distributed_lion", "1.0.0", onebit::component<DistributedLion>("distributed_lion"),
              onebit::component<Vote>("vote"))
