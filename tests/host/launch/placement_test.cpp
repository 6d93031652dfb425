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
    component.capabilities = name == "mpi" ? ONEBIT_CAPABILITY_PROCESSES : name == "threads" ? ONEBIT_CAPABILITY_THREADS : 0;
    selection.component = &component;
  }
  onebit::ComponentInfo component{};
  onebit::Selection selection;
};

Ranks place(const std::string& communicator, const RanksAsked& asked) {
  const Selected selected(communicator);
  return place_ranks(selected.selection, asked, {"train", "a file.toml", "--ranks", "3"});
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
  CHECK_THROWS_WITH_AS(place("threads", four_typed), doctest::Contains("add --set communicator.plugin=mpi"), Error);
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

TEST_CASE("communicators that meet at a rendezvous have threads where nobody started processes") {
  const Environment nobody(Variables{});
  CHECK(place("nccl", four_typed).here() == 4);
  const Environment alone(Variables{{"RANK", "0"}, {"WORLD_SIZE", "1"}});
  CHECK(place("nccl", four_configured).size() == 1);
  CHECK_THROWS_WITH_AS(place("nccl", four_typed), doctest::Contains("--ranks 4, but a launcher such as torchrun"), Error);
}

TEST_CASE("copies of one run that know nothing of each other are refused") {
  {
    const Environment four(kTorchrun);
    CHECK_THROWS_WITH_AS(place("threads", four_typed), doctest::Contains("choose a communicator that joins processes"), Error);
    CHECK_THROWS_WITH_AS(place("mpi", four_typed), doctest::Contains("start it with mpirun -n 4, or choose a communicator"),
                         Error);
  }
  const Environment by_mpirun(Variables{{"OMPI_COMM_WORLD_RANK", "1"}, {"OMPI_COMM_WORLD_SIZE", "4"}});
  CHECK_THROWS_WITH_AS(place("nccl", four_typed),
                       doctest::Contains("mpirun started 4 processes, but communicator 'nccl' does not know of them by itself"),
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
  const Environment torch_inside(Variables{{"RANK", "0"}, {"WORLD_SIZE", "1"}, {"PMI_RANK", "1"}, {"PMI_SIZE", "2"}});
  CHECK(place("mpi", {2, "--ranks", true}).size() == 2);
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

TEST_CASE("this process becomes mpirun, with its own arguments") {
  const ScratchFolder folder;
  const auto told = folder / "told";
  folder.file("mpirun", "#!/bin/sh\nprintf '%s\\n' \"$@\" >'" + told.string() +
                            "'\necho $ONEBIT_STARTED_MPIRUN $OMPI_ALLOW_RUN_AS_ROOT$OMPI_ALLOW_RUN_AS_ROOT_CONFIRM >>'" +
                            told.string() + "'\nexit 7\n");
  std::filesystem::permissions(folder / "mpirun", std::filesystem::perms::owner_all);
  std::fflush(nullptr);  // or the child would write it as well
  const pid_t child = ::fork();
  if (child == 0) {
    const std::string path = folder.path().string() + ":/usr/bin:/bin";
    const Environment nobody(Variables{{"PATH", path}});
    try {
      place("mpi", four_configured);
    } catch (const Error&) {
    }
    ::_exit(1);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WEXITSTATUS(status) == 7);
  const std::string self = std::filesystem::read_symlink("/proc/self/exe").string();
  CHECK(contents_of(told) == "-n\n4\n" + self + "\ntrain\na file.toml\n--ranks\n3\n1 11\n");
}
