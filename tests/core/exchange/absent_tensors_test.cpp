// SPDX-License-Identifier: Apache-2.0
// Tensors that no rank has a gradient of, whatever a model is cut into and by whatever way means are taken: the same bits.
#include <doctest/doctest.h>

#include <algorithm>

#include "support/gradients.hpp"
#include "support/sessions.hpp"

namespace onebit::test {
namespace {

// Most tensors share tiles with others, one has many blocks.
const Tensors absent_model = {std::vector<float>(20'000, 0.5F), std::vector<float>(17, -1.0F), std::vector<float>(),
                              std::vector<float>(33, 2.0F),     std::vector<float>(90, 1.0F),  std::vector<float>(9001, 2.0F)};

struct AbsentTrial {
  std::string optimizer = "onebit_adam\"\nfreeze_step = 3\nweight_decay = 0.1";
  std::string exchange{}, session{}, compressor{};
  int machines = 0;  // 0: flat
};

// Tensors 3 and 4 are away now and then, each at its own times, and so is the large one.
bool absent_at(int64_t step, size_t tensor) {
  return (tensor == 0 && step % 4 == 3) || (tensor == 3 && step % 3 == 1) || (tensor == 4 && step % 5 != 2);
}

// machines have the same gradients on all their ranks, so that hierarchical is flat.
std::vector<Tensors> train_with_absent(const AbsentTrial& trial, int ranks) {
  const int sharing = trial.machines == 0 ? 1 : ranks / trial.machines;
  const std::string toml =
      "[optimizer]\nplugin = \"" + trial.optimizer + "\n[compressor]\nplugin = \"onebit\"\n" + trial.compressor +
      "[communicator]\nplugin = \"threads\"\ntimeout = 60\nmachines = " + std::to_string(std::max(trial.machines, 1)) +
      "\n[exchange]\ntopology = \"" + (trial.machines == 0 ? "flat" : "hierarchical") + "\"\n" + trial.exchange +
      "[session]\n" + trial.session;
  return run_sessions(ranks, toml, absent_model, [&](Rank rank) {
    for (int64_t step = 1; step <= 12; ++step) {
      const Tensors gradients = noisy(absent_model, step, rank.number / sharing);
      std::vector<const float*> given = pointers(gradients);
      for (size_t t = 0; t < given.size(); ++t)
        if (absent_at(step, t)) given[t] = nullptr;
      rank.session.step(given);
    }
  });
}

std::vector<std::string> all_optimizers() {
  // refreshed in some of the steps; the clamp does not depend on the number of ranks
  const std::string refreshed = "\nweight_decay = 0.1\nbetas = [0.9, 0.9]\nrefresh = 0.5\nclamp = 3.0";
  return {"adam\"\nweight_decay = 0.1", "lamb\"\nweight_decay = 0.1", "onebit_adam\"\nfreeze_step = 3" + refreshed,
          "onebit_lamb\"\nfreeze_step = 3" + refreshed, "zeroone_adam\"\nvar_freeze_step = 3" + refreshed};
}

}  // namespace

TEST_CASE("absent tensors: worker threads and bucket size change no bit, and replicas stay equal") {
  for (const std::string& optimizer : all_optimizers())
    for (const std::string errors : {"", "error_dtype = \"bf16\"\n"}) {
      if (!errors.empty() && optimizer.find('_') > optimizer.find('"')) continue;  // a dense one
      CAPTURE(optimizer);
      CAPTURE(errors);
      const std::vector<Tensors> expected = train_with_absent({optimizer, errors}, 3);
      CHECK(expected[1] == expected[0]);
      CHECK(expected[2] == expected[0]);
      CHECK(train_with_absent({optimizer, errors + "bucket_bytes = 4096\n", "threads = 3\n"}, 3) == expected);
    }
}

TEST_CASE("absent tensors: with machines, as with one rank of each, and gradients in fp32 among them") {
  for (const std::string& optimizer : all_optimizers())
    for (const std::string exchange : {"", "bucket_bytes = 4096\ndense_below = 50\nerror_dtype = \"bf16\"\n"}) {
      CAPTURE(optimizer);
      const std::vector<Tensors> expected = train_with_absent({optimizer, exchange}, 2);
      for (const Tensors& replica : train_with_absent({optimizer, exchange, "", "", 2}, 4)) CHECK(replica == expected[0]);
    }
}

TEST_CASE("absent tensors: scales of a tensor and of a bucket") {
  for (const std::string scale : {"tensor", "bucket"})
    for (const int ranks : {1, 2, 3}) {
      AbsentTrial trial;
      if (ranks == 3) trial.exchange = "error_dtype = \"bf16\"\n";
      trial.compressor = "scale = \"" + scale + "\"\n";
      const std::vector<Tensors> found = train_with_absent(trial, ranks);
      for (const Tensors& replica : found) CHECK(replica == found[0]);
      trial.session = "threads = 2\n";
      CHECK(train_with_absent(trial, ranks) == found);
    }
}

}  // namespace onebit::test
