// SPDX-License-Identifier: Apache-2.0
// Ranks as processes of this machine that this one starts, for communicators that meet at a rendezvous and need no launcher.
#pragma once

#include <string>
#include <vector>

namespace onebit::host {

// Starts `ranks` processes of this command with the same arguments, each told its rank and where to meet by the variables that
// torchrun sets; waits until all have ended, and ends itself: with status 0 when all had it, else with that of the first that
// failed (128 + its number, where a signal ended it). SIGINT, SIGTERM and Ctrl-Z are handed on to all of them. When one has
// failed, the others have ten seconds to end by themselves, for they have heard of it; then they are told to stop, and at last
// killed. When this process is killed they are told to stop (SIGTERM). Throws Error(unavailable) where none can be started.
[[noreturn]] void become_launcher(int ranks, const std::vector<std::string>& arguments);

}  // namespace onebit::host
