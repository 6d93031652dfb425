// SPDX-License-Identifier: Apache-2.0
// A run over mpi goes on in new processes: every byte that it saves from then on is that of the run that was not interrupted,
// and that of the same run over threads.
#include <doctest/doctest.h>

#include "core/saving/saved_cells.hpp"
#include "support/mpirun.hpp"

using namespace onebit;
using namespace onebit::test;

namespace {

const std::string mpi_table = "[communicator]\nplugin = \"mpi\"\ntimeout = 60\n";

// Each optimizer, number of ranks, topology and dtype of dense rounds is in one of these; or all that there are.
std::vector<Cell> cells_over_mpi() {
  const std::vector<Cell> few = {{"adam", 2, false, true},
                                 {"lamb", 1, true, false},
                                 {"onebit_adam", 4, true, false},
                                 {"onebit_lamb", 2, false, false},
                                 {"zeroone_adam", 4, false, true}};
  if (!all_are_wanted()) return few;
  std::vector<Cell> all;
  for (const Cell& of : few)
    for (const int ranks : {1, 2, 4})
      for (const bool machines : {false, true})
        for (const bool half : {false, true}) all.push_back({of.optimizer, ranks, machines, half});
  return all;
}

void runs_under_mpirun(const SavedRun& run, const fs::path& configuration, const std::string& more) {
  const Outcome outcome =
      mpirun_program(run.ranks, "mpi_saving_rank " + configuration.string() + " " + std::to_string(run.last) + " " + more);
  REQUIRE_MESSAGE(outcome.status == 0, outcome.text);
}

// Of what was saved in these steps; "" where there is none. Configurations may differ.
std::string difference_of_files(const fs::path& a, const fs::path& b, int64_t first, int64_t last) {
  for (int64_t step = first; step <= last; ++step)
    for (const CheckpointInfo::File& file : read_checkpoint_info(at_step(a, step)).files)
      if (contents_of(at_step(a, step) / file.name) != contents_of(at_step(b, step) / file.name))
        return file.name + " of step " + std::to_string(step);
  return "";
}

}  // namespace

TEST_CASE("mpi: a run goes on to the bit in new processes, in each optimizer, and as it does over threads") {
  if (!can_mpirun()) return;
  RandomStep random;
  const std::vector<Cell> cells = cells_over_mpi();
  for (const Cell& cell : cells) {
    const SavedRun run = run_of(cell, mpi_table), over_threads = run_of(cell, threads_table());
    CAPTURE(run.name);
    const int64_t from = random.of(random.one_of(run.stages));
    CAPTURE(from);
    const RunFolder whole, again, threads;
    const fs::path configuration = whole.file("c.toml", run.toml);
    runs_under_mpirun(run, configuration, whole.path().string());
    runs_under_mpirun(run, configuration, again.path().string() + " " + at_step(whole.path(), from).string());
    for (int64_t step = from; step <= run.last; ++step)
      CHECK(difference(at_step(whole.path(), step), at_step(again.path(), step)) == "");
    std::vector<int64_t> steps;
    for (int64_t step = 1; step <= run.last; ++step) steps.push_back(step);
    train_and_save(run.ranks, over_threads.toml, threads.path(), steps);
    CHECK(difference_of_files(threads.path(), whole.path(), 1, run.last) == "");
  }
  if (all_are_wanted()) MESSAGE("cells: ", cells.size());
  CHECK(cells.size() == (all_are_wanted() ? 60 : 5));
}
