// SPDX-License-Identifier: Apache-2.0
// A tensor that no rank has a gradient of in a step is left as torch leaves a parameter whose grad is None: in all optimizers
// and stages its elements, errors and mean stay, and its bias correction counts its own steps.
#include <doctest/doctest.h>
#include <spdlog/logger.h>
#include <spdlog/sinks/ostream_sink.h>

#include <algorithm>
#include <cmath>
#include <sstream>

#include "support/gradients.hpp"
#include "support/sessions.hpp"
#include "support/text.hpp"

using namespace onebit;
using namespace onebit::test;

namespace {

// Three tensors, two of which share a tile.
const Tensors sharing_model = {std::vector<float>(5000, 0.25F), std::vector<float>(40, 1.0F), std::vector<float>(700, -0.5F)};
const std::string tail = "\n[compressor]\nplugin = \"onebit\"\n[communicator]\nplugin = \"threads\"\ntimeout = 60\n";
const std::string zeroone = "var_freeze_step = 4\nvar_update_scaler = 2\nlocal_step_scaler = 3\n";

struct Named {
  std::string name, toml;
};
std::vector<Named> optimizers(const std::string& options, const std::string& clipper = "local_step_clipper = 4\n") {
  std::vector<Named> all;
  const auto add = [&](const std::string& name, const std::string& plugin, const std::string& own) {
    all.push_back({name, "[optimizer]\nplugin = \"" + plugin + "\"\n" + options + own});
  };
  add("adam", "adam", "");
  add("lamb", "lamb", "");
  for (const std::string message : {"update", "momentum"}) {
    const std::string of = "message = \"" + message + "\"\n";
    add("1-bit Adam, " + message, "onebit_adam", "freeze_step = 4\n" + of);
    add("1-bit LAMB, " + message, "onebit_lamb", "freeze_step = 4\n" + of);
    add("0/1 Adam, " + message, "zeroone_adam", zeroone + clipper + of);
  }
  return all;
}

// The gradients of a step, but for the tensors for which keep(tensor) is false.
template <class Keep>
std::vector<const float*> without(const Tensors& gradients, Keep keep) {
  std::vector<const float*> given = pointers(gradients);
  for (size_t t = 0; t < given.size(); ++t)
    if (!keep(t)) given[t] = nullptr;
  return given;
}

// What is told at the freeze of a run in which tensor 1 has a gradient from step `first` on.
std::string told_with(const std::string& optimizer, int64_t first) {
  std::ostringstream told;
  Registry registry(std::make_shared<spdlog::logger>("told", std::make_shared<spdlog::sinks::ostream_sink_st>(told)));
  registry.load_folder(Registry::default_folder());
  const Configuration configuration(registry, Manifest::parse(optimizer + tail, "test.toml", "."));
  Tensors own = sharing_model;
  LocalRendezvous rendezvous(1);
  Session session(registry, configuration, rendezvous.at(0), parameters_of(own));
  told.str("");
  for (int64_t step = 1; step <= 6; ++step)
    session.step(without(noisy(sharing_model, step, 0), [&](size_t t) { return t != 1 || step >= first; }));
  return told.str();
}

}  // namespace

TEST_CASE("absent: what never has a gradient stays, weight decay or not, in all optimizers and stages") {
  for (const Named& optimizer : optimizers("weight_decay = 0.1\nlr = 0.01\n"))
    for (const int ranks : {1, 2, 3})
      for (const std::string exchange : {"", "[exchange]\nbucket_bytes = 4096\ndense_below = 100\n"}) {
        CAPTURE(optimizer.name);
        CAPTURE(ranks);
        const std::vector<Tensors> after = run_sessions(ranks, optimizer.toml + tail + exchange, sharing_model, [&](Rank rank) {
          for (int64_t step = 1; step <= 14; ++step) {
            const StepReport report =
                rank.session.step(without(noisy(sharing_model, step, rank.number), [](size_t t) { return t != 1; }));
            if (report.absent != 1 || report.skipped) throw std::runtime_error("the absent tensor is not counted");
          }
          const Session::AtAnchor anchor(rank.session);
          if (rank.parameters[1] != sharing_model[1]) throw std::runtime_error("the anchor has moved");
        });
        for (const Tensors& own : after) {
          CHECK(own[1] == sharing_model[1]);
          CHECK(own[0] != sharing_model[0]);
          CHECK(own[2] != sharing_model[2]);
        }
      }
}

TEST_CASE("absent: intermittent gradients train a tensor as torch.optim.AdamW does, with its own count of steps") {
  const auto given = [](int64_t step, size_t t) { return t == 0 || step % 3 == 0 || (t == 2 && step > 10); };
  constexpr double lr = 0.01, decay = 0.1, beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
  const Tensors after =
      run_sessions(2, "[optimizer]\nplugin = \"adam\"\nlr = 0.01\nweight_decay = 0.1\n" + tail, sharing_model, [&](Rank rank) {
        for (int64_t step = 1; step <= 20; ++step)
          rank.session.step(without(noisy(sharing_model, step, rank.number), [&](size_t t) { return given(step, t); }));
      })[0];
  for (size_t t = 0; t < sharing_model.size(); ++t) {
    double worst = 0;
    for (size_t i = 0; i < sharing_model[t].size(); ++i) {
      double p = sharing_model[t][i], m = 0, v = 0;
      int count = 0;
      for (int64_t step = 1; step <= 20; ++step) {
        if (!given(step, t)) continue;
        const double g = (static_cast<double>(noise(static_cast<uint64_t>(step), 0, t, i)) +
                          static_cast<double>(noise(static_cast<uint64_t>(step), 1, t, i))) /
                             2 +
                         0.3 * std::sin(static_cast<double>(i));
        ++count;
        m = beta1 * m + (1 - beta1) * g;
        v = beta2 * v + (1 - beta2) * g * g;
        const double corrected = std::sqrt(v / (1 - std::pow(beta2, count))) + eps;
        p -= lr * (m / (1 - std::pow(beta1, count)) / corrected + decay * p);
      }
      worst = std::max(worst, std::fabs(p - static_cast<double>(after[t][i])));
    }
    CAPTURE(t);
    CHECK(worst < 2e-5);
  }
}

TEST_CASE("absent: where one rank has a gradient, the others count as zeros") {
  for (const Named& optimizer : optimizers("weight_decay = 0.1\n", "local_step_clipper = 1\n")) {
    CAPTURE(optimizer.name);
    const auto train = [&](bool zeros) {
      return run_sessions(3, optimizer.toml + tail, sharing_model, [&](Rank rank) {
        const std::vector<float> none(40);
        for (int64_t step = 1; step <= 9; ++step) {
          const Tensors gradients = noisy(sharing_model, step, rank.number);
          std::vector<const float*> given = pointers(gradients);
          if (step % 3 != rank.number) given[1] = zeros ? none.data() : nullptr;
          if (rank.session.step(given).absent != 0) throw std::runtime_error("some rank has a gradient");
        }
      });
    };
    CHECK(train(false) == train(true));
  }
}

// A tensor of its own scales does not feel its neighbours: beside them it must come out as alone, where the steps that it
// misses are no steps. A worker error, a server error or a mean that an absent step had touched would show.
TEST_CASE("absent: errors, retained mean and trust ratios come through as if the step had not been") {
  const auto missed = [](int64_t step) { return step == 3 || step == 8 || step == 9 || step == 12; };
  for (const std::string optimizer : {"onebit_adam", "onebit_lamb"})
    for (const std::string message : {"update", "momentum"}) {
      if (optimizer == "onebit_lamb" && message == "momentum") continue;  // its scalings are of all tensors together
      for (const std::string scale : {"block", "tensor"})
        for (const int ranks : {1, 2, 3}) {
          CAPTURE(optimizer);
          CAPTURE(message);
          CAPTURE(scale);
          CAPTURE(ranks);
          const std::string once = "[optimizer]\nplugin = \"" + optimizer +
                                   "\"\nfreeze_step = 5\nrefresh = 0\nbias_correction = false\n" +
                                   "weight_decay = 0.01\nmessage = \"" + message + "\"\n[compressor]\nplugin = \"onebit\"\n" +
                                   "scale = \"" + scale + "\"\n[communicator]\nplugin = \"threads\"\ntimeout = 60\n";
          const auto gradient = [](int64_t step, int rank) { return noisy(sharing_model, step, rank); };
          const std::vector<Tensors> beside = run_sessions(ranks, once, sharing_model, [&](Rank rank) {
            for (int64_t step = 1; step <= 15; ++step)
              rank.session.step(without(gradient(step, rank.number), [&](size_t t) { return t != 0 || !missed(step); }));
          });
          const std::vector<Tensors> alone = run_sessions(ranks, once, {sharing_model[0]}, [&](Rank rank) {
            for (int64_t step = 1; step <= 15; ++step) {
              if (missed(step)) continue;
              rank.session.set_next_step(step);
              const Tensors own = {gradient(step, rank.number)[0]};
              rank.session.step(pointers(own));
            }
          });
          for (size_t rank = 0; rank < beside.size(); ++rank) CHECK(beside[rank][0] == alone[rank][0]);
        }
    }
}

TEST_CASE("absent: in the step of the freeze, and in the first compressed one, state is converted and nothing moves") {
  for (const Named& optimizer : optimizers("weight_decay = 0.1\nlr = 0.01\n", "local_step_clipper = 1\n"))
    for (const int64_t away : {4, 5}) {
      CAPTURE(optimizer.name);
      CAPTURE(away);
      const auto train = [&](bool misses) {
        return run_sessions(2, optimizer.toml + tail, sharing_model, [&](Rank rank) {
          for (int64_t step = 1; step <= 20; ++step) {
            const Tensors before = rank.parameters;
            rank.session.step(
                without(noisy(sharing_model, step, rank.number), [&](size_t t) { return t != 0 || !misses || step != away; }));
            if (misses && step == away && rank.parameters[0] != before[0]) throw std::runtime_error("it has moved");
          }
        })[0];
      };
      // one step fewer of twenty: the two stay close, for each moves by about lr a step
      const Tensors with = train(false), missed = train(true);
      double apart = 0, moved = 0;
      for (size_t i = 0; i < sharing_model[0].size(); ++i) {
        apart += std::fabs(static_cast<double>(with[0][i] - missed[0][i]));
        moved += std::fabs(static_cast<double>(with[0][i] - sharing_model[0][i]));
      }
      CHECK(apart < 0.5 * moved);
      CHECK(with[0] != missed[0]);
    }
}

TEST_CASE("absent: a tensor that is away does not hold the freeze up, for its variance does not fall") {
  const auto last_dense = [](bool away) {
    int last = 0;
    const std::string toml = onebit_adam("freeze_step = \"auto\"\nfreeze_window = 5\nbetas = [0.9, 0.9]\n");
    run_sessions(2, toml, {std::vector<float>(100), std::vector<float>(100)}, [&](Rank rank) {
      const std::vector<float> ones(100, 1.0F);
      for (int step = 1; step <= 40; ++step) {
        const StepReport report = rank.session.step({ones.data(), away && step > 3 ? nullptr : ones.data()});
        if (rank.number == 0 && !report.compressed) last = step;
      }
    });
    return last;
  };
  CHECK(last_dense(false) < 20);
  CHECK(last_dense(true) == last_dense(false));
}

TEST_CASE("absent: the rounds send the same bytes, and an agreement a bit a tensor more") {
  const auto train = [](bool misses) {
    Traffic traffic;
    run_sessions(2, onebit_adam("freeze_step = 2\n"), sharing_model, [&](Rank rank) {
      for (int64_t step = 1; step <= 6; ++step)
        rank.session.step(without(noisy(sharing_model, step, rank.number), [&](size_t t) { return t != 1 || !misses; }));
      if (rank.number == 1) traffic = rank.session.traffic();
    });
    return traffic;
  };
  const Traffic all = train(false), some = train(true);
  CHECK(some.dense_bytes == all.dense_bytes);
  CHECK(some.compressed_bytes == all.compressed_bytes);
  CHECK(some.agreement_bytes == all.agreement_bytes);
  CHECK(all.agreement_bytes == 2 * 40 + 6 * 48);
}

TEST_CASE("absent: a step in which no tensor has a gradient changes nothing, counts as a step, and is told") {
  std::ostringstream told;
  Registry registry(std::make_shared<spdlog::logger>("told", std::make_shared<spdlog::sinks::ostream_sink_st>(told)));
  registry.load_folder(Registry::default_folder());
  const Configuration configuration(registry, Manifest::parse(onebit_adam("freeze_step = 2\nweight_decay = 0.1\n"), "t", "."));
  Tensors own = sharing_model;
  LocalRendezvous rendezvous(1);
  Session session(registry, configuration, rendezvous.at(0), parameters_of(own));
  for (int64_t step = 1; step <= 3; ++step) session.step(pointers(noisy(sharing_model, step, 0)));
  const Tensors before = own;
  told.str("");
  const StepReport report = session.step({nullptr, nullptr, nullptr});
  CHECK(report.number == 4);
  CHECK(report.absent == 3);
  CHECK_FALSE(report.skipped);
  CHECK(own == before);
  CHECK(session.next_step() == 5);
  CHECK(contains(told.str(), "step 4: no rank has a gradient of any tensor, so nothing is updated (1 in a row)"));
}

TEST_CASE("absent: what never had a gradient by the freeze is named there") {
  for (const Named& optimizer : optimizers("")) {
    if (optimizer.name == "adam" || optimizer.name == "lamb") continue;  // they never freeze
    CAPTURE(optimizer.name);
    CHECK(contains(told_with(optimizer.toml, 99),
                   "step 4 is the last before the variance is frozen, and so many elements have had no gradient until now: "
                   "'t1' 40 of 40;"));
    CHECK_FALSE(contains(told_with(optimizer.toml, 4), "until now"));
  }
}

TEST_CASE("absent: a rank's local step goes by its own gradients, and the sync brings together what any of them moved") {
  const std::string toml = "[optimizer]\nplugin = \"zeroone_adam\"\nweight_decay = 0.1\nlr = 0.01\nvar_freeze_step = 2\n" +
                           std::string("var_update_scaler = 1\nlocal_step_scaler = 1\nlocal_step_clipper = 4\n") + tail;
  int locals = 0;
  const std::vector<Tensors> after = run_sessions(2, toml, sharing_model, [&](Rank rank) {
    for (int64_t step = 1; step <= 32; ++step) {
      const Tensors gradients = noisy(sharing_model, step, rank.number), before = rank.parameters;
      // tensor 1: rank 1 alone, and never in a sync; tensor 2: nobody after the freeze
      const StepReport report = rank.session.step(
          without(gradients, [&](size_t t) { return step <= 2 || t == 0 || (t == 1 && rank.number == 1 && step % 4 != 0); }));
      if (report.local && rank.number == 0) ++locals;
      if (report.local && rank.number == 0 && rank.parameters[1] != before[1]) throw std::runtime_error("it moved without");
      if (step > 2 && rank.parameters[2] != before[2]) throw std::runtime_error("it moved without any");
    }
  });
  CHECK(locals > 10);
  CHECK(after[0] == after[1]);  // the last step is a sync
  CHECK(after[0][1] != sharing_model[1]);
}
