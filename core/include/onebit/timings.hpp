// SPDX-License-Identifier: Apache-2.0
// Where the time of a session goes.
#pragma once

namespace onebit {

// Seconds that this rank spent in its steps so far, by what it did. Waiting is for other ranks and for the network. On CUDA
// these are the host's, which hands work to the device and goes on: what the device takes shows as waiting, when a step is
// settled. In a step by begin() a thread of the session's own does all this while the caller's computes gradients: these
// seconds are then not part of what the caller waits, which is the metric session.step_seconds.
struct Timings {
  double scan = 0;     // the pass over the gradients before the agreement; of those sent before it, part of `send`
  double send = 0;     // producing and encoding messages
  double serve = 0;    // the mean of the own chunk
  double receive = 0;  // decoding and consuming means; the second pass
  double wait = 0;
  double checks = 0;  // which tensors have a gradient, on this rank and on any; whether ranks do the same
};

}  // namespace onebit
