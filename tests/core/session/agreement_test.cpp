// SPDX-License-Identifier: Apache-2.0
// What a rank sets by itself is either its own affair, and then treated so, or compared in the agreement: in the step where it
// begins to differ every rank is told what differs, where, and both values.
#include <doctest/doctest.h>

#include <cmath>
#include <optional>

#include "support/gradients.hpp"
#include "support/sessions.hpp"

using namespace onebit;
using namespace onebit::test;

namespace {

const Tensors small_model = {std::vector<float>(300, 0.25F), std::vector<float>(40, 1.0F)};
const std::string fast_adam = "[optimizer]\nplugin = \"adam\"\nlr = 0.5\n[communicator]\nplugin = \"threads\"\ntimeout = 60\n";
// Steps 1 and 2 have rounds, then one in four.
const std::string one_round_in_four =
    "[optimizer]\nplugin = \"zeroone_adam\"\nlr = 0.5\nvar_freeze_step = 2\nvar_update_scaler = 1\nlocal_step_scaler = 1\n"
    "local_step_clipper = 4\n[compressor]\nplugin = \"onebit\"\n[communicator]\nplugin = \"threads\"\ntimeout = 60\n";

struct Told {
  std::string text;
  int64_t at = 0;  // the step that threw
  std::optional<Code> code = {};
};
// set(rank, step) before each step; what each rank is told.
std::vector<Told> told(int ranks, const std::function<std::string(int)>& toml, int64_t steps,
                       const std::function<void(Rank, int64_t)>& set) {
  std::vector<Told> found(static_cast<size_t>(ranks));
  LocalRendezvous rendezvous(ranks);
  host::run_ranks(ranks, [&](int rank) {
    Told& own = found[static_cast<size_t>(rank)];
    try {
      Tensors parameters = small_model;
      const Configuration configuration = configure(toml(rank));
      Session session(plugins(), configuration, rendezvous.at(rank), parameters_of(parameters));
      for (int64_t step = 1; step <= steps; ++step) {
        own.at = step;
        set({session, parameters, rank}, step);
        session.step(pointers(noisy(small_model, step, rank)));
      }
    } catch (const Error& e) {
      own.text = e.what();
      own.code = e.code();
    }
  });
  return found;
}
std::vector<Told> told(int ranks, const std::string& toml, int64_t steps, const std::function<void(Rank, int64_t)>& set) {
  return told(
      ranks, [&](int) { return toml; }, steps, set);
}
void check_told(const std::vector<Told>& found, const std::string& part, int64_t at) {
  for (const Told& own : found) {
    CAPTURE(own.text);
    CHECK(own.code == Code::state_mismatch);
    CHECK(own.text.find(part) != std::string::npos);
    if (at > 0) CHECK(own.at == at);
  }
}

}  // namespace

TEST_CASE("agreement: another learning rate, on one rank, from one step on") {
  check_told(
      told(3, fast_adam, 5,
           [](Rank rank, int64_t step) {
             if (rank.number == 1 && step == 3) rank.session.set_learning_rate_factor(0.5);
           }),
      "differs from rank 0 in what it does in step 3: the learning rate is 0.25, rank 0 has 0.5: every rank must set the same",
      3);
}

TEST_CASE("agreement: a sync that only one rank asked for") {
  SUBCASE("in a step with a round") {
    check_told(told(2, one_round_in_four, 5,
                    [](Rank rank, int64_t step) {
                      if (rank.number == 1 && step == 2) rank.session.request_sync();
                    }),
               "in step 2: whether a sync was asked for (request_sync) is yes, rank 0 has no", 2);
  }
  SUBCASE("in a local step: at the next round") {
    for (const int asked : {0, 1})
      check_told(told(2, one_round_in_four, 12,
                      [&](Rank rank, int64_t step) {
                        if (rank.number == asked && step == 10) rank.session.request_sync();
                      }),
                 "only rank " + std::to_string(asked) + " was asked for a sync (request_sync)", 0);
  }
}

TEST_CASE("agreement: another step number, at once, or after local steps that ranks did not take together") {
  check_told(told(2, fast_adam, 3,
                  [](Rank rank, int64_t step) {
                    if (rank.number == 1 && step == 2) rank.session.set_next_step(7);
                  }),
             "is at step 7, rank 0 at step 2", 2);
  // rank 1 takes two local steps fewer, and comes to the same number
  const std::vector<Told> found = told(2, one_round_in_four, 20, [](Rank rank, int64_t step) {
    if (rank.number == 1 && step == 9) rank.session.set_next_step(11);
  });
  check_told(found, "in step 12: the number of local steps since the last round is 1, rank 0 has 3", 0);
}

TEST_CASE("agreement: another learning rate in a local step is told at the next round, though it is over") {
  check_told(told(2, one_round_in_four, 14,
                  [](Rank rank, int64_t step) {
                    if (rank.number == 1 && step >= 9) rank.session.set_learning_rate_factor(step == 10 ? 0.5 : 1);
                  }),
             "in step 12: the hash of the numbers, learning rates and sync requests of these is ", 12);
}

TEST_CASE("agreement: options that differ are named with both values, before training") {
  const auto with = [](const std::string& one, const std::string& other) {
    return [=](int rank) { return fast_adam + (rank == 1 ? other : one); };
  };
  const auto nothing = [](Rank, int64_t) {};
  check_told(told(2, with("[session]\nclip_norm = 2\n", ""), 1, nothing),
             "differs from rank 0 in its configuration or plugin versions: [session] clip_norm is 0", 0);
  check_told(told(3, with("", "[exchange]\nbucket_bytes = 9999\n"), 1, nothing),
             "[exchange] bucket_bytes is 9999, rank 0 has 25000000", 0);
  check_told(told(2, with("", "[exchange]\ndense_dtype = \"bf16\"\n"), 1, nothing),
             "[exchange] dense_dtype is \"bf16\", rank 0 has \"fp32\"", 0);
  check_told(
      told(2,
           with("[[optimizer.group]]\ntensors = [\"t1\"]\nlr = 0.1\n", "[[optimizer.group]]\ntensors = [\"t1\"]\nlr = 0.2\n"),
           1, nothing),
      "[[optimizer.group]] lr is 0.2, rank 0 has 0.1", 0);
}

TEST_CASE("agreement: what is a rank's own affair: threads, a trace") {
  for (const Told& own : told(
           2, [](int rank) { return fast_adam + "[session]\nthreads = " + std::to_string(1 + rank) + "\n"; }, 3,
           [](Rank, int64_t) {}))
    CHECK(own.text == "");
}

TEST_CASE(
    "agreement: each rank may have a gradient scale of its own, and means and clipping go by what it makes of gradients") {
  for (const std::string session : {"", "clip_norm = 0.7\n"}) {
    const auto train = [&](bool scaled) {
      std::vector<StepReport> reports(2);
      const std::vector<Tensors> after = run_sessions(
          2, fast_adam + "[session]\n" + session + "[exchange]\ndense_dtype = \"fp16\"\n", small_model, [&](Rank rank) {
            const double scale = rank.number == 0 ? 0.5 : 0.25;  // exact
            if (scaled) rank.session.set_gradient_scale(scale);
            for (int64_t step = 1; step <= 4; ++step) {
              Tensors gradients = noisy(small_model, step, rank.number);
              for (std::vector<float>& tensor : gradients)
                for (float& g : tensor) g *= scaled ? 1.0F : static_cast<float>(scale);
              reports[static_cast<size_t>(rank.number)] = rank.session.step(pointers(gradients));
            }
          });
      CHECK(after[0] == after[1]);
      CHECK(reports[0].gradient_norm == reports[1].gradient_norm);
      return std::pair(after[0], reports[0].gradient_norm);
    };
    const auto own = train(true), made = train(false);
    CHECK(own.second == doctest::Approx(made.second).epsilon(1e-6));
    for (size_t t = 0; t < small_model.size(); ++t)
      for (size_t i = 0; i < small_model[t].size(); ++i) REQUIRE(std::fabs(own.first[t][i] - made.first[t][i]) < 2e-3F);
  }
}

TEST_CASE("agreement: a step while the parameters are the anchor's is refused, and two anchors at once are one") {
  run_sessions(2, one_round_in_four, small_model, [](Rank rank) {
    int64_t step = 0;
    while (!rank.session.step(pointers(noisy(small_model, ++step, rank.number))).local) {
    }
    const Tensors own = rank.parameters;
    {
      const Session::AtAnchor anchor(rank.session);
      const Tensors shared = rank.parameters;
      CHECK(shared != own);
      const Session::AtAnchor another(rank.session);
      CHECK(rank.parameters == shared);
    }
    CHECK(rank.parameters == own);
    const Session::AtAnchor anchor(rank.session);
    CHECK_THROWS_AS(rank.session.step(pointers(noisy(small_model, 1, rank.number))), Error);
  });
}

TEST_CASE("agreement: what a scale makes too large is skipped by every rank, and a scale beyond fp32 is refused") {
  run_sessions(2, fast_adam, small_model, [](Rank rank) {
    CHECK_THROWS_WITH(rank.session.set_gradient_scale(1e39), "the gradient scale must be finite, and within fp32's range");
    CHECK_THROWS_AS(rank.session.set_learning_rate_factor(1e300), Error);
    if (rank.number == 1) rank.session.set_gradient_scale(1e20);
    const Tensors before = rank.parameters;
    CHECK(rank.session.step(pointers(noisy(small_model, 1, rank.number))).skipped);
    CHECK(rank.parameters == before);
    rank.session.set_gradient_scale(1);
    CHECK_FALSE(rank.session.step(pointers(noisy(small_model, 1, rank.number))).skipped);
  });
}
