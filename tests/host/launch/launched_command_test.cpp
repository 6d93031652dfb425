// SPDX-License-Identifier: Apache-2.0
// The command as torchrun starts it: one process a rank, told by the environment where to meet; the same bytes as on threads,
// one voice for all, and an end with a reason where ranks do not belong together.
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "support/held_port.hpp"
#include "support/recorded_trace.hpp"
#include "support/running.hpp"
#include "support/scratch_folder.hpp"
#include "support/small_data_set.hpp"

using onebit::test::closed_form;
using onebit::test::HeldPort;
using onebit::test::onebit_command;
using onebit::test::Outcome;
using onebit::test::run_onebit;
using onebit::test::run_shell;
using onebit::test::write_trace;

namespace {

const std::string kMeeting = " --set communicator.plugin=meeting";

std::string manifest(const std::string& more = "") {
  return "[optimizer]\nplugin = \"onebit_adam\"\nlr = 1e-2\nfreeze_step = 2\n[compressor]\nplugin = \"onebit\"\nblock = 64\n"
         "[communicator]\nplugin = \"threads\"\n[exchange]\nbucket_bytes = 4096\n" +
         more + "[plugins]\npath = [\"" ONEBIT_BAD_PLUGINS "/meeting.so\"]\n";
}

struct Replay {
  ScratchFolder folder;
  explicit Replay(int ranks, const std::string& more = "") {
    folder.file("c.toml", manifest(more));
    write_trace(folder / "in", closed_form({5000, 33, 7, 1}, ranks, 1, 6));
  }
  std::string arguments(const std::string& out, const std::string& more = "") const {
    return "replay " + (folder / "c.toml").string() + " --gradients " + (folder / "in").string() + " --out " +
           (folder / out).string() + " " + more;
  }
};

// For a shell: what rank `rank` of `size` is told.
std::string told(int rank, int size, uint16_t port, const std::string& more = "") {
  const std::string r = std::to_string(rank), n = std::to_string(size);
  return "env -u OMPI_COMM_WORLD_RANK -u PMI_RANK -u SLURM_PROCID RANK=" + r + " WORLD_SIZE=" + n + " LOCAL_RANK=" + r +
         " LOCAL_WORLD_SIZE=" + n + " MASTER_ADDR=127.0.0.1 MASTER_PORT=" + std::to_string(port) + " " + more + " timeout 120 ";
}

// The same by srun's own words, with no more than where to meet besides.
std::string told_by_srun(int rank, int size, uint16_t port, const std::string& more = "") {
  const std::string r = std::to_string(rank), n = std::to_string(size);
  return "env -u OMPI_COMM_WORLD_RANK -u PMI_RANK SLURM_PROCID=" + r + " SLURM_STEP_NUM_TASKS=" + n + " SLURM_LOCALID=" + r +
         " MASTER_ADDR=127.0.0.1 MASTER_PORT=" + std::to_string(port) + " " + more + " timeout 120 ";
}

// All ranks at once, rank 0 last; the exit status is the number of those that failed.
Outcome launch(int size, const std::string& arguments, decltype(told)& tell = told) {
  const HeldPort port;
  std::string script, wait = "failed=0";
  for (int rank = size; rank-- > 0;) {
    script += tell(rank, size, port.port(), "") + onebit_command() + " " + arguments + " & p" + std::to_string(rank) + "=$!\n";
    wait += "; wait $p" + std::to_string(rank) + " || failed=$((failed + 1))";
  }
  return run_shell(script + wait + "; exit $failed");
}

size_t count(const std::string& text, const std::string& part) {
  size_t found = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

}  // namespace

TEST_CASE("replay on launched processes writes the file that replay writes on threads") {
  for (const int ranks : {1, 2, 4}) {
    CAPTURE(ranks);
    const Replay replay(ranks);
    const Outcome threads = run_onebit(replay.arguments("threads", "--ranks " + std::to_string(ranks)));
    REQUIRE_MESSAGE(threads.status == 0, threads.text);
    const Outcome processes = launch(ranks, replay.arguments("processes", kMeeting));
    REQUIRE_MESSAGE(processes.status == 0, processes.text);
    CHECK(contents_of(replay.folder / "processes") == contents_of(replay.folder / "threads"));
    CHECK_MESSAGE(count(processes.text, "tensors after steps 1 to 6") == 1, processes.text);
  }
}

TEST_CASE("processes that another launcher started need no more than a place to meet") {
  const Replay replay(2);
  REQUIRE(run_onebit(replay.arguments("threads")).status == 0);
  const Outcome processes = launch(2, replay.arguments("processes", kMeeting), told_by_srun);
  CHECK_MESSAGE(processes.status == 0, processes.text);
  CHECK(contents_of(replay.folder / "processes") == contents_of(replay.folder / "threads"));
}

TEST_CASE("where nobody has started processes, the ranks of such a communicator are processes that the command starts") {
  const Replay replay(3);
  REQUIRE(run_onebit(replay.arguments("threads")).status == 0);
  const Outcome meeting = run_onebit(replay.arguments("meeting", kMeeting));
  CHECK_MESSAGE(meeting.status == 0, meeting.text);
  CHECK_SAYS(meeting, "onebit: starting 3 processes of this machine, one for each rank\n");
  CHECK(contents_of(replay.folder / "meeting") == contents_of(replay.folder / "threads"));
}

TEST_CASE("training on launched processes") {
  if (ONEBIT_WITH_TORCH == 0) {
    MESSAGE("SKIPPED: this build has no libtorch (ONEBIT_TORCH=OFF)");
    return;
  }
  const ScratchFolder folder;
  onebit::test::write_data_set(onebit::test::small_data_set(640, 200), folder.path());
  folder.file("c.toml", manifest("[train]\nmodel = \"cnn\"\nbatch = 16\n"));
  const auto train = [&](const std::string& name) {
    return "train " + (folder / "c.toml").string() + " --set train.data_folder=" + folder.path().string() + " --out " +
           (folder / name).string();
  };
  const auto summary = [&](const std::string& name) {
    return nlohmann::json::parse(contents_of(folder / name / "summary.json"));
  };
  const Outcome threads = run_onebit(train("threads") + " --ranks 2");
  REQUIRE_MESSAGE(threads.status == 0, threads.text);
  const Outcome processes = launch(2, train("processes") + kMeeting);
  REQUIRE_MESSAGE(processes.status == 0, processes.text);
  CHECK(summary("processes").at("ranks") == 2);
  CHECK(summary("processes").at("parameter_hash") == summary("threads").at("parameter_hash"));
  CHECK(count(processes.text, "communicator meeting") == 1);
}

TEST_CASE("communicators that can't join launched processes say so instead of going on apart") {
  const Replay replay(2);
  const Outcome threads = run_shell(told(0, 2, 1) + onebit_command() + " " + replay.arguments("out"));
  CHECK(threads.status == 1);
  CHECK_SAYS(threads,
             "[rank 0 of 2] onebit: error: a launcher such as torchrun started 2 processes, but the ranks of communicator "
             "'threads' are threads of one process: 2 copies of this run would go on apart; add --set "
             "communicator.plugin=meeting or --set communicator.plugin=tcp; or without that launcher (RANK not set) type "
             "`onebit replay ");
  const Outcome more = run_shell(told(0, 2, 1) + onebit_command() + " " + replay.arguments("out", kMeeting + " --ranks 3"));
  CHECK(more.status == 1);
  CHECK_SAYS(more, "--ranks asks for 3");
  const Outcome half = run_shell("env RANK=0 " + onebit_command() + " " + replay.arguments("out"));
  CHECK(half.status == 1);
  CHECK_SAYS(half, "WORLD_SIZE is not set, but RANK is");
  CHECK(!std::filesystem::exists(replay.folder / "out"));
}

TEST_CASE("a rank of another job is turned away, and says whose") {
  const Replay replay(4);
  const HeldPort port;
  const std::string run = onebit_command() + " " + replay.arguments("out", kMeeting);
  const Outcome outcome =
      run_shell("( " + told(0, 4, port.port(), "TORCHELASTIC_RUN_ID=one") + run + " ) & " +
                told(1, 4, port.port(), "TORCHELASTIC_RUN_ID=two") + run + "; echo status $?; kill $!; wait $!; exit 0");
  CHECK_SAYS(outcome,
             "[rank 1 of 4] onebit: error: rank 1 cannot join rank 0's rendezvous at 127.0.0.1:" + std::to_string(port.port()) +
                 ": rank 0 there belongs to another job: give each job a port of its own (ONEBIT_PORT)\nstatus 1");
}

namespace {

// Of the commands that an error offers in `...`, the one with this word.
std::string offered(const std::string& text, const std::string& word) {
  for (size_t begin = text.find('`'); begin != std::string::npos;) {
    const size_t end = text.find('`', begin + 1);
    const std::string command = text.substr(begin + 1, end - begin - 1);
    if (command.find(word) != std::string::npos) return command;
    begin = text.find('`', end + 1);
  }
  return "false";
}

}  // namespace

TEST_CASE("the command that an error offers under torchrun works when it is typed") {
  const Replay replay(2);
  const Outcome refused = run_shell(told(0, 2, 1) + onebit_command() + " " + replay.arguments("out"));
  const Outcome typed = run_shell("PATH=" ONEBIT_BINARY_DIR "/bin:$PATH; " + offered(refused.text, "--ranks 2"));
  CHECK_MESSAGE(typed.status == 0, (refused.text + typed.text));
  CHECK(std::filesystem::exists(replay.folder / "out"));
}

TEST_CASE("a launcher that started one process leaves the number of ranks to the user") {
  const Replay replay(2);
  REQUIRE(run_onebit(replay.arguments("threads")).status == 0);
  for (const char* left : {"RANK=0 WORLD_SIZE=1 LOCAL_RANK=0 ", "SLURM_PROCID=0 SLURM_STEP_NUM_TASKS=1 SLURM_LOCALID=0 ",
                           "OMPI_COMM_WORLD_RANK=0 OMPI_COMM_WORLD_SIZE=1 ", "PMI_RANK=0 PMI_SIZE=1 ", "PMIX_RANK=0 "})
    for (const std::string& more : {std::string(), kMeeting, std::string(" --ranks 2")}) {
      const Outcome outcome = run_shell(left + onebit_command() + " " + replay.arguments("out", more));
      CHECK_MESSAGE(outcome.status == 0, outcome.text);
      CHECK(contents_of(replay.folder / "out") == contents_of(replay.folder / "threads"));
    }
}

TEST_CASE("the local rank on the command line, as DeepSpeed's launcher puts it there") {
  const Replay replay(2);
  const std::string arguments = replay.arguments("out");
  for (const std::string& line : {"--local_rank=0 " + arguments, "--local-rank=0 " + arguments, arguments + "--local_rank=0",
                                  arguments + "--local-rank 0"}) {
    const Outcome outcome = run_shell("RANK=0 WORLD_SIZE=1 LOCAL_RANK=0 LOCAL_SIZE=1 " + onebit_command() + " " + line);
    CHECK_MESSAGE(outcome.status == 0, outcome.text);
    CHECK_MESSAGE(run_shell(onebit_command() + " " + line).status == 0, line);
  }
  const Outcome other = run_shell("RANK=0 WORLD_SIZE=2 LOCAL_RANK=0 " + onebit_command() + " --local_rank=1 " + arguments);
  CHECK(other.status == 1);
  CHECK_SAYS(other, "onebit: error: --local_rank is 1, but LOCAL_RANK is '0': a launcher gives both the same number");
  CHECK(run_shell(onebit_command() + " --local_rank=-1 " + arguments).status == 2);
  CHECK(run_shell(onebit_command() + " --local_rank=x " + arguments).status == 2);
}

TEST_CASE("an address of rank 0 that cannot be one is refused at once") {
  const Replay replay(2);
  const std::string run = onebit_command() + " " + replay.arguments("out", kMeeting);
  for (const char* address : {"127.0.0.1:29555", "tcp://127.0.0.1", "'[::1]:29500'", "10.0.0.300"}) {
    const Outcome outcome = run_shell(told(1, 2, 29500, std::string("MASTER_ADDR=") + address) + run);
    CHECK(outcome.status == 1);
    CHECK_SAYS(outcome, "[rank 1 of 2] onebit: error: MASTER_ADDR is '");
  }
  const Outcome half = run_shell("WORLD_SIZE=2 " + run);
  CHECK(half.status == 1);
  CHECK_SAYS(half, "RANK is not set, but WORLD_SIZE is");
}

TEST_CASE("launchers that do not fit together are told once, where one may be right") {
  const Replay replay(2);
  const std::string run = " OMPI_COMM_WORLD_SIZE=2 " + onebit_command() + " " + replay.arguments("out");
  const std::string doubt =
      "onebit: warning: OMPI_COMM_WORLD_RANK=0, OMPI_COMM_WORLD_SIZE=2 (mpirun) is believed, but SLURM_PROCID=3, "
      "SLURM_STEP_NUM_TASKS=4 (srun) says otherwise";
  const std::string slurm = "SLURM_PROCID=3 SLURM_STEP_NUM_TASKS=4 ";
  const Outcome first = run_shell(slurm + "OMPI_COMM_WORLD_RANK=0" + run);
  CHECK(first.status == 1);
  CHECK_SAYS(first, doubt);
  const Outcome second = run_shell(slurm + "OMPI_COMM_WORLD_RANK=1" + run);
  CHECK(second.status == 1);
  CHECK(second.text.find("warning") == std::string::npos);
}
