// SPDX-License-Identifier: Apache-2.0
// Reading what launchers tell their processes.
#include "launch/launcher.hpp"

#include <charconv>
#include <cstdlib>
#include <string_view>

namespace onebit::host {
namespace {

// -1: not set, or not a number.
int number_in(const char* variable) {
  const char* text = variable == nullptr ? nullptr : std::getenv(variable);
  if (text == nullptr) return -1;
  const std::string_view view = text;
  int value = -1;
  const auto [end, error] = std::from_chars(view.data(), view.data() + view.size(), value);
  return error == std::errc() && end == view.data() + view.size() ? value : -1;
}

// A launcher by the variables in which it puts rank, size, and the rank among the processes of a machine.
struct Dialect {
  const char *by, *rank, *size, *local;
  bool mpi;
};
// torchrun's kin first: where srun starts one torchrun a machine, the ranks are torchrun's. SLURM_NTASKS would be wrong: a
// batch script has it, too, which runs once.
constexpr Dialect kDialects[] = {
    {"a launcher such as torchrun", "RANK", "WORLD_SIZE", "LOCAL_RANK", false},
    {"mpirun", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK", true},  // Open MPI
    {"mpirun", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", true},                                     // MPICH and its kin
    {"srun", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", true},
    {"a launcher", "PMIX_RANK", nullptr, nullptr, true},
};

std::optional<Launched> find(bool only_mpi) {
  for (const Dialect& dialect : kDialects) {
    if (only_mpi && !dialect.mpi) continue;
    const int rank = number_in(dialect.rank), size = number_in(dialect.size);
    if (rank < 0 || (dialect.size != nullptr && size <= rank)) continue;
    const int local = number_in(dialect.local);
    return Launched{dialect.by, rank, size > 0 ? size : 0, local < 0 ? rank : local, dialect.mpi};
  }
  return std::nullopt;
}

}  // namespace

std::optional<Launched> launched() { return find(false); }
std::optional<Launched> launched_by_mpi() { return find(true); }

std::string speaker() {
  const auto self = launched();
  if (!self || self->size == 1) return "";
  return "[rank " + std::to_string(self->rank) + (self->size == 0 ? "" : " of " + std::to_string(self->size)) + "] ";
}

}  // namespace onebit::host
