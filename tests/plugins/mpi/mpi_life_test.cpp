// SPDX-License-Identifier: Apache-2.0
// Ranks that live though they do not come, and sessions that live longer than MPI.
#include <doctest/doctest.h>

#include <chrono>

#include "support/mpirun.hpp"

using onebit::test::can_mpirun;
using onebit::test::Leaks;
using onebit::test::mpirun_program;
using onebit::test::Outcome;

namespace {

Outcome check_lifetime(const std::string& way) {
  if (!can_mpirun()) return {};
  const Leaks leaks = way == "fork" ? Leaks::left : Leaks::sought;  // a fork leaves those of threads that are not there
  const Outcome outcome = mpirun_program(2, "mpi_lifetime_rank " + way, leaks);
  CHECK_MESSAGE(outcome.status == 0, outcome.text);
  const size_t first = outcome.text.find("done\n");
  CHECK_MESSAGE((first != std::string::npos && outcome.text.find("done\n", first + 1) != std::string::npos), outcome.text);
  return outcome;
}

// Nothing but what the ranks print themselves.
void check_silent(const std::string& way) {
  const Outcome outcome = check_lifetime(way);
  if (outcome.status >= 0) CHECK_MESSAGE(outcome.text == "done\ndone\n", outcome.text);
}

}  // namespace

TEST_CASE("mpi: a rank that lives may take longer than the timeout, and much payload is moved in pieces") {
  if (!can_mpirun()) return;
  const Outcome outcome = mpirun_program(2, "mpi_patience_rank late");
  CHECK_MESSAGE(outcome.status == 0, outcome.text);
  for (const std::string rank : {"0", "1"}) CHECK_SAYS(outcome, "rank " + rank + ": rank 1 came, late");
}

TEST_CASE("mpi: a rank that lives but does not come is given up after the stall, which the error names") {
  if (!can_mpirun()) return;
  const Outcome outcome = mpirun_program(2, "mpi_patience_rank stall");
  CHECK_MESSAGE(outcome.status == 0, outcome.text);
  const std::string why =
      "waited 0.5 s for rank 1, which did not come, though alive (if it may take longer, raise communicator.stall; 0: no "
      "limit)";
  CHECK_SAYS(outcome, "rank 0: communicator 'mpi': barrier (operation 2): " + why);
  CHECK_SAYS(outcome, "rank 0 gave up: barrier (operation 2): " + why);
}

TEST_CASE("mpi: a rank that is killed while its gradients still come ends the others, by its name") {
  if (!can_mpirun()) return;
  const auto begin = std::chrono::steady_clock::now();
  const Outcome outcome = mpirun_program(2, "mpi_lifetime_rank killed", Leaks::left);
  CHECK_MESSAGE(outcome.status != 0, outcome.text);
  CHECK_SAYS(outcome, "process rank 1");
  CHECK_SAYS(outcome, "signal 9");
  CHECK_MESSAGE(outcome.text.find("went on") == std::string::npos, outcome.text);
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(60));
}

TEST_CASE("mpi: a session that lives when its program finalizes MPI ends with it, and says so") {
  const Outcome outcome = check_lifetime("alive");
  if (outcome.status >= 0) CHECK_SAYS(outcome, "MPI_Finalize was called in this process, and ended its communicators");
}
TEST_CASE("mpi: a static session, and a program that finalizes MPI") { check_silent("static"); }
TEST_CASE("mpi: a global session, and a program that finalizes MPI") { check_silent("global"); }
TEST_CASE("mpi: a static session, and MPI as onebit started it") { check_silent("own"); }
TEST_CASE("mpi: a global session, and MPI as onebit started it") { check_silent("own_global"); }
TEST_CASE("mpi: a fork of a rank ends by itself") { check_silent("fork"); }
