// SPDX-License-Identifier: Apache-2.0
// Reading what launchers put into the environment, and believing none of it unseen.
#include "rendezvous/launchers.hpp"

#include <algorithm>

#include "rendezvous/variables.hpp"

namespace onebit {
namespace {

// The innermost first: torchrun and DeepSpeed run inside the steps of others, and mpirun starts its daemons by srun, whose
// words its processes inherit. What has no name of its own for the size comes last.
constexpr Launcher kLaunchers[] = {
    {"a launcher such as torchrun",
     "RANK",
     "WORLD_SIZE",
     {"LOCAL_RANK", nullptr},
     {"LOCAL_WORLD_SIZE", "LOCAL_SIZE"},  // torchrun's name, DeepSpeed's
     false},
    {"horovodrun", "HOROVOD_RANK", "HOROVOD_SIZE", {"HOROVOD_LOCAL_RANK", nullptr}, {"HOROVOD_LOCAL_SIZE", nullptr}, false},
    {"mpirun",  // Open MPI 4 and 5
     "OMPI_COMM_WORLD_RANK",
     "OMPI_COMM_WORLD_SIZE",
     {"OMPI_COMM_WORLD_LOCAL_RANK", nullptr},
     {"OMPI_COMM_WORLD_LOCAL_SIZE", nullptr},
     true},
    {"mpirun",  // MVAPICH2
     "MV2_COMM_WORLD_RANK",
     "MV2_COMM_WORLD_SIZE",
     {"MV2_COMM_WORLD_LOCAL_RANK", nullptr},
     {"MV2_COMM_WORLD_LOCAL_SIZE", nullptr},
     true},
    {"mpirun",  // MPICH, Intel MPI, and Cray's PALS by the other names
     "PMI_RANK",
     "PMI_SIZE",
     {"MPI_LOCALRANKID", "PMI_LOCAL_RANK"},
     {"MPI_LOCALNRANKS", "PMI_LOCAL_SIZE"},
     true},
    {"jsrun",
     "JSM_NAMESPACE_RANK",
     "JSM_NAMESPACE_SIZE",
     {"JSM_NAMESPACE_LOCAL_RANK", nullptr},
     {"JSM_NAMESPACE_LOCAL_SIZE", nullptr},
     true},
    {"flux", "FLUX_TASK_RANK", "FLUX_JOB_SIZE", {"FLUX_TASK_LOCAL_ID", nullptr}, {nullptr, nullptr}, true},
    {"srun", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", {"SLURM_LOCALID", nullptr}, {nullptr, nullptr}, true},
    {"mpiexec", "PALS_RANKID", nullptr, {"PALS_LOCAL_RANKID", nullptr}, {"PALS_LOCAL_SIZE", nullptr}, true},
    {"aprun", "ALPS_APP_PE", nullptr, {nullptr, nullptr}, {nullptr, nullptr}, true},
    {"a launcher", "PMIX_RANK", nullptr, {nullptr, nullptr}, {nullptr, nullptr}, true},
};
constexpr const Launcher& kTorchrun = kLaunchers[0];

bool has(const Launcher& launcher, const char* rank) { return std::string_view(launcher.rank) == rank; }
bool speaks(const char* variable) { return variable != nullptr && variable::is_set(variable); }

const char* name_set(const std::array<const char*, 2>& names) {
  const auto found = std::find_if(names.begin(), names.end(), speaks);
  return found == names.end() ? nullptr : *found;
}

void read_local(const Launcher& launcher, Witness& self) {
  const char* const local_size = name_set(launcher.local_size);
  const char* const local_rank = name_set(launcher.local_rank);
  const int most = self.size > 0 ? self.size : variable::kMostRanks;
  if (local_size != nullptr) self.local_size = variable::number(local_size, 1, most);
  if (local_rank == nullptr) return;
  self.local_rank = self.local_size > 0 ? variable::rank(local_rank, self.local_size, local_size)
                    : self.size > 0     ? variable::rank(local_rank, self.size, launcher.size)
                                        : variable::number(local_rank, 0, variable::kMostRanks - 1);
}

// "2(x3),1": tasks of each machine of a step.
int tasks_on(std::string_view machines, int machine) {
  while (!machines.empty()) {
    const std::string_view one = machines.substr(0, machines.find(','));
    const size_t times = one.find("(x");
    const auto tasks = variable::number_of(one.substr(0, times), 1, variable::kMostRanks);
    const auto count = times == one.npos || one.back() != ')'
                           ? std::optional(1)
                           : variable::number_of(one.substr(times + 2, one.size() - times - 3), 1, variable::kMostRanks);
    if (!tasks || !count) return 0;
    if (machine < *count) return *tasks;
    machine -= *count;
    machines.remove_prefix(std::min(one.size() + 1, machines.size()));
  }
  return 0;
}

void read_slurm(Witness& self) {
  const auto machine = variable::number_of(variable::text("SLURM_NODEID"), 0, variable::kMostRanks);
  const int tasks = machine ? tasks_on(variable::text("SLURM_STEP_TASKS_PER_NODE"), *machine) : 0;
  if (tasks > self.local_rank && tasks <= self.size) self.local_size = tasks;
}

// A batch script has a SLURM_PROCID, too, which is 0, and runs once: only a step tells how many tasks it has.
std::optional<Witness> hear(const Launcher& launcher) {
  if (&launcher == &kTorchrun && (speaks("RANK") || speaks("WORLD_SIZE"))) {
    variable::require("RANK", "WORLD_SIZE", "this process's number, from 0");
    variable::require("WORLD_SIZE", "RANK", "the number of processes");
  }
  if (!speaks(launcher.rank)) return std::nullopt;
  Witness self;
  self.launcher = &launcher;
  self.size = speaks(launcher.size) ? variable::number(launcher.size, 1, variable::kMostRanks) : 0;
  self.rank = self.size > 0 ? variable::rank(launcher.rank, self.size, launcher.size)
                            : variable::number(launcher.rank, 0, variable::kMostRanks - 1);
  const bool slurm = has(launcher, "SLURM_PROCID");
  if (slurm && self.size == 0 && self.rank == 0) return std::nullopt;
  read_local(launcher, self);
  if (slurm && self.size > 0) read_slurm(self);
  return self;
}

bool same(const Witness& a, const Witness& b) { return a.rank == b.rank && a.size == b.size; }

// Whether `outer` started what started this process: once a machine, or once for each run of neighbouring ranks.
bool may_hold(const Witness& outer, const Witness& inner) {
  return inner.size % outer.size == 0 && inner.rank / (inner.size / outer.size) == outer.rank;
}

}  // namespace

std::string Witness::said() const {
  std::string text = launcher->rank + ('=' + std::to_string(rank));
  if (size > 0) text += std::string(", ") + launcher->size + '=' + std::to_string(size);
  return text;
}

std::vector<Witness> witnesses(bool strict) {
  std::vector<Witness> all;
  for (const Launcher& launcher : kLaunchers) {
    try {
      if (const auto heard = hear(launcher)) all.push_back(*heard);
    } catch (const Error&) {
      if (strict) throw;
    }
  }
  return all;
}

const Witness* strongest(const std::vector<Witness>& all, bool only_mpi) {
  // torchrun's agent sets its variables for this very process, also where it is one of many tasks, each with a job of its own
  if (!only_mpi && !all.empty() && all.front().launcher == &kTorchrun && speaks("TORCHELASTIC_RUN_ID")) return &all.front();
  const Witness* best = nullptr;
  const auto rank_of = [](const Witness& one) { return one.size > 1 ? 3 : one.of_many() ? 2 : one.size == 1 ? 1 : 0; };
  for (const Witness& one : all)
    if ((!only_mpi || one.launcher->mpi) && (best == nullptr || rank_of(one) > rank_of(*best))) best = &one;
  return best;
}

// torchrun's agents are what another launcher started, however many ranks each has; who else sets RANK has no such mark.
void require_agreement(const std::vector<Witness>& all) {
  if (all.empty() || all.front().launcher != &kTorchrun || all.front().size == 1 || speaks("TORCHELASTIC_RUN_ID")) return;
  const Witness& told = all.front();
  for (const Witness& other : all)
    if (other.size > 1 && !same(told, other) && !may_hold(other, told))
      throw Error(Code::invalid_argument, "two launchers contradict each other: " + told.said() + " (" + told.launcher->by +
                                              "), but " + other.said() + " (" + other.launcher->by +
                                              "); unset those of the one that did not start this process");
}

// mpirun's daemons are tasks of a step of Slurm, one a machine; then the ranks are on several machines, and more than these.
std::string doubt(const std::vector<Witness>& all) {
  const Witness* const believed = strongest(all);
  if (believed == nullptr || !believed->of_many()) return "";
  for (const Witness& other : all) {
    if (other.size < 2 || believed->size < 2 || same(*believed, other) || other.launcher == believed->launcher) continue;
    const bool spans = believed->local_size > 0 && believed->local_size < believed->size && other.size < believed->size;
    const bool daemons = believed->launcher->mpi && other.launcher->mpi && spans;
    if (believed->launcher == &kTorchrun || daemons) continue;
    return believed->said() + " (" + believed->launcher->by + ") is believed, but " + other.said() + " (" + other.launcher->by +
           ") says otherwise: if that one started this process, unset the others' variables";
  }
  return "";
}

LocalPlace local_place(const std::vector<Witness>& all, int rank, int size) {
  if (size == 1) return {0, 1};
  LocalPlace place;
  for (const Witness& one : all) {
    if (one.rank != rank || (one.size != size && one.size != 0)) continue;
    if (place.rank < 0) place.rank = one.local_rank;
    if (place.size == 0 && one.local_size > place.rank) place.size = one.local_size;
  }
  if (place.rank < 0 && place.size == 1) place.rank = 0;
  if (place.rank < 0 && place.size == size) place.rank = rank;
  return place;
}

}  // namespace onebit
