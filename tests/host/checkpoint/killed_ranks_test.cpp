// SPDX-License-Identifier: Apache-2.0
// kill -9 of random ranks at random moments, in a restart loop: a few here; kill_ranks.sh makes as many as it is told.
#include <doctest/doctest.h>

#include "support/mpirun.hpp"
#include "support/running.hpp"
#include "support/scratch_folder.hpp"
#include "support/small_data_set.hpp"

namespace {

#ifdef ONEBIT_SANITIZED
constexpr int kKills = 3;  // each start takes seconds there
#else
constexpr int kKills = 10;
#endif

}  // namespace

TEST_CASE("ranks that are killed at random moments and started again end with the same parameters") {
  if (ONEBIT_WITH_TORCH == 0) {
    MESSAGE("SKIPPED: this build has no libtorch (ONEBIT_TORCH=OFF)");
    return;
  }
  if (!onebit::test::can_mpirun()) return;
  const ScratchFolder folder;
  onebit::test::write_data_set(onebit::test::small_data_set(640, 50), folder.path());
  // 60 steps, of which each stage has half, and a checkpoint after every five.
  const auto outcome = onebit::test::run_shell(
      "exec env " + onebit::test::mpi_environment() + "ONEBIT=" + onebit::test::onebit_command() + " MPIRUN=" ONEBIT_MPIRUN +
      " TRAIN_MORE='--set train.data_folder=" + folder.path().string() +
      " --set train.samples=0 --set train.epochs=3 --set checkpoint.every=5 --set optimizer.freeze_step=30'"
      " timeout 280 " ONEBIT_SOURCE_DIR "/tests/host/checkpoint/kill_ranks.sh " +
      std::to_string(kKills));
  CHECK_MESSAGE(outcome.status == 0, outcome.text);
  CHECK_SAYS(outcome, "\n" + std::to_string(kKills) + " kills in ");
  CHECK_SAYS(outcome, " ended as the undisturbed one");
}
