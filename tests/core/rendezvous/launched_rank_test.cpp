// SPDX-License-Identifier: Apache-2.0
// What torchrun and its kin put into the environment: read whole, or refused with the variable's name.
#include <doctest/doctest.h>

#include <algorithm>

#include "onebit/error.hpp"
#include "onebit/rendezvous.hpp"
#include "support/environment.hpp"

using onebit::Code;
using onebit::Error;
using onebit::launched_rank_from_environment;
using onebit::LaunchedRank;
using onebit::test::Environment;
using onebit::test::Variables;

namespace {

const Variables kComplete = {
    {"RANK", "5"},           {"WORLD_SIZE", "8"}, {"LOCAL_RANK", "1"}, {"LOCAL_WORLD_SIZE", "4"}, {"MASTER_ADDR", "node0"},
    {"MASTER_PORT", "29500"}};

// The complete environment but for these; "" takes one away.
LaunchedRank read(const Variables& changes) {
  Variables all = kComplete;
  all.insert(all.end(), changes.begin(), changes.end());
  const Environment environment(all);
  return launched_rank_from_environment().value();
}

std::string refusal(const Variables& changes) {
  try {
    read(changes);
  } catch (const Error& e) {
    CHECK(e.code() == Code::invalid_argument);
    return e.what();
  }
  return "taken";
}

}  // namespace

TEST_CASE("a rank as torchrun starts it") {
  const LaunchedRank self = read({{"TORCHELASTIC_RUN_ID", "job-7"}});
  CHECK(self.rank == 5);
  CHECK(self.size == 8);
  CHECK(self.local_rank == 1);
  CHECK(self.local_size == 4);
  CHECK(self.host == "node0");
  CHECK(self.port == 29500);
  CHECK(self.job == "job-7");
}

// As `srun -n 4 torchrun --nproc_per_node 1 ...`: four jobs of one process each.
TEST_CASE("a job of one process is none of the ranks of the step that its torchrun runs in") {
  const LaunchedRank self = read({{"TORCHELASTIC_RUN_ID", "job-7"},
                                  {"RANK", "0"},
                                  {"WORLD_SIZE", "1"},
                                  {"LOCAL_RANK", "0"},
                                  {"LOCAL_WORLD_SIZE", "1"},
                                  {"SLURM_PROCID", "2"},
                                  {"SLURM_STEP_NUM_TASKS", "4"}});
  CHECK(self.rank == 0);
  CHECK(self.size == 1);
}

TEST_CASE("the port: torchrun's own store is left alone, and a port that was asked for is taken") {
  CHECK(read({}).ports == 1);
  const LaunchedRank beside = read({{"TORCHELASTIC_USE_AGENT_STORE", "True"}});
  CHECK(beside.port == 29501);
  CHECK(beside.ports == 8);
  CHECK(beside.job == ":29500");
  const LaunchedRank last = read({{"MASTER_PORT", "65532"}, {"TORCHELASTIC_USE_AGENT_STORE", "True"}});
  CHECK(last.port == 65533);
  CHECK(last.ports == 3);
  CHECK(read({{"TORCHELASTIC_USE_AGENT_STORE", "False"}}).port == 29500);
  CHECK(read({{"ONEBIT_PORT", "4000"}}).port == 4000);
  const LaunchedRank chosen = read({{"ONEBIT_PORT", "4000"}, {"TORCHELASTIC_USE_AGENT_STORE", "True"}});
  CHECK(chosen.port == 4000);
  CHECK(chosen.ports == 1);
  CHECK(read({{"ONEBIT_PORT", "4000"}, {"MASTER_PORT", ""}}).port == 4000);
  CHECK(refusal({{"MASTER_PORT", "65535"}, {"TORCHELASTIC_USE_AGENT_STORE", "True"}}).find("set ONEBIT_PORT") !=
        std::string::npos);
}

TEST_CASE("what may be left out") {
  const Environment nobody(Variables{{"MASTER_ADDR", "node0"}, {"MASTER_PORT", "29500"}, {"LOCAL_RANK", "0"}});
  CHECK(!launched_rank_from_environment());
  const LaunchedRank untold = read({{"LOCAL_RANK", ""}, {"LOCAL_WORLD_SIZE", ""}});
  CHECK(untold.local_rank == 5);
  CHECK(untold.local_size == 8);
  const Environment alone(Variables{{"RANK", "0"}, {"WORLD_SIZE", "1"}});
  const LaunchedRank self = launched_rank_from_environment().value();
  CHECK(self.size == 1);
  CHECK(self.host == "localhost");
  CHECK(self.port == 0);
}

TEST_CASE("addresses as people write them") {
  const auto host = [](const char* text) { return read({{"MASTER_ADDR", text}}).host; };
  CHECK(host("[::1]") == "::1");
  CHECK(host("[fe80::1%eth0]") == "fe80::1%eth0");
  CHECK(host("::ffff:10.0.0.1") == "::ffff:10.0.0.1");
  for (const char* same : {"::1", "10.0.0.1", "localhost", "node-0.cluster_1", "node0.", "10-0-0-1.ec2.internal", "127.1"})
    CHECK(host(same) == same);
}

TEST_CASE("the place on its machine is derived, or taken from whoever tells of the same rank") {
  const auto place = [](Variables changes) {
    changes.insert(changes.begin(), {{"LOCAL_RANK", ""}, {"LOCAL_WORLD_SIZE", ""}});
    const LaunchedRank self = read(changes);
    return std::to_string(self.local_rank) + "/" + std::to_string(self.local_size);
  };
  CHECK(place({}) == "5/8");                                          // as if all were on one machine
  CHECK(place({{"LOCAL_RANK", "1"}}) == "1/8");                       // no more are there
  CHECK(place({{"LOCAL_RANK", "1"}, {"LOCAL_SIZE", "4"}}) == "1/4");  // DeepSpeed
  CHECK(place({{"LOCAL_WORLD_SIZE", "1"}}) == "0/1");
  CHECK(place({{"LOCAL_WORLD_SIZE", "8"}}) == "5/8");
  CHECK(place({{"RANK", "0"}, {"WORLD_SIZE", "1"}, {"LOCAL_RANK", "0"}}) == "0/1");
  CHECK(place({{"RANK", "0"}, {"WORLD_SIZE", "1"}}) == "0/1");
  const Variables slurm = {{"SLURM_PROCID", "5"},
                           {"SLURM_STEP_NUM_TASKS", "8"},
                           {"SLURM_LOCALID", "1"},
                           {"SLURM_NODEID", "2"},
                           {"SLURM_STEP_TASKS_PER_NODE", "2(x3),1,1"}};
  CHECK(place(slurm) == "1/2");
  Variables last = slurm;
  last.insert(last.end(), {{"SLURM_NODEID", "4"}, {"SLURM_LOCALID", "0"}, {"LOCAL_RANK", "0"}});
  CHECK(place(last) == "0/1");
  for (const char* nonsense : {"", "2(x", "2(x0),1", "x", "2(x2)", "-1", "99(x9)"}) {
    last = slurm;
    last.emplace_back("SLURM_STEP_TASKS_PER_NODE", nonsense);
    CHECK(place(last) == "1/8");
  }
  CHECK(place({{"OMPI_COMM_WORLD_RANK", "5"},
               {"OMPI_COMM_WORLD_SIZE", "8"},
               {"OMPI_COMM_WORLD_LOCAL_RANK", "3"},
               {"OMPI_COMM_WORLD_LOCAL_SIZE", "4"}}) == "3/4");
  CHECK(place({{"PMI_RANK", "5"}, {"PMI_SIZE", "8"}, {"MPI_LOCALRANKID", "1"}, {"MPI_LOCALNRANKS", "2"}}) == "1/2");
  CHECK(place({{"PALS_RANKID", "5"}, {"PALS_LOCAL_RANKID", "1"}, {"PALS_LOCAL_SIZE", "2"}}) == "1/2");
  CHECK(place({{"SLURM_PROCID", "1"}, {"SLURM_STEP_NUM_TASKS", "2"}, {"SLURM_LOCALID", "0"}}) == "5/8");  // of another rank
}

namespace {

struct Row {
  Variables changes;
  const char* text;
};

void check_refusals(const std::vector<Row>& rows) {
  for (const Row& row : rows) {
    const std::string found = refusal(row.changes);
    CHECK_MESSAGE(found.find(row.text) == 0, "expected: " << row.text << "\nfound: " << found);
  }
}

}  // namespace

TEST_CASE("a launcher that has no RANK for it: its own words count where somebody says where to meet") {
  const Variables meet = {{"MASTER_ADDR", "node0"}, {"MASTER_PORT", "29500"}};
  const auto found = [&](Variables variables) {
    variables.insert(variables.end(), meet.begin(), meet.end());
    const Environment environment(variables);
    const auto self = launched_rank_from_environment();
    return self ? std::to_string(self->rank) + "/" + std::to_string(self->size) + " " + std::to_string(self->local_rank) : "-";
  };
  CHECK(found({{"OMPI_COMM_WORLD_RANK", "3"}, {"OMPI_COMM_WORLD_SIZE", "4"}, {"OMPI_COMM_WORLD_LOCAL_RANK", "1"}}) == "3/4 1");
  CHECK(found({{"SLURM_PROCID", "3"}, {"SLURM_STEP_NUM_TASKS", "4"}, {"SLURM_LOCALID", "0"}}) == "3/4 0");
  CHECK(found({{"FLUX_TASK_RANK", "3"}, {"FLUX_JOB_SIZE", "4"}, {"FLUX_TASK_LOCAL_ID", "1"}}) == "3/4 1");
  CHECK(found({{"JSM_NAMESPACE_RANK", "3"}, {"JSM_NAMESPACE_SIZE", "4"}, {"JSM_NAMESPACE_LOCAL_RANK", "1"}}) == "3/4 1");
  CHECK(found({{"MV2_COMM_WORLD_RANK", "3"}, {"MV2_COMM_WORLD_SIZE", "4"}, {"MV2_COMM_WORLD_LOCAL_RANK", "1"}}) == "3/4 1");
  CHECK(found({{"PMI_RANK", "3"}, {"PMI_SIZE", "4"}, {"PMI_LOCAL_RANK", "1"}}) == "3/4 1");
  CHECK(found({{"SLURM_PROCID", "0"}, {"SLURM_STEP_NUM_TASKS", "1"}}) == "-");  // a shell of that step
  CHECK(found({{"PMIX_RANK", "3"}}) == "-");                                    // of how many?
  CHECK(found({{"RANK", "0"}, {"WORLD_SIZE", "1"}, {"PMI_RANK", "3"}, {"PMI_SIZE", "4"}}) == "3/4 3");
  const Environment nowhere(Variables{{"OMPI_COMM_WORLD_RANK", "3"}, {"OMPI_COMM_WORLD_SIZE", "4"}, {"MASTER_ADDR", "node0"}});
  CHECK(!launched_rank_from_environment());
}

TEST_CASE("launchers that contradict each other are named with what they say") {
  CHECK(refusal({{"OMPI_COMM_WORLD_RANK", "0"}, {"OMPI_COMM_WORLD_SIZE", "3"}}) ==
        "two launchers contradict each other: RANK=5, WORLD_SIZE=8 (a launcher such as torchrun), but OMPI_COMM_WORLD_RANK=0, "
        "OMPI_COMM_WORLD_SIZE=3 (mpirun); unset those of the one that did not start this process");
  check_refusals({{{{"PMI_RANK", "5"}, {"PMI_SIZE", "16"}}, "two launchers contradict each other: RANK=5, WORLD_SIZE=8"},
                  {{{"SLURM_PROCID", "0"}, {"SLURM_STEP_NUM_TASKS", "2"}}, "two launchers contradict each other"},
                  {{{"PMI_RANK", "4"}, {"PMI_SIZE", "8"}}, "two launchers contradict each other"}});
  const Variables unlike[] = {{{"SLURM_PROCID", "0"}, {"SLURM_STEP_NUM_TASKS", "1"}},  // a step of one task
                              {{"SLURM_PROCID", "1"}, {"SLURM_STEP_NUM_TASKS", "2"}},  // one task a machine, ranks 4 to 7 on it
                              {{"PMI_RANK", "5"}, {"PMI_SIZE", "8"}},
                              {{"PMI_RANK", "0"}, {"PMI_SIZE", "3"}, {"TORCHELASTIC_RUN_ID", "x"}}};  // torchrun's agents
  for (const Variables& one : unlike) CHECK(read(one).rank == 5);
}

TEST_CASE("what other launchers say is looked at as closely") {
  check_refusals(
      {{{{"OMPI_COMM_WORLD_RANK", "x"}, {"OMPI_COMM_WORLD_SIZE", "4"}},
        "OMPI_COMM_WORLD_RANK is 'x': expected a number from 0 to 65535"},
       {{{"PMI_RANK", "4"}, {"PMI_SIZE", "4"}}, "PMI_RANK is 4, but PMI_SIZE is 4: ranks are counted from 0 to 3"},
       {{{"PMI_RANK", "-1"}, {"PMI_SIZE", "4"}}, "PMI_RANK is '-1': expected a number from 0 to 65535"},
       {{{"SLURM_PROCID", "0"}, {"SLURM_STEP_NUM_TASKS", "0"}}, "SLURM_STEP_NUM_TASKS is '0': expected a number from 1"},
       {{{"SLURM_PROCID", "0"}, {"SLURM_STEP_NUM_TASKS", "2"}, {"SLURM_LOCALID", "2"}},
        "SLURM_LOCALID is 2, but SLURM_STEP_NUM_TASKS is 2"},
       {{{"PMIX_RANK", "1,5"}}, "PMIX_RANK is '1,5': expected a number"}});
}

TEST_CASE("what makes no sense is refused, with its name and what was expected") {
  const std::vector<Row> rows = {
      {{{"RANK", ""}},
       "RANK is not set, but WORLD_SIZE is: a launcher such as torchrun sets both; set RANK to this process's "
       "number, from 0, or unset WORLD_SIZE"},
      {{{"WORLD_SIZE", ""}},
       "WORLD_SIZE is not set, but RANK is: a launcher such as torchrun sets both; set WORLD_SIZE to the "
       "number of processes, or unset RANK"},
      {{{"RANK", "five"}}, "RANK is 'five': expected a number from 0 to 65535"},
      {{{"RANK", "-1"}}, "RANK is '-1': expected a number from 0 to 65535"},
      {{{"RANK", "+1"}}, "RANK is '+1': expected a number from 0 to 65535"},
      {{{"RANK", " 1"}}, "RANK is ' 1': expected a number from 0 to 65535"},
      {{{"RANK", "1.0"}}, "RANK is '1.0': expected a number from 0 to 65535"},
      {{{"RANK", "4294967297"}}, "RANK is '4294967297': expected a number from 0 to 65535"},
      {{{"RANK", "8"}}, "RANK is 8, but WORLD_SIZE is 8: ranks are counted from 0 to 7"},
      {{{"WORLD_SIZE", "0"}}, "WORLD_SIZE is '0': expected a number from 1 to 65536"},
      {{{"WORLD_SIZE", "99999"}}, "WORLD_SIZE is '99999': expected a number from 1 to 65536"},
      {{{"LOCAL_RANK", ""}}, "LOCAL_RANK is not set, but LOCAL_WORLD_SIZE is"},
      {{{"LOCAL_WORLD_SIZE", ""}, {"LOCAL_SIZE", "4"}, {"LOCAL_RANK", ""}}, "LOCAL_RANK is not set, but LOCAL_SIZE is"},
      {{{"LOCAL_WORLD_SIZE", ""}, {"LOCAL_RANK", "8"}}, "LOCAL_RANK is 8, but WORLD_SIZE is 8: ranks are counted from 0 to 7"},
      {{{"LOCAL_WORLD_SIZE", "9"}}, "LOCAL_WORLD_SIZE is '9': expected a number from 1 to 8"},
      {{{"LOCAL_RANK", "4"}}, "LOCAL_RANK is 4, but LOCAL_WORLD_SIZE is 4: ranks are counted from 0 to 3"},
      {{{"MASTER_ADDR", ""}}, "MASTER_ADDR is not set, but WORLD_SIZE is"},
      {{{"MASTER_ADDR", "tcp://node0"}}, "MASTER_ADDR is 'tcp://node0': expected the name or address of rank 0's machine"},
      {{{"MASTER_ADDR", "node0 "}}, "MASTER_ADDR is 'node0 ': expected the name or address of rank 0's machine"},
      {{{"MASTER_ADDR", "127.0.0.1:29555"}},
       "MASTER_ADDR is '127.0.0.1:29555': expected the name or address of rank 0's machine, without a port: the address is "
       "'127.0.0.1', and the port, 29555, belongs into MASTER_PORT"},
      {{{"MASTER_ADDR", "[::1]:29555"}},
       "MASTER_ADDR is '[::1]:29555': expected the name or address of rank 0's machine, without a port: the address is '::1'"},
      {{{"MASTER_ADDR", "node0:"}},
       "MASTER_ADDR is 'node0:': expected the name or address of rank 0's machine, and this is no"},
      {{{"MASTER_ADDR", ":29500"}}, "MASTER_ADDR is ':29500': expected"},
      {{{"MASTER_ADDR", "[node0]"}}, "MASTER_ADDR is '[node0]': expected"},
      {{{"MASTER_ADDR", "[]"}}, "MASTER_ADDR is '[]': expected"},
      {{{"MASTER_ADDR", "[::1"}}, "MASTER_ADDR is '[::1': expected"},
      {{{"MASTER_ADDR", "fe80::12345"}}, "MASTER_ADDR is 'fe80::12345': expected"},
      {{{"MASTER_ADDR", " "}}, "MASTER_ADDR is ' ': expected"},
      {{{"MASTER_ADDR", "node0,node1"}}, "MASTER_ADDR is 'node0,node1': expected"},
      {{{"MASTER_ADDR", "me@node0"}}, "MASTER_ADDR is 'me@node0': expected"},
      {{{"MASTER_ADDR", "10.0.0.300"}},
       "MASTER_ADDR is '10.0.0.300': expected the name or address of rank 0's machine, and this is no IPv4 address"},
      {{{"MASTER_PORT", ""}}, "MASTER_PORT is not set, but MASTER_ADDR is"},
      {{{"MASTER_PORT", "0"}}, "MASTER_PORT is '0': expected a number from 1 to 65535"},
      {{{"MASTER_PORT", "65536"}}, "MASTER_PORT is '65536': expected a number from 1 to 65535"},
      {{{"MASTER_PORT", "29500/tcp"}}, "MASTER_PORT is '29500/tcp': expected a number from 1 to 65535"},
      {{{"ONEBIT_PORT", "x"}}, "ONEBIT_PORT is 'x': expected a number from 1 to 65535"},
  };
  check_refusals(rows);
}
