// SPDX-License-Identifier: Apache-2.0
// Where ranks are placed: what launchers tell, what fits them, and how this process becomes mpirun.
#include "launch/placement.hpp"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <string>

#include "launch/launcher.hpp"
#include "onebit/error.hpp"
#include "support/environment.hpp"
#include "support/scratch_folder.hpp"

using onebit::Error;
using onebit::host::CommunicatorsThere;
using onebit::host::launched;
using onebit::host::place_ranks;
using onebit::host::Ranks;
using onebit::host::RanksAsked;
using onebit::host::speaker;
using onebit::test::Environment;
using onebit::test::Variables;

namespace {

// A communicator that was selected; only what placing looks at.
struct Selected {
  explicit Selected(const std::string& name) {
    component.name = name;
    component.device = name == "nccl" ? ONEBIT_DEVICE_CUDA : ONEBIT_DEVICE_CPU;
    component.capabilities = name == "mpi" ? ONEBIT_CAPABILITY_PROCESSES : name == "threads" ? ONEBIT_CAPABILITY_THREADS : 0;
    selection.component = &component;
  }
  onebit::ComponentInfo component{};
  onebit::Selection selection;
};

const CommunicatorsThere kCpus = {{"threads"}, {"mpi"}, {}}, kGpus = {{}, {"mpi"}, {"nccl"}};

Ranks place(const std::string& communicator, const RanksAsked& asked, const CommunicatorsThere& there = kCpus) {
  const Selected selected(communicator);
  return place_ranks(selected.selection, asked, {"train", "a file.toml", "--ranks", "3"}, there);
}
const RanksAsked four_typed = {4, "--ranks", true}, four_configured = {4, "train.ranks =", false};

}  // namespace

TEST_CASE("launchers tell rank and size, each in its own way") {
  const auto told = [](const Variables& variables) {
    const Environment environment(variables);
    const auto found = launched();
    return found ? found->by + " " + std::to_string(found->rank) + "/" + std::to_string(found->size) + " " + speaker() : "-";
  };
  CHECK(told({}) == "-");
  CHECK(told({{"OMPI_COMM_WORLD_RANK", "2"}, {"OMPI_COMM_WORLD_SIZE", "4"}}) == "mpirun 2/4 [rank 2 of 4] ");
  CHECK(told({{"PMI_RANK", "0"}, {"PMI_SIZE", "2"}}) == "mpirun 0/2 [rank 0 of 2] ");
  CHECK(told({{"SLURM_PROCID", "11"}, {"SLURM_STEP_NUM_TASKS", "12"}, {"PMIX_RANK", "11"}}) == "srun 11/12 [rank 11 of 12] ");
  CHECK(told({{"PMIX_RANK", "3"}}) == "a launcher 3/0 [rank 3] ");
  CHECK(told({{"OMPI_COMM_WORLD_RANK", "0"}, {"OMPI_COMM_WORLD_SIZE", "1"}}) == "mpirun 0/1 ");  // alone: no need to say who
  CHECK(told({{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "4"}}) == "-");  // a batch script, which runs once
  CHECK(told({{"OMPI_COMM_WORLD_RANK", "x"}, {"OMPI_COMM_WORLD_SIZE", "4"}}) == "-");
  CHECK(told({{"PMI_RANK", "4"}, {"PMI_SIZE", "4"}}) == "-");
  CHECK(told({{"PMI_RANK", "1 "}, {"PMI_SIZE", "4"}}) == "-");
  CHECK(told({{"PMI_RANK", "-1"}, {"PMI_SIZE", "4"}}) == "-");
  CHECK(told({{"JSM_NAMESPACE_RANK", "1"}, {"JSM_NAMESPACE_SIZE", "2"}}) == "jsrun 1/2 [rank 1 of 2] ");
  CHECK(told({{"FLUX_TASK_RANK", "1"}, {"FLUX_JOB_SIZE", "2"}}) == "flux 1/2 [rank 1 of 2] ");
  CHECK(told({{"MV2_COMM_WORLD_RANK", "1"}, {"MV2_COMM_WORLD_SIZE", "2"}}) == "mpirun 1/2 [rank 1 of 2] ");
  CHECK(told({{"HOROVOD_RANK", "1"}, {"HOROVOD_SIZE", "2"}}) == "horovodrun 1/2 [rank 1 of 2] ");
  CHECK(told({{"PALS_RANKID", "2"}}) == "mpiexec 2/0 [rank 2] ");
  CHECK(told({{"ALPS_APP_PE", "2"}}) == "aprun 2/0 [rank 2] ");
  CHECK(told({{"PMI_RANK", "2"}}) == "mpirun 2/0 [rank 2] ");
}

TEST_CASE("a launcher that started one process is believed less than one that started many") {
  const auto told = [](const Variables& variables) {
    const Environment environment(variables);
    return launched()->by + " " + std::to_string(launched()->size) + " " + std::to_string(launched()->local);
  };
  const Variables many = {{"OMPI_COMM_WORLD_RANK", "3"}, {"OMPI_COMM_WORLD_SIZE", "4"}, {"OMPI_COMM_WORLD_LOCAL_RANK", "1"}};
  for (const Variables& alone : {Variables{{"RANK", "0"}, {"WORLD_SIZE", "1"}, {"LOCAL_RANK", "0"}},
                                 Variables{{"SLURM_PROCID", "0"}, {"SLURM_STEP_NUM_TASKS", "1"}, {"SLURM_LOCALID", "0"}},
                                 Variables{{"PMI_RANK", "0"}, {"PMI_SIZE", "1"}}, Variables{{"PMIX_RANK", "0"}}}) {
    Variables both = many;
    both.insert(both.end(), alone.begin(), alone.end());
    CHECK(told(both) == "mpirun 4 1");
  }
}

TEST_CASE("ranks of a machine have a CUDA device each, counted by threads or by the launcher") {
  const auto number = [](const Variables& variables, size_t place) {
    const Environment environment(variables);
    const onebit::host::ModelDevice device = onebit::host::device_of("cuda", place);
    return device.type == ONEBIT_DEVICE_CUDA ? device.number : -1;
  };
  CHECK(number({}, 0) == 0);
  CHECK(number({}, 3) == 3);
  CHECK(number({{"OMPI_COMM_WORLD_RANK", "6"}, {"OMPI_COMM_WORLD_SIZE", "8"}, {"OMPI_COMM_WORLD_LOCAL_RANK", "2"}}, 0) == 2);
  CHECK(number({{"PMI_RANK", "6"}, {"PMI_SIZE", "8"}, {"MPI_LOCALRANKID", "1"}}, 0) == 1);
  CHECK(number({{"SLURM_PROCID", "6"}, {"SLURM_STEP_NUM_TASKS", "8"}, {"SLURM_LOCALID", "0"}}, 0) == 0);
  CHECK(number({{"PMIX_RANK", "6"}}, 0) == 6);  // it does not say; devices are dealt out in turn
  CHECK(number({{"PMI_RANK", "0"}, {"PMI_SIZE", "1"}, {"MPI_LOCALRANKID", "0"}}, 2) == 2);  // threads of one launched process
  const Environment launched_by(Variables{{"PMI_RANK", "6"}, {"PMI_SIZE", "8"}, {"MPI_LOCALRANKID", "1"}});
  CHECK(onebit::host::device_of("cpu", 3).type == ONEBIT_DEVICE_CPU);
  CHECK(onebit::host::device_of("cpu", 3).number == 0);
}

TEST_CASE("threads run here, all of them, unless a launcher has started copies of this process") {
  const Environment nobody(Variables{});
  CHECK(place("threads", four_typed).here() == 4);
  CHECK(place("threads", four_configured).size() == 4);
  CHECK_THROWS_WITH_AS(place("threads", {65, "--ranks", true}), "--ranks 65: expected a number of ranks from 1 to 64", Error);
  CHECK_THROWS_WITH_AS(place("threads", {0, "train.ranks =", false}),
                       "train.ranks = 0: expected a number of ranks from 1 to 64", Error);
  const Environment alone(Variables{{"PMI_RANK", "0"}, {"PMI_SIZE", "1"}});
  CHECK(place("threads", four_typed).here() == 4);
  const Environment copies(Variables{{"OMPI_COMM_WORLD_RANK", "1"}, {"OMPI_COMM_WORLD_SIZE", "4"}});
  CHECK_THROWS_WITH_AS(
      place("threads", four_typed),
      doctest::Contains("copies of this run would go on apart; add --set communicator.plugin=mpi; or without that "
                        "launcher (OMPI_COMM_WORLD_RANK not set) type `onebit train 'a file.toml' --ranks 4` "
                        "for threads of one process"),
      Error);
}

TEST_CASE("a launched process is one rank of as many as its launcher started") {
  const Environment four(Variables{{"OMPI_COMM_WORLD_RANK", "1"}, {"OMPI_COMM_WORLD_SIZE", "4"}});
  for (const RanksAsked& asked : {four_typed, four_configured, RanksAsked{2, "train.ranks =", false}}) {
    const Ranks ranks = place("mpi", asked);
    CHECK(ranks.here() == 1);
    CHECK(ranks.size() == 4);
  }
  CHECK_THROWS_WITH_AS(place("mpi", {2, "--ranks", true}), doctest::Contains("--ranks 2, but mpirun started 4"), Error);
  const Environment unknown(Variables{{"PMIX_RANK", "1"}, {"OMPI_COMM_WORLD_RANK", ""}});
  CHECK(place("mpi", four_typed).size() == 0);
}

namespace {

// As torchrun starts rank 1 of 4.
const Variables kTorchrun = {
    {"RANK", "1"},           {"WORLD_SIZE", "4"}, {"LOCAL_RANK", "1"}, {"LOCAL_WORLD_SIZE", "2"}, {"MASTER_ADDR", "node0"},
    {"MASTER_PORT", "29500"}};

Variables and_also(Variables variables, const Variables& more) {
  variables.insert(variables.end(), more.begin(), more.end());
  return variables;
}

}  // namespace

TEST_CASE("communicators that meet at a rendezvous are one rank of those that torchrun started") {
  const Environment four(kTorchrun);
  for (const RanksAsked& asked : {four_typed, four_configured, RanksAsked{2, "train.ranks =", false}}) {
    const Ranks ranks = place("nccl", asked);
    CHECK(ranks.here() == 1);
    CHECK(ranks.size() == 4);
  }
  CHECK_THROWS_WITH_AS(place("nccl", {2, "--ranks", true}),
                       "--ranks 2, but a launcher such as torchrun (WORLD_SIZE) started 4; leave --ranks out: the "
                       "launcher's number is the one that counts",
                       Error);
  CHECK(speaker() == "[rank 1 of 4] ");
  const Environment many(and_also(kTorchrun, {{"WORLD_SIZE", "5000"}}));
  CHECK_THROWS_WITH_AS(place("nccl", four_configured), "WORLD_SIZE 5000: expected a number of ranks from 1 to 4096", Error);
  const Environment half(and_also(kTorchrun, {{"MASTER_ADDR", ""}}));
  CHECK_THROWS_WITH_AS(place("nccl", four_configured), doctest::Contains("MASTER_ADDR is not set"), Error);
}

TEST_CASE("communicators of a GPU that meet at a rendezvous have threads where nobody started processes") {
  const Environment nobody(Variables{});
  CHECK(place("nccl", four_typed).here() == 4);
  const Environment alone(Variables{{"RANK", "0"}, {"WORLD_SIZE", "1"}});
  CHECK(place("nccl", four_configured).here() == 4);  // a launcher that started one process says little
  CHECK(place("nccl", four_typed).here() == 4);
  CHECK(place("nccl", {1, "--ranks", true}).here() == 1);
}

TEST_CASE("communicators that meet at a rendezvous take rank and size from any launcher, where they are told where to meet") {
  const Variables by_mpirun = {{"OMPI_COMM_WORLD_RANK", "1"}, {"OMPI_COMM_WORLD_SIZE", "4"}};
  const Environment told(and_also(by_mpirun, {{"MASTER_ADDR", "node0"}, {"MASTER_PORT", "29500"}}));
  const Ranks ranks = place("nccl", four_configured, kGpus);
  CHECK(ranks.here() == 1);
  CHECK(ranks.size() == 4);
  CHECK_THROWS_WITH_AS(place("nccl", {2, "--ranks", true}, kGpus), doctest::Contains("--ranks 2, but mpirun started 4"), Error);
}

namespace {

std::string refusal_of(const std::string& communicator, const CommunicatorsThere& there) {
  try {
    place(communicator, four_typed, there);
  } catch (const Error& e) {
    return e.what();
  }
  return "placed";
}

bool offers(const std::string& text, const std::string& way) { return text.find(way) != std::string::npos; }

}  // namespace

TEST_CASE("what is offered in place of a run that cannot be is there, and can be typed") {
  const Environment four(kTorchrun);
  const std::string apart = "without that launcher (RANK not set) type ", of_threads = "`onebit train 'a file.toml' --ranks 4`",
                    of_mpi = "`onebit train 'a file.toml' --set communicator.plugin=mpi --ranks 4`";
  const std::string threads = refusal_of("threads", kCpus), mpi = refusal_of("mpi", kCpus), on_gpus = refusal_of("mpi", kGpus);
  CHECK_MESSAGE(offers(threads, apart + of_threads + " for threads of one process, or " + of_mpi + " for processes"), threads);
  CHECK_MESSAGE(!offers(threads, "nccl"), threads);
  CHECK_MESSAGE(offers(mpi, "a launcher such as torchrun started 4 processes (RANK=1, WORLD_SIZE=4), but the ranks of"), mpi);
  CHECK_MESSAGE(offers(mpi, "`onebit train 'a file.toml' --set communicator.plugin=threads --ranks 4` for threads"), mpi);
  CHECK_MESSAGE(offers(mpi, "or `onebit train 'a file.toml' --ranks 4` for processes"), mpi);
  CHECK_MESSAGE(!offers(mpi, "nccl"), mpi);
  CHECK_MESSAGE(offers(on_gpus, "starts; add --set communicator.plugin=nccl; or without"), on_gpus);
  CHECK_MESSAGE(!offers(on_gpus, "threads"), on_gpus);
  CHECK_MESSAGE(offers(refusal_of("threads", {}), "would go on apart; start one process"), refusal_of("threads", {}));
}

TEST_CASE("the command that is offered is the user's, but for what decides where ranks live") {
  const auto command = [](const std::vector<std::string>& arguments) {
    const std::string text =
        onebit::host::ways_out({{"torchrun", "RANK=1, WORLD_SIZE=4", 1, 4, 1, false}, "nccl", 4, arguments}, {{}, {"mpi"}, {}});
    return text.substr(text.find('`') + 1, text.rfind('`') - text.find('`') - 1);
  };
  const std::string expected = "onebit train a.toml --set optimizer.lr=1 --set communicator.plugin=mpi --ranks 4";
  CHECK(command({"--local_rank=1", "train", "a.toml", "--set", "optimizer.lr=1", "--ranks", "2"}) == expected);
  CHECK(command({"train", "a.toml", "--set", "communicator.plugin=nccl", "--set", "optimizer.lr=1"}) == expected);
  CHECK(command({"train", "a.toml", "--set=communicator.plugin=nccl", "--set", "optimizer.lr=1", "--local-rank", "1"}) ==
        expected);
}

TEST_CASE("copies of one run that know nothing of each other are refused") {
  const Environment by_mpirun(Variables{{"OMPI_COMM_WORLD_RANK", "1"}, {"OMPI_COMM_WORLD_SIZE", "4"}});
  CHECK_THROWS_WITH_AS(
      place("nccl", four_typed),
      doctest::Contains("mpirun started 4 processes, but communicator 'nccl' does not know of them by itself: 4 "
                        "copies of this run would go on apart; give all of them the same MASTER_ADDR (rank "
                        "0's machine) and MASTER_PORT"),
      Error);
  const Environment nonsense(Variables{{"RANK", "one"}, {"WORLD_SIZE", "4"}});
  CHECK_THROWS_WITH_AS(place("threads", four_typed), doctest::Contains("RANK is 'one'"), Error);
  const Environment half(Variables{{"RANK", "1"}});
  CHECK_THROWS_WITH_AS(place("threads", four_typed), doctest::Contains("WORLD_SIZE is not set, but RANK is"), Error);
  const Environment alone(
      Variables{{"RANK", "0"}, {"WORLD_SIZE", "1"}, {"OMPI_COMM_WORLD_RANK", "1"}, {"OMPI_COMM_WORLD_SIZE", "4"}});
  CHECK_THROWS_WITH_AS(place("threads", four_typed), doctest::Contains("mpirun started 4 processes"), Error);
}

TEST_CASE("of several launchers the innermost is believed") {
  const Environment nested(and_also(kTorchrun, {{"SLURM_PROCID", "0"}, {"SLURM_STEP_NUM_TASKS", "2"}}));
  CHECK(place("nccl", four_typed).size() == 4);
  CHECK(launched()->rank == 1);
  CHECK(launched()->size == 4);
  CHECK_THROWS_WITH_AS(place("mpi", four_configured), doctest::Contains("torchrun started 4 processes"), Error);  // MPI's are 2
  const Environment torch_inside(Variables{{"RANK", "0"}, {"WORLD_SIZE", "1"}, {"PMI_RANK", "1"}, {"PMI_SIZE", "2"}});
  CHECK(place("mpi", {2, "--ranks", true}).size() == 2);
  const Environment same(and_also(kTorchrun, {{"SLURM_PROCID", "1"}, {"SLURM_STEP_NUM_TASKS", "4"}}));
  CHECK(place("mpi", four_configured).size() == 4);
}

TEST_CASE("launchers that contradict each other, or themselves, are told by their variables") {
  const Environment two(and_also(kTorchrun, {{"OMPI_COMM_WORLD_RANK", "0"}, {"OMPI_COMM_WORLD_SIZE", "8"}}));
  for (const char* communicator : {"threads", "mpi", "nccl"})
    CHECK_THROWS_WITH_AS(place(communicator, four_configured),
                         "two launchers contradict each other: RANK=1, WORLD_SIZE=4 (a launcher such as torchrun), but "
                         "OMPI_COMM_WORLD_RANK=0, OMPI_COMM_WORLD_SIZE=8 (mpirun); unset those of the one that did not start "
                         "this process",
                         Error);
  const Environment nonsense(Variables{{"OMPI_COMM_WORLD_RANK", "4"}, {"OMPI_COMM_WORLD_SIZE", "4"}});
  for (const char* communicator : {"threads", "mpi", "nccl"})
    CHECK_THROWS_WITH_AS(place(communicator, four_configured),
                         "OMPI_COMM_WORLD_RANK is 4, but OMPI_COMM_WORLD_SIZE is 4: ranks are counted from 0 to 3", Error);
}

TEST_CASE("one rank needs no launcher, and too many are refused") {
  const Environment nobody(Variables{});
  CHECK(place("mpi", {1, "--ranks", true}).size() == 1);
  CHECK_THROWS_WITH_AS(place("mpi", {4097, "--ranks", true}), doctest::Contains("from 1 to 4096"), Error);
}

TEST_CASE("without mpirun, it is said what to install and what to type") {
  const ScratchFolder folder;
  const std::string path = folder.path().string();
  const Environment nobody(Variables{{"PATH", path}});
  CHECK_THROWS_WITH_AS(place("mpi", four_typed), doctest::Contains("apt-get install openmpi-bin"), Error);
  CHECK_THROWS_WITH_AS(place("mpi", four_typed), doctest::Contains("mpirun -n 4 /"), Error);
  CHECK_THROWS_WITH_AS(place("mpi", four_typed), doctest::Contains(" train 'a file.toml' --ranks 3"), Error);
  folder.file("mpirun", "not executable");
  CHECK_THROWS_WITH_AS(place("mpi", four_typed), doctest::Contains("no mpirun in PATH"), Error);
}

TEST_CASE("an mpirun that gives no rank is not started again and again") {
  const Environment nobody(Variables{{"ONEBIT_STARTED_MPIRUN", "1"}});
  CHECK_THROWS_WITH_AS(place("mpi", four_typed), doctest::Contains("finds no rank in its environment"), Error);
}

namespace {

// What an mpirun was given and found in its environment, and what this process said, which became it.
struct Become {
  std::string told, said;
};
Become become(const Variables& variables) {
  const ScratchFolder folder;
  const auto told = folder / "told", said = folder / "said";
  folder.file("mpirun", "#!/bin/sh\nprintf '%s\\n' \"$@\" >'" + told.string() +
                            "'\necho $ONEBIT_STARTED_MPIRUN $OMPI_ALLOW_RUN_AS_ROOT$OMPI_ALLOW_RUN_AS_ROOT_CONFIRM "
                            "$OMPI_COMM_WORLD_SIZE$PMI_SIZE$PMIX_RANK$OMPI_MCA_btl >>'" +
                            told.string() + "'\nexit 7\n");
  std::filesystem::permissions(folder / "mpirun", std::filesystem::perms::owner_all);
  std::fflush(nullptr);  // or the child would write it as well
  const pid_t child = ::fork();
  if (child == 0) {
    const Environment only(and_also({{"PATH", folder.path().string() + ":/usr/bin:/bin"}}, variables));
    if (std::freopen(said.c_str(), "w", stderr) == nullptr) ::_exit(2);
    try {
      place("mpi", four_configured);
    } catch (const Error& e) {
      std::fprintf(stderr, "%s\n", e.what());
    }
    ::_exit(1);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK_MESSAGE(WEXITSTATUS(status) == 7, contents_of(said));
  return {contents_of(told), contents_of(said)};
}

std::string own_file() { return std::filesystem::read_symlink("/proc/self/exe").string(); }

}  // namespace

TEST_CASE("this process becomes mpirun, with its own arguments") {
  const Become found = become({});
  CHECK(found.told == "-n\n4\n" + own_file() + "\ntrain\na file.toml\n--ranks\n3\n1 11\n");
  CHECK(found.said.find("started this process alone") == std::string::npos);
}

TEST_CASE("what a launcher of one process has left in a shell is told, and the ranks that were asked for are started") {
  struct Left {
    Variables variables;
    const char* said;
  };
  const Left left[] = {
      {{{"SLURM_PROCID", "0"}, {"SLURM_STEP_NUM_TASKS", "1"}, {"SLURM_LOCALID", "0"}},
       "onebit: srun started this process alone (SLURM_PROCID=0, SLURM_STEP_NUM_TASKS=1), so train.ranks = 4 counts: "
       "ranks are processes that mpirun starts; for one rank, --ranks 1\n"},
      {{{"OMPI_COMM_WORLD_RANK", "0"}, {"OMPI_COMM_WORLD_SIZE", "1"}, {"PMIX_RANK", "0"}},
       "onebit: mpirun started this process alone (OMPI_COMM_WORLD_RANK=0, OMPI_COMM_WORLD_SIZE=1)"},
      {{{"PMI_RANK", "0"}, {"PMI_SIZE", "1"}}, "onebit: mpirun started this process alone (PMI_RANK=0, PMI_SIZE=1)"},
      {{{"RANK", "0"}, {"WORLD_SIZE", "1"}}, "onebit: a launcher such as torchrun started this process alone"},
  };
  for (const Left& one : left) {
    const Become found = become(one.variables);
    CHECK(found.told == "-n\n4\n" + own_file() + "\ntrain\na file.toml\n--ranks\n3\n1 11\n");
    CHECK_MESSAGE(found.said.find(one.said) == 0, found.said);
  }
}
