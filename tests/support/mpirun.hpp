// SPDX-License-Identifier: Apache-2.0
// Runs programs under mpirun, as root too and with more ranks than cores. Tests that need it say why they are skipped where
// there is none: ctest shows them as skipped (SKIP_REGULAR_EXPRESSION in CMakeLists.txt).
#pragma once

#include <cstdio>
#include <filesystem>
#include <string>

#include "running.hpp"

namespace onebit::test {

enum class Leaks { sought, left };

// For a shell, before a command that uses MPI: what the sanitizers need not tell of the MPI library. To know its leaks they
// have to unwind each allocation through code without frame pointers, which takes most of a short run's time: it is done for
// the tests' own programs, and not for the command, in which leaks are sought without MPI.
inline std::string mpi_environment(Leaks leaks = Leaks::left) {
  return std::string(leaks == Leaks::left
                         ? "ASAN_OPTIONS=\"$ASAN_OPTIONS:detect_leaks=0\" "
                         : "LSAN_OPTIONS=fast_unwind_on_malloc=0:print_suppressions=0:suppressions=" ONEBIT_SOURCE_DIR
                           "/tests/plugins/mpi/leaks.txt ") +
         "TSAN_OPTIONS=\"$TSAN_OPTIONS suppressions=" ONEBIT_SOURCE_DIR "/tests/plugins/mpi/races.txt\" ";
}

// For a shell: mpirun -n RANKS, with what Open MPI wants to be told; MPICH's mpirun takes no notice. ONEBIT_MPIRUN is the
// launcher of the MPI library that the plugin was built with.
inline std::string mpirun_command(int ranks, Leaks leaks = Leaks::left) {
  return mpi_environment(leaks) +
         "OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1 "
         "OMPI_MCA_hwloc_base_binding_policy=none OMPI_MCA_btl_vader_single_copy_mechanism=none "
         // other tests want the processors, too
         "OMPI_MCA_mpi_yield_when_idle=1 " ONEBIT_MPIRUN " -n " +
         std::to_string(ranks) + " ";
}
inline Outcome mpirun(int ranks, const std::string& command, Leaks leaks = Leaks::left) {
  return run_shell("exec timeout 120 env " + mpirun_command(ranks, leaks) + command);
}
// program: of the tests, with its arguments.
inline Outcome mpirun_program(int ranks, const std::string& program, Leaks leaks = Leaks::sought) {
  return mpirun(ranks, ONEBIT_BINARY_DIR "/bin/" + program, leaks);
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
