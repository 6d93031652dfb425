// Ranks as threads of this process: what replay and train run on.
#pragma once

#include <functional>

namespace onebit::host {

// Runs f(rank) for ranks 0 to n - 1, each on a thread of its own, and returns when all have ended. When some threw, throws what
// went wrong first: of errors that merely tell of another rank's (aborted, peer failed, timed out), only if there are no
// others.
void run_ranks(int n, const std::function<void(int)>& f);

}  // namespace onebit::host
