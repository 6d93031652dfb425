// SPDX-License-Identifier: Apache-2.0
// What is called compressed is compressed: tensors that would only grow travel as fp32, and rounds in which no tensor is
// compressed are dense ones, in reports, traffic and costs.
#include <doctest/doctest.h>

#include <algorithm>

#include "support/gradients.hpp"
#include "support/sessions.hpp"

using namespace onebit;
using namespace onebit::test;

namespace {

struct Counted {
  Traffic traffic;  // of rank 0
  int64_t compressed_reports = 0;
};

// Six steps, of which the last four are compressed.
Counted counted(const Tensors& model, int ranks, const std::string& toml) {
  Counted found;
  run_sessions(ranks, toml, model, [&](Rank rank) {
    for (int step = 1; step <= 6; ++step) {
      const StepReport report = rank.session.step(pointers(noisy(model, step, rank.number)));
      if (rank.number == 0) found.compressed_reports += report.compressed ? 1 : 0;
    }
    if (rank.number == 0) found.traffic = rank.session.traffic();
  });
  return found;
}

}  // namespace

TEST_CASE("300 tensors of one element cost no more compressed than dense") {
  const Tensors scalars(300, std::vector<float>(1, 1.0F));
  const Counted found = counted(scalars, 2, onebit_adam("freeze_step = 2\n"));
  CHECK(found.traffic.dense_bytes == 6 * 300 * 4);
  CHECK(found.traffic.compressed_bytes == 0);
  CHECK(found.traffic.dense_steps == 6);
  CHECK(found.traffic.compressed_steps == 0);
  CHECK(found.traffic.compressed_parameters == 0);
  CHECK(found.compressed_reports == 0);
}

TEST_CASE("beside a tensor that is compressed, scalars travel as fp32, and that is what check says") {
  Tensors model(300, std::vector<float>(1, 1.0F));
  model.emplace_back(4096, 0.5F);
  for (const int ranks : {2, 3}) {
    const std::string toml = onebit_adam("freeze_step = 2\n");
    const Counted found = counted(model, ranks, toml);
    CHECK(found.traffic.compressed_steps == 4);
    CHECK(found.compressed_reports == 4);
    CHECK(found.traffic.compressed_parameters == 4096);
    Tensors shapes = model;
    const Cost cost = cost_of(plugins(), configure(toml), parameters_of(shapes), ranks);
    CHECK(cost.compressed_parameters == 4096);
    if (ranks == 2) CHECK(found.traffic.compressed_bytes == 4 * (300 * 4 + 4 + 4096 / 8));
    if (ranks == 2) CHECK(cost.compressed_traffic == 300 * 4 + 4 + 4096 / 8);
  }
}

TEST_CASE("scales of whole tensors: what grows because every rank serves a part of it travels as fp32") {
  const Tensors small(50, std::vector<float>(4, 1.0F));  // on 4 ranks 4 parts, of 8 bytes each
  std::string toml = onebit_adam("freeze_step = 2\n");
  toml.replace(toml.find("[communicator]"), 0, "scale = \"tensor\"\n");
  CHECK(counted(small, 4, toml).traffic.compressed_parameters == 0);
  CHECK(counted(small, 2, toml).traffic.compressed_parameters == 200);
}

TEST_CASE("where every tensor is exempt, nothing is called compressed") {
  const Tensors model = {std::vector<float>(5000, 0.25F), std::vector<float>(40, 1.0F)};
  for (const char* all : {"dense = ['*']\n", ""}) {
    const std::string exchange = *all == 0 ? "[exchange]\ndense_below = 100000\n" : "";
    const Counted found = counted(model, 2, onebit_adam(std::string("freeze_step = 2\n") + all, exchange));
    CHECK(found.compressed_reports == 0);
    CHECK(found.traffic.dense_steps == 6);
    CHECK(found.traffic.compressed_steps == 0);
    CHECK(found.traffic.compressed_bytes == 0);
    CHECK(found.traffic.dense_bytes == 6 * 4 * 5040);
  }
  const Counted some = counted(model, 2, onebit_adam("freeze_step = 2\ndense = ['t1']\n"));
  CHECK(some.compressed_reports == 4);
  CHECK(some.traffic.compressed_parameters == 5000);
}
