// Placing ranks.
#include "placement.hpp"

#include <fmt/format.h>

#include "launcher.hpp"
#include "mpirun.hpp"
#include "onebit/error.hpp"
#include "train_schema.hpp"

namespace onebit::host {
namespace {

[[noreturn]] void refuse(const std::string& text) { throw Error(Code::invalid_argument, text); }

void check_count(const RanksAsked& asked, int most) {
  if (asked.count < 1 || asked.count > most)
    refuse(fmt::format("{} {}: expected a number of ranks from 1 to {}", asked.by, asked.count, most));
}

Ranks threads(const Selection& communicator, const RanksAsked& asked) {
  if (const auto self = launched(); self && self->size > 1)
    refuse(
        fmt::format("{0} started {1} processes, but the ranks of communicator '{2}' are threads of one process: {1} copies "
                    "of this run would go on apart; add --set communicator.plugin=mpi, or start one process",
                    self->by, self->size, communicator.component->name));
  check_count(asked, kMostThreads);
  return Ranks::threads(static_cast<int>(asked.count));
}

}  // namespace

Ranks place_ranks(const Selection& communicator, const RanksAsked& asked, const std::vector<std::string>& arguments) {
  if ((communicator.component->capabilities & ONEBIT_CAPABILITY_PROCESSES) == 0) return threads(communicator, asked);
  check_count(asked, kMostProcesses);
  const auto count = static_cast<int>(asked.count);
  if (const auto self = launched()) {
    if (asked.typed && self->size != 0 && self->size != count)
      refuse(fmt::format(
          "--ranks {}, but {} started {} processes; leave --ranks out: the launcher's number is the one that counts", count,
          self->by, self->size));
    return Ranks::process(self->size);
  }
  if (count > 1) become_mpirun(count, arguments);
  return Ranks::process(1);
}

ModelDevice device_of(std::string_view device, size_t place) {
  if (device != device_name(ONEBIT_DEVICE_CUDA)) return {};
  const auto self = launched();
  return {ONEBIT_DEVICE_CUDA, static_cast<int>(place) + (self ? self->local : 0)};
}

}  // namespace onebit::host
