// SPDX-License-Identifier: Apache-2.0
// The environment of a launched process, as long as it lives; nothing of a launcher that runs the tests shows through.
#pragma once

#include <cstdlib>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace onebit::test {

using Variables = std::vector<std::pair<const char*, std::string>>;

class Environment {
 public:
  explicit Environment(const Variables& variables) {
    for (const char* name : {"OMPI_COMM_WORLD_RANK",
                             "OMPI_COMM_WORLD_SIZE",
                             "OMPI_COMM_WORLD_LOCAL_RANK",
                             "OMPI_COMM_WORLD_LOCAL_SIZE",
                             "MV2_COMM_WORLD_RANK",
                             "MV2_COMM_WORLD_SIZE",
                             "MV2_COMM_WORLD_LOCAL_RANK",
                             "MV2_COMM_WORLD_LOCAL_SIZE",
                             "PMI_RANK",
                             "PMI_SIZE",
                             "PMI_LOCAL_RANK",
                             "PMI_LOCAL_SIZE",
                             "MPI_LOCALRANKID",
                             "MPI_LOCALNRANKS",
                             "PMIX_RANK",
                             "JSM_NAMESPACE_RANK",
                             "JSM_NAMESPACE_SIZE",
                             "JSM_NAMESPACE_LOCAL_RANK",
                             "JSM_NAMESPACE_LOCAL_SIZE",
                             "FLUX_TASK_RANK",
                             "FLUX_JOB_SIZE",
                             "FLUX_TASK_LOCAL_ID",
                             "PALS_RANKID",
                             "PALS_LOCAL_RANKID",
                             "PALS_LOCAL_SIZE",
                             "ALPS_APP_PE",
                             "HOROVOD_RANK",
                             "HOROVOD_SIZE",
                             "HOROVOD_LOCAL_RANK",
                             "HOROVOD_LOCAL_SIZE",
                             "SLURM_PROCID",
                             "SLURM_STEP_NUM_TASKS",
                             "SLURM_NTASKS",
                             "SLURM_LOCALID",
                             "SLURM_NODEID",
                             "SLURM_STEP_TASKS_PER_NODE",
                             "ONEBIT_STARTED_MPIRUN",
                             "RANK",
                             "WORLD_SIZE",
                             "LOCAL_RANK",
                             "LOCAL_WORLD_SIZE",
                             "LOCAL_SIZE",
                             "MASTER_ADDR",
                             "MASTER_PORT",
                             "ONEBIT_PORT",
                             "TORCHELASTIC_USE_AGENT_STORE",
                             "TORCHELASTIC_RUN_ID",
                             "PATH"}) {
      const char* value = std::getenv(name);
      if (value != nullptr) before_[name] = value;
      names_.emplace_back(name);
      if (value != nullptr && std::string(name) != "PATH") ::unsetenv(name);
    }
    for (const auto& [name, value] : variables) ::setenv(name, value.c_str(), 1);
  }
  ~Environment() {
    for (const std::string& name : names_) ::unsetenv(name.c_str());
    for (const auto& [name, value] : before_) ::setenv(name.c_str(), value.c_str(), 1);
  }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  std::map<std::string, std::string> before_;
  std::vector<std::string> names_;
};

}  // namespace onebit::test
