// Reading what launchers tell their processes.
#include "launcher.hpp"

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

// A launcher by the variables in which it puts rank, size, and the rank among the processes of a machine. SLURM_NTASKS would be
// wrong: a batch script has it, too, which runs once.
struct Dialect {
  const char *by, *rank, *size, *local;
};
constexpr Dialect kDialects[] = {
    {"mpirun", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"},  // Open MPI
    {"mpirun", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID"},                                     // MPICH and its kin
    {"srun", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"},
    {"a launcher", "PMIX_RANK", nullptr, nullptr},
};

}  // namespace

std::optional<Launched> launched() {
  for (const Dialect& dialect : kDialects) {
    const int rank = number_in(dialect.rank), size = number_in(dialect.size);
    if (rank < 0 || (dialect.size != nullptr && size <= rank)) continue;
    const int local = number_in(dialect.local);
    return Launched{dialect.by, rank, size > 0 ? size : 0, local < 0 ? rank : local};
  }
  return std::nullopt;
}

std::string speaker() {
  const auto self = launched();
  if (!self || self->size == 1) return "";
  return "[rank " + std::to_string(self->rank) + (self->size == 0 ? "" : " of " + std::to_string(self->size)) + "] ";
}

}  // namespace onebit::host
