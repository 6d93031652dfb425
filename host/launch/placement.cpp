// SPDX-License-Identifier: Apache-2.0
// Placing ranks.
#include "launch/placement.hpp"

#include <fmt/format.h>

#include "launch/launcher.hpp"
#include "launch/mpirun.hpp"
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

[[noreturn]] void refuse_copies(const Launched& by, const Selection& communicator) {
  const std::string& name = communicator.component->name;
  const char* way_out =
      by.mpi ? "add --set communicator.plugin=mpi" : "choose a communicator that joins processes, such as nccl";
  if (is_of_threads(communicator))
    refuse(
        fmt::format("{0} started {1} processes, but the ranks of communicator '{2}' are threads of one process: {1} copies "
                    "of this run would go on apart; {3}, or start one process",
                    by.by, by.size, name, way_out));
  refuse(
      fmt::format("{0} started {1} processes, but communicator '{2}' does not know of them by itself: {1} copies of this "
                  "run would go on apart; set RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT, LOCAL_RANK and LOCAL_WORLD_SIZE "
                  "for each, as torchrun does, or start one process",
                  by.by, by.size, name));
}

// Where nobody has started more than this process.
Ranks threads(const Selection& communicator, const RanksAsked& asked) {
  launched_rank_from_environment();  // throws what makes no sense there, rather than to pass it over
  for (const auto& by : {launched(), launched_by_mpi()})
    if (by && by->size > 1) refuse_copies(*by, communicator);
  check_count(asked, kMostThreads);
  return Ranks::threads(static_cast<int>(asked.count));
}

void check_agrees(const RanksAsked& asked, const std::string& by, int size) {
  if (asked.typed && size != 0 && size != asked.count)
    refuse(fmt::format("--ranks {}, but {} started {}; leave --ranks out: the launcher's number is the one that counts",
                       asked.count, by, size));
}

// Ranks that meet at a rendezvous: threads here, or the processes that a launcher started.
Ranks meeting(const Selection& communicator, const RanksAsked& asked) {
  const std::optional<LaunchedRank> self = launched_rank_from_environment();
  if (!self) return threads(communicator, asked);
  check_count({self->size, "WORLD_SIZE", false}, kMostProcesses);
  check_agrees(asked, "a launcher such as torchrun (WORLD_SIZE)", self->size);
  return Ranks::process(*self);
}

// Ranks that find each other through MPI.
Ranks mpi_processes(const Selection& communicator, const RanksAsked& asked, const std::vector<std::string>& arguments) {
  check_count(asked, kMostProcesses);
  const auto count = static_cast<int>(asked.count);
  if (const auto self = launched_by_mpi()) {
    check_agrees(asked, self->by, self->size);
    return Ranks::process(self->size);
  }
  if (const auto self = launched(); self && self->size > 1)
    refuse(
        fmt::format("{0} started {1} processes (RANK, WORLD_SIZE), but the ranks of communicator '{2}' are processes that "
                    "mpirun starts; start it with mpirun -n {1}, or choose a communicator that meets at MASTER_ADDR, such as "
                    "nccl",
                    self->by, self->size, communicator.component->name));
  if (count > 1) become_mpirun(count, arguments);
  return Ranks::process(1);
}

}  // namespace

Ranks place_ranks(const Selection& communicator, const RanksAsked& asked, const std::vector<std::string>& arguments) {
  if ((communicator.component->capabilities & ONEBIT_CAPABILITY_PROCESSES) != 0)
    return mpi_processes(communicator, asked, arguments);
  return is_of_threads(communicator) ? threads(communicator, asked) : meeting(communicator, asked);
}

ModelDevice device_of(std::string_view device, size_t place) {
  if (device != device_name(ONEBIT_DEVICE_CUDA)) return {};
  const auto self = launched();
  return {ONEBIT_DEVICE_CUDA, static_cast<int>(place) + (self ? self->local : 0)};
}

}  // namespace onebit::host
