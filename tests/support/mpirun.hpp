// SPDX-License-Identifier: Apache-2.0
// Runs programs under mpirun, as root too and with more ranks than cores. Tests that need it say why they are skipped where
// there is none: ctest shows them as skipped (SKIP_REGULAR_EXPRESSION in CMakeLists.txt).
#pragma once

#include <cstdio>
#include <filesystem>
#include <string>

#include "running.hpp"

namespace onebit::test {

// For a shell, before a command that uses MPI: what the sanitizers need not tell of the MPI library.
inline std::string mpi_environment() {
  return "LSAN_OPTIONS=fast_unwind_on_malloc=0:print_suppressions=0:suppressions=" ONEBIT_SOURCE_DIR
         "/tests/plugins/mpi/leaks.txt TSAN_OPTIONS=\"$TSAN_OPTIONS suppressions=" ONEBIT_SOURCE_DIR
         "/tests/plugins/mpi/races.txt\" ";
}

// For a shell: mpirun -n RANKS, with what Open MPI wants to be told; MPICH's mpirun takes no notice. ONEBIT_MPIRUN is the
// launcher of the MPI library that the plugin was built with.
inline std::string mpirun_command(int ranks) {
  return mpi_environment() +
         "OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1 "
         "OMPI_MCA_hwloc_base_binding_policy=none OMPI_MCA_btl_vader_single_copy_mechanism=none "
         // other tests want the processors, too
         "OMPI_MCA_mpi_yield_when_idle=1 " ONEBIT_MPIRUN " -n " +
         std::to_string(ranks) + " ";
}
inline Outcome mpirun(int ranks, const std::string& command) {
  return run_shell("exec timeout 120 env " + mpirun_command(ranks) + command);
}

// False, and says so, where the test can't run.
inline bool can_mpirun() {
  const char* lacks = nullptr;
  if (!std::filesystem::exists(ONEBIT_BINARY_DIR "/lib/onebit/plugins/onebit_plugin_mpi.so"))
    lacks = "this build has no plugin mpi";
  else if (run_shell("command -v " ONEBIT_MPIRUN).status != 0)
    lacks = "there is no " ONEBIT_MPIRUN;
  if (lacks != nullptr) std::printf("SKIPPED: %s\n", lacks);
  return lacks == nullptr;
}

}  // namespace onebit::test
