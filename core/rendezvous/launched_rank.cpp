// SPDX-License-Identifier: Apache-2.0
// A rank as its launcher tells it, and where it meets the others.
#include <algorithm>

#include "onebit/rendezvous.hpp"
#include "rendezvous/address.hpp"
#include "rendezvous/launchers.hpp"
#include "rendezvous/variables.hpp"

namespace onebit {
namespace {

constexpr int kMostPorts = 65535;
constexpr int kNeighbours = 8;

bool tells_port() { return variable::is_set("ONEBIT_PORT") || variable::is_set("MASTER_PORT"); }

// RANK and WORLD_SIZE, whoever has set them. Another launcher that started many where these are not set, or tell of one alone:
// if somebody has said where to meet.
const Witness* teller(const std::vector<Witness>& all) {
  const Witness* const best = strongest(all);
  if (best != nullptr && best->size > 1 && variable::is_set("MASTER_ADDR") && tells_port()) return best;
  return variable::is_set("RANK") ? &all.front() : nullptr;
}

// Where nobody told them, ranks count on as if all were on one machine: those of each still differ, and devices are dealt out
// in turn.
void read_local(const std::vector<Witness>& all, LaunchedRank& self) {
  const LocalPlace place = local_place(all, self.rank, self.size);
  if (place.size > 0 && place.rank < 0)
    variable::require("LOCAL_RANK", variable::is_set("LOCAL_WORLD_SIZE") ? "LOCAL_WORLD_SIZE" : "LOCAL_SIZE",
                      "this rank's number among those of its machine");
  self.local_rank = place.rank < 0 ? self.rank : place.rank;
  self.local_size = place.size == 0 ? self.size : place.size;
}

// torchrun takes any free port, and the sockets of its own workers may have those beside it: one neighbour would not be enough.
void read_port(LaunchedRank& self) {
  const bool chosen = variable::is_set("ONEBIT_PORT");
  self.port = static_cast<uint16_t>(variable::number(chosen ? "ONEBIT_PORT" : "MASTER_PORT", 1, kMostPorts));
  if (chosen || variable::text("TORCHELASTIC_USE_AGENT_STORE") != "True") return;
  const int after = kMostPorts - self.port;
  if (after == 0)
    variable::refuse(
        "MASTER_PORT is 65535, where torchrun's own store is, and there is no port after it: set ONEBIT_PORT to one that is "
        "free on rank 0's machine, the same on all ranks");
  self.job += ':' + std::to_string(self.port);  // no other job has that store, but some may be named alike and have ours nearby
  ++self.port;
  self.ports = static_cast<uint16_t>(std::min(after, kNeighbours));
}

void read_place(LaunchedRank& self) {
  if (self.size == 1) return;  // it meets nobody: any port will do
  variable::require("MASTER_ADDR", "WORLD_SIZE", "the name or address of rank 0's machine");
  if (!tells_port()) variable::require("MASTER_PORT", "MASTER_ADDR", "a port that is free on rank 0's machine");
  self.host = host_in(variable::text("MASTER_ADDR"), "MASTER_ADDR");
  read_port(self);
}

}  // namespace

std::optional<LaunchedRank> launched_rank_from_environment() {
  const std::vector<Witness> all = witnesses();
  require_agreement(all);
  const Witness* const told = teller(all);
  if (told == nullptr) return std::nullopt;
  LaunchedRank self;
  self.rank = told->rank;
  self.size = told->size;
  // Without the restart count, which each machine counts by itself (findings/torchrun-counts-restarts-by-machine.sh).
  self.job = variable::text("TORCHELASTIC_RUN_ID");
  read_local(all, self);
  read_place(self);
  return self;
}

}  // namespace onebit
