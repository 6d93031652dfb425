// SPDX-License-Identifier: Apache-2.0
// Machines: which ranks share one, found out from the communicator when a session starts (exchange.topology = "hierarchical").
// Ranks form a grid: all ranks of one machine are a group, and so are the ranks that have the same place in their machines.
#pragma once

#include <cstdint>
#include <memory>

#include "exchange/layout.hpp"
#include "exchange/metered_communicator.hpp"

namespace onebit {

// A rank's place in the grid. Flat: every rank is a machine of its own.
struct Place {
  int machine = 0, machines = 1;
  int local = 0, locals = 1;
  bool alone() const { return machines == 1; }  // no network: nothing is worth compressing
};
// Without the grid's options, which are the caller's. Chunks are numbered so that those which the ranks of one place serve, one
// on each machine, are neighbours: together they are that place's shard of a bucket.
LayoutOptions laid_out_for(const Place& place);

class Machines {
 public:
  // Collective when hierarchical. Machines and places in them are numbered in the order of ranks. Throws
  // Error(invalid_argument), on all ranks, unless all machines have equally many.
  // host: the same ranks, for memory of the host.
  Machines(MeteredCommunicator& all, Communicator& host, bool hierarchical);

  const Place& place() const { return place_; }
  // What the rounds run over: between machines, or inside the only one.
  MeteredCommunicator& rounds() const { return between_ ? *between_ : place_.alone() && inside_ ? *inside_ : all_; }
  // The ranks of this machine, where a round begins and ends among them; NULL: there is no such part.
  MeteredCommunicator* inside() const { return between_ ? inside_.get() : nullptr; }
  // Bytes that this rank handed over for ranks of its own machine.
  uint64_t local_bytes() const { return inside_ ? inside_->bytes() : 0; }
  void close();

 private:
  MeteredCommunicator& all_;
  Place place_;
  std::unique_ptr<MeteredCommunicator> between_, inside_;
};

}  // namespace onebit
