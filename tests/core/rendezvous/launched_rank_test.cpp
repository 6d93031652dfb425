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

TEST_CASE("what makes no sense is refused, with its name and what was expected") {
  struct Row {
    Variables changes;
    const char* text;
  };
  const Row rows[] = {
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
      {{{"LOCAL_WORLD_SIZE", ""}}, "LOCAL_WORLD_SIZE is not set, but LOCAL_RANK is"},
      {{{"LOCAL_WORLD_SIZE", "9"}}, "LOCAL_WORLD_SIZE is '9': expected a number from 1 to 8"},
      {{{"LOCAL_RANK", "4"}}, "LOCAL_RANK is 4, but LOCAL_WORLD_SIZE is 4: ranks are counted from 0 to 3"},
      {{{"MASTER_ADDR", ""}}, "MASTER_ADDR is not set, but WORLD_SIZE is"},
      {{{"MASTER_ADDR", "tcp://node0"}}, "MASTER_ADDR is 'tcp://node0': expected the name or address of rank 0's machine"},
      {{{"MASTER_ADDR", "node0 "}}, "MASTER_ADDR is 'node0 ': expected the name or address of rank 0's machine"},
      {{{"MASTER_PORT", ""}}, "MASTER_PORT is not set, but MASTER_ADDR is"},
      {{{"MASTER_PORT", "0"}}, "MASTER_PORT is '0': expected a number from 1 to 65535"},
      {{{"MASTER_PORT", "65536"}}, "MASTER_PORT is '65536': expected a number from 1 to 65535"},
      {{{"MASTER_PORT", "29500/tcp"}}, "MASTER_PORT is '29500/tcp': expected a number from 1 to 65535"},
      {{{"ONEBIT_PORT", "x"}}, "ONEBIT_PORT is 'x': expected a number from 1 to 65535"},
  };
  for (const Row& row : rows) {
    const std::string found = refusal(row.changes);
    CHECK_MESSAGE(found.find(row.text) == 0, "expected: " << row.text << "\nfound: " << found);
  }
}
