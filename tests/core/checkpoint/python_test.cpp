// SPDX-License-Identifier: Apache-2.0
// A checkpoint as Python sees it: by the description of the format alone, and by the package safetensors where it is installed.
#include <doctest/doctest.h>

#include "saving.hpp"
#include "support/running.hpp"
#include "support/scratch_folder.hpp"

using namespace onebit::test;

TEST_CASE("Python reads a checkpoint's files and finds the hashes that format.md describes") {
  const ScratchFolder scratch;
  const auto folder = save(scratch.path(), {5, 1, 3, onebit::HashKind::sha256}).folder;
  if (run_shell("command -v python3").status != 0) {
    MESSAGE("SKIPPED: there is no python3");
    return;
  }
  const Outcome outcome =
      run_shell("python3 " ONEBIT_SOURCE_DIR "/tests/core/checkpoint/read_checkpoint.py " + folder.string());
  CHECK(outcome.status == 0);
  CHECK_SAYS(outcome, "all is well");
  if (outcome.text.find("without the packages") != std::string::npos)
    MESSAGE("The package safetensors was not asked: this Python lacks it, or numpy.");
}
