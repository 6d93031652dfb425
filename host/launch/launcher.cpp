// SPDX-License-Identifier: Apache-2.0
// Launchers' variables, as the core reads them, from where the command stands.
#include "launch/launcher.hpp"

#include <cstdio>
#include <cstdlib>

#include "onebit/error.hpp"
#include "rendezvous/launchers.hpp"

namespace onebit::host {
namespace {

std::optional<Launched> believed(bool only_mpi) {
  const std::vector<Witness> all = witnesses(false);
  const Witness* const one = strongest(all, only_mpi);
  if (one == nullptr) return std::nullopt;
  const int local = local_place(all, one->rank, one->size).rank;
  return Launched{one->launcher->by, one->said(), one->rank, one->size, local < 0 ? one->rank : local, one->launcher->mpi};
}

}  // namespace

std::optional<Launched> launched() { return believed(false); }
std::optional<Launched> launched_by_mpi() { return believed(true); }

void check_launchers() {
  const std::vector<Witness> all = witnesses();
  require_agreement(all);
  const std::string doubtful = doubt(all);
  if (!doubtful.empty() && strongest(all)->rank == 0) std::fprintf(stderr, "onebit: warning: %s\n", doubtful.c_str());
}

void note_local_rank(int local_rank) {
  const std::string told = std::to_string(local_rank);
  const char* const set = std::getenv("LOCAL_RANK");
  if (set != nullptr && *set != '\0' && set != told)
    throw Error(Code::invalid_argument, "--local_rank is " + told + ", but LOCAL_RANK is '" + set +
                                            "': a launcher gives both the same number; leave one of them out");
  ::setenv("LOCAL_RANK", told.c_str(), 1);
}

std::string speaker() {
  const auto self = launched();
  if (!self || self->size == 1) return "";
  return "[rank " + std::to_string(self->rank) + (self->size == 0 ? "" : " of " + std::to_string(self->size)) + "] ";
}

}  // namespace onebit::host
