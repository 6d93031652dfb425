// SPDX-License-Identifier: Apache-2.0
// The command on ranks that are processes: the same bytes as on threads, one voice for all, and an end in seconds when a rank
// does not belong, dies or hangs.
#include <doctest/doctest.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "support/background_run.hpp"
#include "support/mpirun.hpp"
#include "support/recorded_trace.hpp"
#include "support/small_data_set.hpp"

using namespace std::chrono_literals;
using onebit::test::BackgroundRun;
using onebit::test::can_mpirun;
using onebit::test::closed_form;
using onebit::test::comes;
using onebit::test::mpi_environment;
using onebit::test::mpirun;
using onebit::test::mpirun_command;
using onebit::test::onebit_command;
using onebit::test::Outcome;
using onebit::test::run_onebit;
using onebit::test::run_shell;
using onebit::test::write_trace;

namespace {

const std::string kMpi = " --set communicator.plugin=mpi";

std::string manifest(int freeze_step) {
  return "[optimizer]\nplugin = \"onebit_adam\"\nlr = 1e-2\nfreeze_step = " + std::to_string(freeze_step) +
         "\n[compressor]\nplugin = \"onebit\"\nblock = 64\n[communicator]\nplugin = \"threads\"\ntimeout = 60\n"
         "[exchange]\nbucket_bytes = 4096\n";
}

// A trace, and a configuration that is dense for two steps.
struct Replay {
  ScratchFolder folder;
  explicit Replay(int ranks, int steps = 6, int freeze_step = 2, const std::vector<size_t>& sizes = {5000, 33, 7, 1}) {
    folder.file("c.toml", manifest(freeze_step));
    write_trace(folder / "in", closed_form(sizes, ranks, 1, steps));
  }
  std::string arguments(const std::string& out, const std::string& more = "") const {
    return "replay " + (folder / "c.toml").string() + " --gradients " + (folder / "in").string() + " --out " +
           (folder / out).string() + " " + more;
  }
};

size_t count(const std::string& text, const std::string& part) {
  size_t found = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

std::string rank_with(const std::string& arguments, const std::string& environment = "") {
  return "env " + environment + " " + onebit_command() + " " + arguments;
}

}  // namespace

TEST_CASE("replay under mpirun writes the file that replay writes on threads") {
  if (!can_mpirun()) return;
  for (int ranks = 1; ranks <= 4; ++ranks) {
    CAPTURE(ranks);
    const Replay replay(ranks);
    const Outcome threads = run_onebit(replay.arguments("threads", "--ranks " + std::to_string(ranks)));
    REQUIRE_MESSAGE(threads.status == 0, threads.text);
    const Outcome processes = mpirun(ranks, onebit_command() + " " + replay.arguments("processes", kMpi));
    REQUIRE_MESSAGE(processes.status == 0, processes.text);
    CHECK(contents_of(replay.folder / "processes") == contents_of(replay.folder / "threads"));
    CHECK_MESSAGE(count(processes.text, "tensors after steps 1 to 6") == 1, processes.text);
  }
}

TEST_CASE("replay starts mpirun itself, for the ranks of the trace") {
  if (!can_mpirun()) return;
  const Replay replay(2);
  REQUIRE(run_onebit(replay.arguments("threads")).status == 0);
  const Outcome outcome = run_shell(mpi_environment() + onebit_command() + " " + replay.arguments("processes", kMpi));
  CHECK_MESSAGE(outcome.status == 0, outcome.text);
  CHECK_SAYS(outcome, "onebit: starting mpirun -n 2 " + onebit_command() + " replay ");
  CHECK(contents_of(replay.folder / "processes") == contents_of(replay.folder / "threads"));
}

TEST_CASE("a launcher that started this process alone does not count: mpirun starts what was asked for") {
  if (!can_mpirun()) return;
  const Replay replay(2);
  REQUIRE(run_onebit(replay.arguments("threads")).status == 0);
  const std::string run = onebit_command() + " " + replay.arguments("out", kMpi);
  for (const char* left :
       {"SLURM_PROCID=0 SLURM_STEP_NUM_TASKS=1 SLURM_LOCALID=0 ", "OMPI_COMM_WORLD_RANK=0 OMPI_COMM_WORLD_SIZE=1 ",
        "PMI_RANK=0 PMI_SIZE=1 ", "RANK=0 WORLD_SIZE=1 LOCAL_RANK=0 "}) {
    std::filesystem::remove(replay.folder / "out");
    const Outcome outcome = run_shell("export " + std::string(left) + "; " + mpi_environment() + run);
    CHECK_MESSAGE(outcome.status == 0, outcome.text);
    CHECK_SAYS(outcome, "started this process alone (");
    CHECK_SAYS(outcome, "onebit: starting mpirun -n 2 ");
    CHECK(contents_of(replay.folder / "out") == contents_of(replay.folder / "threads"));
  }
}

TEST_CASE("under an mpirun of one process, more ranks are started as well") {
  if (!can_mpirun()) return;
  const Replay replay(2);
  const Outcome outcome = mpirun(1, onebit_command() + " " + replay.arguments("out", kMpi));
  CHECK_MESSAGE(outcome.status == 0, outcome.text);
  CHECK_SAYS(outcome, "mpirun started this process alone (OMPI_COMM_WORLD_RANK=0, OMPI_COMM_WORLD_SIZE=1)");
  CHECK(std::filesystem::exists(replay.folder / "out"));
}

TEST_CASE("a rank without a number of ranks that finds itself alone says so") {
  if (!can_mpirun()) return;
  const Replay replay(2);
  const Outcome outcome =
      run_shell("export PMIX_RANK=0; " + mpi_environment() + onebit_command() + " " + replay.arguments("out", kMpi));
  CHECK(outcome.status != 0);
  CHECK_SAYS(outcome,
             "PMIX_RANK=0 says that a launcher started this process, but the communicator finds no other, and 2 ranks");
  CHECK(!std::filesystem::exists(replay.folder / "out"));
}

TEST_CASE("one rank is a run without a launcher") {
  if (!can_mpirun()) return;
  const Replay replay(1);
  const Outcome outcome =
      run_shell(mpi_environment() + onebit_command() + " " + replay.arguments("alone", kMpi + " --ranks 1"));
  CHECK_MESSAGE(outcome.status == 0, outcome.text);
  CHECK(outcome.text.find("starting mpirun") == std::string::npos);
}

TEST_CASE("ranks that the launcher's number does not fit") {
  if (!can_mpirun()) return;
  const Replay replay(2);
  const Outcome other = mpirun(2, onebit_command() + " " + replay.arguments("out", kMpi + " --ranks 3"));
  CHECK(other.status != 0);
  CHECK_SAYS(other, "--ranks asks for 3");
  const Outcome more = mpirun(3, onebit_command() + " " + replay.arguments("out", kMpi));
  CHECK(more.status != 0);
  CHECK_SAYS(more, " of 3] onebit: error: ");
  CHECK_SAYS(more, "'gradient/1/2/layer/0' is missing: the trace has ranks 0 to 1, the launcher started 3");
  const Outcome threads = mpirun(2, onebit_command() + " " + replay.arguments("out"));
  CHECK(threads.status != 0);
  CHECK_SAYS(threads, "add --set communicator.plugin=mpi");
  CHECK(!std::filesystem::exists(replay.folder / "out"));
}

TEST_CASE("a manifest with communicator mpi is checked without MPI") {
  if (!can_mpirun()) return;
  const ScratchFolder folder;
  folder.file("c.toml", manifest(2));
  // With this, MPI can't start.
  const Outcome outcome =
      run_shell("export OMPI_MCA_pml=none; " + onebit_command() + " check " + (folder / "c.toml").string() + kMpi);
  CHECK_MESSAGE(outcome.status == 0, outcome.text);
  CHECK_SAYS(outcome, "plugin = \"mpi\"");
}

TEST_CASE("a rank with another configuration ends all, and is named") {
  if (!can_mpirun()) return;
  const Replay replay(2);
  const auto outcome = run_shell(mpirun_command(1) + rank_with(replay.arguments("out", kMpi)) + " : -n 1 " +
                                 rank_with(replay.arguments("out", kMpi + " --set optimizer.lr=0.5")));
  CHECK(outcome.status != 0);
  CHECK_SAYS(outcome, "rank 1");
  CHECK_SAYS(outcome, "configuration or plugin versions");
  CHECK(!std::filesystem::exists(replay.folder / "out"));
}

TEST_CASE("a rank with another trace ends all, and is named with what differs") {
  if (!can_mpirun()) return;
  const Replay replay(2);
  write_trace(replay.folder / "longer", closed_form({5000, 33, 7, 1}, 2, 1, 7));
  const std::string other = "replay " + (replay.folder / "c.toml").string() + " --gradients " +
                            (replay.folder / "longer").string() + " --out " + (replay.folder / "out").string() + kMpi;
  const auto outcome = run_shell(mpirun_command(1) + rank_with(replay.arguments("out", kMpi)) + " : -n 1 " + rank_with(other));
  CHECK(outcome.status != 0);
  CHECK_SAYS(outcome, "rank 1 has another trace than rank 0: 'steps = 7' where rank 0 has 'steps = 6'");
}

TEST_CASE("a rank with another version of a plugin ends all, and is named") {
  if (!can_mpirun()) return;
  const Replay replay(2);
  replay.folder.file("c.toml", "[optimizer]\nplugin = \"descent\"\n[communicator]\nplugin = \"mpi\"\ntimeout = 60\n");
  const auto version = [](int number) {
    return std::string("ONEBIT_PLUGIN_PATH=" ONEBIT_BAD_PLUGINS "/descent_") + std::to_string(number) + ".so";
  };
  const auto run = [&](int other) {
    return run_shell(mpirun_command(1) + rank_with(replay.arguments("out"), version(1)) + " : -n 1 " +
                     rank_with(replay.arguments("out"), version(other)));
  };
  const auto mixed = run(2);
  CHECK(mixed.status != 0);
  CHECK_SAYS(mixed, "rank 1");
  CHECK_SAYS(mixed, "configuration or plugin versions");
  const auto same = run(1);
  CHECK_MESSAGE(same.status == 0, same.text);
}

namespace {

// Four ranks in the middle of a replay that takes a while, in dense or in compressed rounds. On a busy machine they come to
// their first collective seconds apart.
struct LongReplay {
  Replay replay;
  std::unique_ptr<BackgroundRun> run;
  explicit LongReplay(bool compressed) : replay(4, 400, 1, {64}) {
    replay.folder.file("c.toml",
                       std::string("[plugins]\npath = [\"" ONEBIT_BAD_PLUGINS "/descent_1.so\"]\n") +
                           "[optimizer]\nplugin = \"descent\"\npause = 0.05\ncompressed = " + (compressed ? "true" : "false") +
                           "\n[compressor]\nplugin = \"onebit\"\n[communicator]\nplugin = \"mpi\"\ntimeout = 10\n");
    run = std::make_unique<BackgroundRun>(replay.folder, 4, replay.arguments("out"));
    // Rank 0 opens its file once all ranks have met; soon after they are in their steps.
    const bool met = comes([&] { return begun(); }, 60s);
    REQUIRE_MESSAGE(met, run->said());
    std::this_thread::sleep_for(500ms);
    REQUIRE(!run->all_gone());
  }
  bool begun() const {
    for (const auto& entry : std::filesystem::directory_iterator(replay.folder.path()))
      if (entry.path().filename().string().starts_with(".out.")) return true;
    return false;
  }
  void check_over(const std::string& named) {
    const int status = run->ends(60s);
    const std::string said = run->said();
    CHECK_MESSAGE(status > 0, said);
    CHECK_MESSAGE(said.find(named) != std::string::npos, said);
    CHECK(comes([&] { return run->all_gone(); }, 5s));
    CHECK(!std::filesystem::exists(replay.folder / "out"));
  }
};

}  // namespace

TEST_CASE("a rank that is killed ends all ranks in seconds, dense stage") {
  if (!can_mpirun()) return;
  LongReplay replay(false);
  replay.run->signal(2, SIGKILL);
  replay.check_over("rank 2");
}

TEST_CASE("a rank that is killed ends all ranks in seconds, compressed stage") {
  if (!can_mpirun()) return;
  LongReplay replay(true);
  replay.run->signal(2, SIGKILL);
  replay.check_over("rank 2");
}

namespace {

void stop_one(bool compressed) {
  LongReplay replay(compressed);
  replay.run->signal(1, SIGSTOP);
  replay.check_over("rank 1");
  const std::string said = replay.run->said();
  CHECK_MESSAGE(said.find("nothing was heard for 10 s") != std::string::npos, said);
  CHECK_MESSAGE(said.find(" of 4] onebit: error: ") != std::string::npos, said);
}

}  // namespace

TEST_CASE("a rank that hangs ends all ranks within the timeout, which names it, dense stage") {
  if (can_mpirun()) stop_one(false);
}

TEST_CASE("a rank that hangs ends all ranks within the timeout, which names it, compressed stage") {
  if (can_mpirun()) stop_one(true);
}

namespace {

bool can_train() {
  if (ONEBIT_WITH_TORCH == 0) MESSAGE("SKIPPED: this build has no libtorch (ONEBIT_TORCH=OFF)");
  return ONEBIT_WITH_TORCH != 0 && can_mpirun();
}

struct Training {
  ScratchFolder folder;
  Training() { onebit::test::write_data_set(onebit::test::small_data_set(640, 200), folder.path()); }
  std::string arguments(const std::string& out, const std::string& more) const {
    return onebit_command() + " train " ONEBIT_SOURCE_DIR "/configs/onebit_adam.toml --out " + (folder / out).string() +
           " --set train.data_folder=" + folder.path().string() +
           " --set train.batch=16 --set train.log_every=10 --set optimizer.freeze_step=6 " + more;
  }
  nlohmann::json summary(const std::string& out) const {
    return nlohmann::json::parse(contents_of(folder / out / "summary.json"));
  }
};

}  // namespace

TEST_CASE("train on mpi ends with the bits of train on threads, and tells once") {
  if (!can_train()) return;
  const Training training;
  for (const int ranks : {2, 4}) {
    CAPTURE(ranks);
    const std::string one_epoch = " --set train.epochs=1 ";
    const Outcome threads = run_shell(training.arguments("threads", one_epoch + "--ranks " + std::to_string(ranks)));
    REQUIRE_MESSAGE(threads.status == 0, threads.text);
    const Outcome processes = mpirun(ranks, training.arguments("processes", one_epoch + kMpi));
    REQUIRE_MESSAGE(processes.status == 0, processes.text);
    CHECK_MESSAGE(count(processes.text, "epoch 1/1 done") == 1, processes.text);
    CHECK_MESSAGE(count(processes.text, "\r") == 0, processes.text);  // mpirun's output is not a terminal
    const nlohmann::json a = training.summary("threads"), b = training.summary("processes");
    CHECK(b["communicator"] == "mpi");
    CHECK(b["ranks"] == ranks);
    CHECK(b["machines"] == 1);
    for (const char* key : {"parameter_hash", "steps", "final_test_accuracy", "final_train_loss"})
      CHECK_MESSAGE(a[key] == b[key], std::string(key));
    for (const char* key : {"dense", "compressed", "agreement"})  // how often ranks ask whether to stop depends on the time
      CHECK_MESSAGE(a["bytes_sent"][key] == b["bytes_sent"][key], std::string(key));
  }
}

TEST_CASE("train starts mpirun itself, and its ranks hear Ctrl-C at the same step") {
  if (!can_train()) return;
  const Training training;
  const std::string metrics = (training.folder / "out/metrics.jsonl").string();
  // Open MPI's mpirun answers 1 whatever its ranks answer.
  const Outcome outcome =
      run_shell(training.arguments("out", kMpi + " --ranks 2 --set train.epochs=10000") + " & p=$!; while ! [ -s " + metrics +
                " ]; do kill -0 $p || exit 9; sleep 0.05; done; kill -INT $p; wait $p");
  CHECK(outcome.status != 0);
  CHECK_SAYS(outcome, "onebit: starting mpirun -n 2 ");
  CHECK_SAYS(outcome, "summary.json: interrupted");
  CHECK(training.summary("out")["interrupted"] == true);
}

TEST_CASE("told to stop, a rank that waits for one that does not come back ends after train.grace, and all ranks with it") {
  if (!can_train()) return;
  const Training training;
  BackgroundRun run(
      training.folder, 2,
      training.arguments("out", kMpi + " --set train.epochs=10000 --set train.grace=1").substr(onebit_command().size()));
  const auto metrics = training.folder / "out/metrics.jsonl";
  REQUIRE(comes([&] { return std::filesystem::exists(metrics) && std::filesystem::file_size(metrics) > 0; }, 120s));
  run.signal(1, SIGSTOP);
  run.signal(0, SIGTERM);
  const int status = run.ends(120s);  // communicator.timeout is 300 s
  CHECK_MESSAGE(status > 0, run.said());
  CHECK_MESSAGE(
      run.said().find("told to stop, but did not come to the end of a step within train.grace = 1 s") != std::string::npos,
      run.said());
  CHECK(comes([&] { return run.all_gone(); }, 30s));
  CHECK(!std::filesystem::exists(training.folder / "out/summary.json"));
}

TEST_CASE("a rank that trains otherwise ends all, and is named with what differs") {
  if (!can_train()) return;
  const Training training;
  const Outcome outcome = run_shell(mpirun_command(1) + training.arguments("out", kMpi) + " : -n 1 " +
                                    training.arguments("out", kMpi + " --set train.batch=32"));
  CHECK(outcome.status != 0);
  CHECK_SAYS(outcome, "rank 1 has another [train] than rank 0: 'batch = 32' where rank 0 has 'batch = 16'");
}
