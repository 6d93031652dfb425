// SPDX-License-Identifier: Apache-2.0
// Placing ranks.
#include "launch/placement.hpp"

#include <fmt/format.h>

#include <cstdio>

#include "launch/launcher.hpp"
#include "launch/mpirun.hpp"
#include "launch/own_processes.hpp"
#include "onebit/error.hpp"

namespace onebit::host {
namespace {

[[noreturn]] void refuse(const std::string& text) { throw Error(Code::invalid_argument, text); }

void check_count(const RanksAsked& asked, int most) {
  if (asked.count < 1 || asked.count > most)
    refuse(fmt::format("{} {}: expected a number of ranks from 1 to {}", asked.by, asked.count, most));
}

// Whatever a rendezvous could tell them of others.
bool is_of_threads(const Selection& communicator) {
  return (communicator.component->capabilities & ONEBIT_CAPABILITY_THREADS) != 0;
}

std::string several(const Launched& by) { return by.size > 0 ? std::to_string(by.size) : "several"; }

// What was to be placed, and where.
struct Wish {
  const std::string& communicator;
  const RanksAsked& asked;
  const std::vector<std::string>& arguments;
  const CommunicatorsThere& there;

  std::string ways_out(const Launched& by) const {
    return host::ways_out({by, communicator, by.size > 0 ? by.size : asked.count, arguments}, there);
  }
};

[[noreturn]] void refuse_copies(const Launched& by, const Wish& wish, bool threads) {
  const std::string copies = several(by) + " copies of this run would go on apart";
  if (threads)
    refuse(fmt::format("{} started {} processes, but the ranks of communicator '{}' are threads of one process: {}; {}", by.by,
                       several(by), wish.communicator, copies, wish.ways_out(by)));
  const std::string ranks = by.size > 0 ? "who is which rank is taken from " + by.said
                                        : "and each its RANK and WORLD_SIZE, for " + by.said + " does not say of how many";
  refuse(
      fmt::format("{0} started {1} processes, but communicator '{2}' does not know of them by itself: {3}; give all of them "
                  "the same MASTER_ADDR (rank 0's machine) and MASTER_PORT, to meet at ({4}); {5}",
                  by.by, several(by), wish.communicator, copies, ranks, wish.ways_out(by)));
}

void check_agrees(const RanksAsked& asked, const std::string& by, int size) {
  if (asked.typed && size != 0 && size != asked.count)
    refuse(fmt::format("--ranks {}, but {} started {}; leave --ranks out: the launcher's number is the one that counts",
                       asked.count, by, size));
}

// A launcher that started one process: nothing tells whether for this run, or long ago for the shell that started it.
void tell_alone(const RanksAsked& asked, const char* of_what) {
  const auto by = launched();
  if (!by || by->size != 1 || asked.count == 1) return;
  std::fprintf(stderr, "onebit: %s started this process alone (%s), so %s %lld counts: ranks are %s; for one rank, --ranks 1\n",
               by->by.c_str(), by->said.c_str(), asked.by.c_str(), static_cast<long long>(asked.count), of_what);
}

// Where nobody has started more than this process.
Ranks threads(const Wish& wish, bool always) {
  check_launchers();
  if (const auto by = launched(); by && by->of_many()) refuse_copies(*by, wish, always);
  check_count(wish.asked, kMostThreads);
  if (!always) tell_alone(wish.asked, "threads of it");
  return Ranks::threads(static_cast<int>(wish.asked.count));
}

// Ranks that meet at a rendezvous, where nobody has started more than this process.
Ranks own_processes(const Wish& wish) {
  check_launchers();
  if (const auto by = launched(); by && by->of_many()) refuse_copies(*by, wish, false);
  check_count(wish.asked, kMostOwnProcesses);
  if (wish.asked.count == 1) return Ranks::threads(1);
  tell_alone(wish.asked, "processes that it starts");
  become_launcher(static_cast<int>(wish.asked.count), wish.arguments);
}

// Ranks that meet at a rendezvous: the processes that a launcher started; else processes that this one starts, or, as they need
// no more to have a GPU each, threads of it.
Ranks meeting(const Wish& wish, bool on_device) {
  const std::optional<LaunchedRank> self = launched_rank_from_environment();
  if (!self || self->size == 1) return on_device ? threads(wish, false) : own_processes(wish);
  check_launchers();
  check_count({self->size, "WORLD_SIZE", false}, kMostProcesses);
  check_agrees(wish.asked, launched()->mpi ? launched()->by : "a launcher such as torchrun (WORLD_SIZE)", self->size);
  return Ranks::process(*self);
}

// Ranks that find each other through MPI. Those of torchrun don't, unless mpirun or its like has started the same.
Ranks mpi_processes(const Wish& wish) {
  check_count(wish.asked, kMostProcesses);
  check_launchers();
  const auto by = launched(), self = launched_by_mpi();
  const bool same = by && self && by->rank == self->rank && by->size == self->size;
  if (by && by->of_many() && !by->mpi && !same)
    refuse(fmt::format("{} started {} processes ({}), but the ranks of communicator '{}' are processes that mpirun starts; {}",
                       by->by, several(*by), by->said, wish.communicator, wish.ways_out(*by)));
  if (self && self->size != 1) {
    check_agrees(wish.asked, self->by, self->size);
    return self->size > 0 ? Ranks::process(self->size) : Ranks::process_of_unknown(wish.asked.count, self->said);
  }
  if (wish.asked.count == 1) return Ranks::process(1);
  tell_alone(wish.asked, "processes that mpirun starts");
  become_mpirun(static_cast<int>(wish.asked.count), wish.arguments);
}

}  // namespace

Ranks place_ranks(const Selection& communicator, const RanksAsked& asked, const std::vector<std::string>& arguments,
                  const CommunicatorsThere& there) {
  const Wish wish = {communicator.component->name, asked, arguments, there};
  if ((communicator.component->capabilities & ONEBIT_CAPABILITY_PROCESSES) != 0) return mpi_processes(wish);
  if (is_of_threads(communicator)) return threads(wish, true);
  return meeting(wish, communicator.component->device != ONEBIT_DEVICE_CPU);
}

ModelDevice device_of(std::string_view device, size_t place) {
  if (device != device_name(ONEBIT_DEVICE_CUDA)) return {};
  const auto self = launched();
  return {ONEBIT_DEVICE_CUDA, static_cast<int>(place) + (self ? self->local : 0)};
}

}  // namespace onebit::host
