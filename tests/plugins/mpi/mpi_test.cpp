// SPDX-License-Identifier: Apache-2.0
// The communicator `mpi`, on ranks that mpirun starts.
#include <doctest/doctest.h>

#include <string>

#include "support/mpirun.hpp"
#include "support/scratch_folder.hpp"

using onebit::test::can_mpirun;
using onebit::test::mpirun_program;
using onebit::test::Outcome;

namespace {

void check_conformance(int ranks, const std::string& program) {
  if (!can_mpirun()) return;
  const Outcome outcome = mpirun_program(ranks, program);
  CHECK_MESSAGE(outcome.status == 0, outcome.text);
  CHECK_SAYS(outcome, "28 cases on " + std::to_string(ranks) + " ranks");
}

}  // namespace

TEST_CASE("mpi conforms: 1 rank") { check_conformance(1, "mpi_conformance_rank"); }
TEST_CASE("mpi conforms: 2 ranks") { check_conformance(2, "mpi_conformance_rank"); }
TEST_CASE("mpi conforms: 3 ranks") { check_conformance(3, "mpi_conformance_rank"); }
TEST_CASE("mpi conforms: 4 ranks") { check_conformance(4, "mpi_conformance_rank"); }
TEST_CASE("mpi of device memory conforms, staged") { check_conformance(3, "mpi_staged_rank staged"); }
TEST_CASE("mpi of device memory conforms, with an MPI that takes it") { check_conformance(3, "mpi_staged_rank direct"); }

TEST_CASE("a session on a device over mpi has the bits of one on the CPU") {
  if (!can_mpirun()) return;
  const Outcome outcome = mpirun_program(2, "mpi_device_rank");
  CHECK_MESSAGE(outcome.status == 0, outcome.text);
  CHECK_SAYS(outcome, "2 cases of a device over mpi");
}

TEST_CASE("mpi moves data while a rank computes and does not call it") {
  if (!can_mpirun()) return;
  const ScratchFolder folder;
  const Outcome outcome = mpirun_program(2, "mpi_overlap_rank " + (folder / "moved").string());
  CHECK_MESSAGE(outcome.status == 0, outcome.text);
  CHECK_SAYS(outcome, "8 MB moved while rank 0 was busy");
}

TEST_CASE("mpi: steps that begin before their gradients are there save the same bits, of every optimizer") {
  if (!can_mpirun()) return;
  for (const int ranks : {2, 3}) {
    const ScratchFolder folder;
    const Outcome outcome = mpirun_program(ranks, "mpi_early_rank " + folder.path().string());
    CHECK_MESSAGE(outcome.status == 0, outcome.text);
    for (const std::string optimizer : {"adam", "lamb", "onebit_adam", "onebit_lamb", "zeroone_adam"}) {
      CAPTURE(optimizer);
      CHECK_SAYS(outcome, optimizer + ": two agreements");
      const auto at_once = tensors_saved_in(folder / optimizer / "at_once"),
                 early = tensors_saved_in(folder / optimizer / "early");
      CHECK(!at_once.empty());
      CHECK(at_once == early);
    }
  }
}

TEST_CASE("an embedder's MPI program trains on communicators of its own, and keeps its MPI") {
  if (!can_mpirun()) return;
  const Outcome outcome = mpirun_program(4, "mpi_embed_rank");
  CHECK_MESSAGE(outcome.status == 0, outcome.text);
  for (int rank = 0; rank < 4; ++rank) CHECK_SAYS(outcome, "rank " + std::to_string(rank) + ": trained with its group");
}

TEST_CASE("an embedder's MPI program that selects threads is told what to select, and alone it needs no other") {
  if (!can_mpirun()) return;
  const Outcome four = mpirun_program(4, "mpi_embed_rank threads");
  CHECK(four.status != 0);
  CHECK_SAYS(four,
             "communicator 'threads': it joins threads of one process, but the ranks of this rendezvous are processes. Set "
             "communicator.plugin = \"tcp\", or, if mpirun "
             "starts the ranks or the program uses MPI itself (onebit::MpiRendezvous), \"mpi\"");
  const Outcome one = mpirun_program(1, "mpi_embed_rank threads");
  CHECK_MESSAGE(one.status == 0, one.text);
}

TEST_CASE("an embedder's MPI without threads is refused, with the level that it has and the one that is needed") {
  if (!can_mpirun()) return;
  const Outcome outcome = mpirun_program(1, "mpi_embed_rank single");
  CHECK(outcome.status != 0);
  CHECK_SAYS(outcome, "needs MPI_THREAD_MULTIPLE, but MPI runs with MPI_THREAD_SINGLE");
  CHECK_SAYS(outcome, "start it with MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided)");
}
