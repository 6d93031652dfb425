// Where ranks are placed: what launchers tell, what fits them, and how this process becomes mpirun.
#include "placement.hpp"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "launcher.hpp"
#include "onebit/error.hpp"
#include "scratch_folder.hpp"

using onebit::Error;
using onebit::host::launched;
using onebit::host::place_ranks;
using onebit::host::Ranks;
using onebit::host::RanksAsked;
using onebit::host::speaker;

namespace {

using Variables = std::vector<std::pair<const char*, std::string>>;

// The environment of a launched process, as long as it lives; nothing of a launcher that runs the tests shows through.
class Environment {
 public:
  explicit Environment(const Variables& variables) {
    for (const char* name : {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "PMI_RANK", "PMI_SIZE", "SLURM_PROCID",
                             "SLURM_STEP_NUM_TASKS", "SLURM_NTASKS", "PMIX_RANK", "OMPI_COMM_WORLD_LOCAL_RANK",
                             "MPI_LOCALRANKID", "SLURM_LOCALID", "ONEBIT_STARTED_MPIRUN", "PATH"}) {
      const char* value = std::getenv(name);
      if (value != nullptr) before_[name] = value;
      names_.emplace_back(name);
      if (value != nullptr && std::string(name) != "PATH") ::unsetenv(name);
    }
    for (const auto& [name, value] : variables) ::setenv(name, value.c_str(), 1);
  }
  ~Environment() {
    for (const std::string& name : names_) ::unsetenv(name.c_str());
    for (const auto& [name, value] : before_) ::setenv(name.c_str(), value.c_str(), 1);
  }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  std::map<std::string, std::string> before_;
  std::vector<std::string> names_;
};

// A communicator that was selected; only what placing looks at.
struct Selected {
  explicit Selected(bool processes) {
    component.name = processes ? "mpi" : "threads";
    component.capabilities = processes ? ONEBIT_CAPABILITY_PROCESSES : 0;
    selection.component = &component;
  }
  onebit::ComponentInfo component{};
  onebit::Selection selection;
};

Ranks place(bool processes, const RanksAsked& asked) {
  const Selected selected(processes);
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
  CHECK(place(false, four_typed).here() == 4);
  CHECK(place(false, four_configured).size() == 4);
  CHECK_THROWS_WITH_AS(place(false, {65, "--ranks", true}), "--ranks 65: expected a number of ranks from 1 to 64", Error);
  CHECK_THROWS_WITH_AS(place(false, {0, "train.ranks =", false}), "train.ranks = 0: expected a number of ranks from 1 to 64",
                       Error);
  const Environment alone(Variables{{"PMI_RANK", "0"}, {"PMI_SIZE", "1"}});
  CHECK(place(false, four_typed).here() == 4);
  const Environment copies(Variables{{"OMPI_COMM_WORLD_RANK", "1"}, {"OMPI_COMM_WORLD_SIZE", "4"}});
  CHECK_THROWS_WITH_AS(place(false, four_typed), doctest::Contains("add --set communicator.plugin=mpi"), Error);
}

TEST_CASE("a launched process is one rank of as many as its launcher started") {
  const Environment four(Variables{{"OMPI_COMM_WORLD_RANK", "1"}, {"OMPI_COMM_WORLD_SIZE", "4"}});
  for (const RanksAsked& asked : {four_typed, four_configured, RanksAsked{2, "train.ranks =", false}}) {
    const Ranks ranks = place(true, asked);
    CHECK(ranks.here() == 1);
    CHECK(ranks.size() == 4);
  }
  CHECK_THROWS_WITH_AS(place(true, {2, "--ranks", true}), doctest::Contains("--ranks 2, but mpirun started 4 processes"),
                       Error);
  const Environment unknown(Variables{{"PMIX_RANK", "1"}, {"OMPI_COMM_WORLD_RANK", ""}});
  CHECK(place(true, four_typed).size() == 0);
}

TEST_CASE("one rank needs no launcher, and too many are refused") {
  const Environment nobody(Variables{});
  CHECK(place(true, {1, "--ranks", true}).size() == 1);
  CHECK_THROWS_WITH_AS(place(true, {4097, "--ranks", true}), doctest::Contains("from 1 to 4096"), Error);
}

TEST_CASE("without mpirun, it is said what to install and what to type") {
  const ScratchFolder folder;
  const std::string path = folder.path().string();
  const Environment nobody(Variables{{"PATH", path}});
  CHECK_THROWS_WITH_AS(place(true, four_typed), doctest::Contains("apt-get install openmpi-bin"), Error);
  CHECK_THROWS_WITH_AS(place(true, four_typed), doctest::Contains("mpirun -n 4 /"), Error);
  CHECK_THROWS_WITH_AS(place(true, four_typed), doctest::Contains(" train 'a file.toml' --ranks 3"), Error);
  folder.file("mpirun", "not executable");
  CHECK_THROWS_WITH_AS(place(true, four_typed), doctest::Contains("no mpirun in PATH"), Error);
}

TEST_CASE("an mpirun that gives no rank is not started again and again") {
  const Environment nobody(Variables{{"ONEBIT_STARTED_MPIRUN", "1"}});
  CHECK_THROWS_WITH_AS(place(true, four_typed), doctest::Contains("finds no rank in its environment"), Error);
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
      place(true, four_configured);
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
