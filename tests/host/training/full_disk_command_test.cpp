// SPDX-License-Identifier: Apache-2.0
// `onebit train` where no further checkpoint fits: by option it goes on or ends, and the last good one stays as it was.
#include <doctest/doctest.h>

#include <cstdio>
#include <filesystem>
#include <string>

#include "small_run.hpp"
#include "support/running.hpp"

using onebit::test::onebit_command;
using onebit::test::Outcome;
using onebit::test::run_shell;
using onebit::test::SmallRun;

namespace {

struct Shortage {
  const char* shell;   // that runs the script
  const char* before;  // the first run: what makes $saved small
  const char* then;    // what makes it full
  const char* reason;  // as the system has it
};

// A small file system of its own, which goes with the shell; only root may mount one.
constexpr Shortage kFull = {"unshare -m bash ", "mount -t tmpfs -o size=8m none $saved || exit 90",
                            "head -c 16000000 /dev/zero >$saved/filler 2>/dev/null", "No space left on device"};
// The parameters fit, the state does not.
constexpr Shortage kLimited = {"bash ", "", "trap '' XFSZ; ulimit -f 350", "File too large"};

// NULL, and says so, where the test can't run.
const Shortage* shortage_here() {
  const SmallRun run;
  const std::string folder = run.folder.path().string();
  if (run_shell("unshare -m mount -t tmpfs none " + folder).status == 0) return &kFull;
  std::printf("no file system can be mounted here: a limit on the size of files stands in for a full one\n");
  if (run_shell("bash -c \"trap '' XFSZ; ulimit -f 350; head -c 400000 /dev/zero >" + folder + "/f\"").status != 0)
    return &kLimited;
  std::printf("SKIPPED: neither can a file system be mounted here, nor the size of files be limited\n");
  return nullptr;
}

// A run that saves, and its continuation on a disk that is full by then; what lies there afterwards.
Outcome run_out_of_space(const SmallRun& run, const Shortage& shortage, const std::string& more) {
  const std::string train = onebit_command() + " " +
                            run.arguments("restartable",
                                          "--resume --set checkpoint.folder=$saved --set checkpoint.every=10 "
                                          "--set optimizer.freeze_step=30 ");
  const std::string script = "saved=" + (run.folder / "saved").string() + "\nmkdir $saved\n" + shortage.before + "\n" + train +
                             "--set train.epochs=2 >/dev/null || exit 91\nsha256sum $saved/step-00000040/* >$saved.sums\n" +
                             shortage.then + "\n" + train + "--set train.epochs=4 " + more + "\necho \"status: $?\"\n" +
                             onebit_command() + " checkpoint verify $saved\nls $saved\nsha256sum --quiet -c $saved.sums\n";
  return run_shell(shortage.shell + run.folder.file("script.sh", script).string());
}

}  // namespace

TEST_CASE("train: on a full disk the last good checkpoint stays, and training goes on or ends by option") {
  if (!onebit::test::can_train()) return;
  const Shortage* shortage = shortage_here();
  if (shortage == nullptr) return;
  for (const bool ends : {false, true}) {
    CAPTURE(ends);
    const SmallRun run;
    const Outcome outcome = run_out_of_space(run, *shortage, ends ? "--set checkpoint.on_error=end" : "");
    CHECK_MESSAGE(outcome.status == 0, outcome.text);  // of sha256sum
    CHECK_SAYS(outcome, ends ? "status: 1\n" : "status: 0\n");
    CHECK_SAYS(outcome, shortage->reason);
    CHECK_SAYS(outcome, "step-00000040: whole\n");
    CHECK_MESSAGE(outcome.text.find("unfinished\n") == std::string::npos, outcome.text);
    CHECK_MESSAGE((outcome.text.find("warning: a checkpoint could not be saved: ") == std::string::npos) == ends, outcome.text);
    const auto summary = run.summary("restartable");
    CHECK(summary["status"] == (ends ? "failed" : "completed"));
    CHECK((summary["steps"] == 80) == !ends);
    CHECK(std::filesystem::exists(run.folder / "restartable/model.safetensors") == !ends);
  }
}
