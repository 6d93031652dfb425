// SPDX-License-Identifier: Apache-2.0
// How the ranks of a communicator find each other: rank 0 listens and says where, the others knock.
#pragma once

#include "engine.hpp"
#include "onebit/communicator.hpp"

namespace onebit::nccl {

// Through the host's rendezvous. Throws Code::timeout where rank 0 does not come.
Connection meet(const Rendezvous& rendezvous, const std::string& address, int64_t timeout_ns);

// Through a communicator whose ranks have all called it: those of one color become a group, in the order of their keys, and of
// their ranks where keys are equal. A negative color gets a size of 0.
Connection divide(Engine& engine, int color, int key, const std::string& address, int64_t timeout_ns);

}  // namespace onebit::nccl
