// SPDX-License-Identifier: Apache-2.0
// 0/1 Adam through sessions with the real compressor: its schedules, local steps and syncs, weight decay, evaluation between
// syncs, exempt tensors, skipped steps, and how far an element may move.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <mutex>
#include <sstream>

#include <spdlog/logger.h>
#include <spdlog/sinks/ostream_sink.h>

#include "support/gradients.hpp"
#include "support/sessions.hpp"
#include "towards_one.hpp"

using namespace onebit;
using namespace onebit::test;

namespace {

std::string zeroone(const std::string& lines, const std::string& tables = "") {
  return "[optimizer]\nplugin = \"zeroone_adam\"\n" + lines +
         "\n[compressor]\nplugin = \"onebit\"\n[communicator]\nplugin = \"threads\"\ntimeout = 60\n" + tables;
}
std::string intervals(int freeze, int scaler, int clipper, int kappa = 4) {
  return "var_freeze_step = " + std::to_string(freeze) + "\nvar_update_scaler = " + std::to_string(kappa) +
         "\nlocal_step_scaler = " + std::to_string(scaler) + "\nlocal_step_clipper = " + std::to_string(clipper) + "\n";
}

Tensors zeros_like(const Tensors& tensors) {
  Tensors zeros = tensors;
  for (auto& tensor : zeros) std::fill(tensor.begin(), tensor.end(), 0.0F);
  return zeros;
}
bool same_bits(const Tensors& a, const Tensors& b) {
  for (size_t k = 0; k < a.size(); ++k)
    if (a[k].size() != b[k].size() || std::memcmp(a[k].data(), b[k].data(), a[k].size() * sizeof(float)) != 0) return false;
  return true;
}
bool finite(const Tensors& tensors) {
  for (const auto& tensor : tensors)
    for (const float value : tensor)
      if (!std::isfinite(value)) return false;
  return true;
}

}  // namespace

TEST_CASE("zeroone_adam: variance updates and syncs come ever more seldom, and no seldomer than asked") {
  const Tensors initial = noisy_model({100});
  std::string stages;
  run_sessions(2, zeroone(intervals(11, 6, 4, 2)), initial, [&](Rank rank) {
    for (int64_t step = 1; step <= 40; ++step) {
      const StepReport report = rank.session.step(pointers(noisy(initial, step, rank.number)));
      if (rank.number == 0) stages += report.local ? '.' : report.compressed ? 'c' : 'D';
    }
  });
  // steps   1 to 11: dense at 1 2 | 4 6 | 8;   12 to 17: every step;   18 to 23: every 2nd;   then every 4th, the clipper
  CHECK(stages ==
        "DDcDcDcDccc"
        "cccccc"
        "c.c.c."
        "c...c...c...c...c");
}

TEST_CASE("zeroone_adam: while many elements have had no gradient, each step updates the variance, but not for ever") {
  const Tensors initial = noisy_model({60, 40});
  const auto stages = [&](int64_t from, const std::string& lines) {  // two of five elements have gradients from that step on
    std::string result;
    run_sessions(2, zeroone(intervals(11, 6, 4, 2) + lines), initial, [&](Rank rank) {
      for (int64_t step = 1; step <= 11; ++step) {
        Tensors gradients = noisy(initial, step, rank.number);
        if (step < from) std::fill(gradients[1].begin(), gradients[1].end(), 0.0F);
        const StepReport report = rank.session.step(pointers(gradients));
        if (rank.number == 0) result += report.compressed ? 'c' : 'D';
      }
    });
    return result;
  };
  CHECK(stages(1, "") == "DDcDcDcDccc");
  CHECK(stages(5, "") == "DDDDDDcDcDc");  // from step 6 on as from step 2 on
  CHECK(stages(12, "") == "DDDDDDDDDDD");
  CHECK(stages(12, "betas = [0.9, 0.9]\n") == "DDDDcDcDccc");  // 0.3 / (1 - beta2) steps
  CHECK(stages(12, "beta2_per = \"update\"\n") == "DDcDcDcDccc");
}

TEST_CASE("zeroone_adam learns, with one rank and with three, in every form and at every interval") {
  const Tensors initial = noisy_model({3000, 70});
  for (const int ranks : {1, 3})
    for (const std::string form : {"", "message = \"momentum\"\n", "variance_stage = \"gradient\"\n"})
      for (const int clipper : {1, 4}) {
        CAPTURE(ranks);
        CAPTURE(form);
        CAPTURE(clipper);
        const auto after =
            run_sessions(ranks, zeroone("lr = 0.03\n" + form + intervals(60, 20, clipper)), initial, [&](Rank rank) {
              for (int64_t step = 1; step <= 400; ++step) {
                if (step == 400) rank.session.request_sync();
                rank.session.set_learning_rate_factor(1 - static_cast<double>(step - 1) / 400);
                rank.session.step(pointers(towards_one(rank.parameters, step, rank.number)));
              }
            });
        CHECK(distance_to_one(initial) > 0.9);
        CHECK(distance_to_one(after[0]) < 0.12);
        for (const Tensors& other : after) CHECK(same_bits(other, after[0]));
      }
}

TEST_CASE("zeroone_adam: weight decay is nominal, whatever the steps between two syncs") {
  const Tensors initial = noisy_model({500, 40});
  const double decay = 0.1;
  for (const int clipper : {1, 2, 4, 16}) {
    CAPTURE(clipper);
    const std::string lines = "lr = 0.01\nweight_decay = 0.1\nbetas = [0.0, 0.999]\n" + intervals(5, 1, clipper);
    const auto after = run_sessions(2, zeroone(lines), initial, [&](Rank rank) {
      for (int64_t step = 1; step <= 165; ++step) {
        if (step == 165) rank.session.request_sync();
        rank.session.set_learning_rate_factor(step <= 5 ? 0 : 1);  // a variance, but no step
        rank.session.step(pointers(step <= 5 ? noisy(initial, step, rank.number) : zeros_like(initial)));
      }
    });
    const double kept = std::pow(1 - 0.01 * decay, 160);
    for (size_t k = 0; k < initial.size(); ++k)
      for (size_t i = 0; i < initial[k].size(); ++i)
        REQUIRE(after[0][k][i] == doctest::Approx(initial[k][i] * kept).epsilon(1e-5));
  }
}

TEST_CASE("zeroone_adam: a learning rate of 0 through whole intervals moves nothing, and learning goes on after it") {
  const Tensors initial = noisy_model({300});
  Tensors held, later;
  run_sessions(2, zeroone("lr = 0.02\n" + intervals(10, 5, 4)), initial, [&](Rank rank) {
    Tensors before;
    for (int64_t step = 1; step <= 400; ++step) {
      if (step == 101) before = rank.parameters;  // step 100 was a sync
      if (step == 141 && rank.number == 0) held = rank.parameters;
      if (step == 141 && !same_bits(before, rank.parameters)) throw std::runtime_error("a parameter moved");
      if (step == 400) rank.session.request_sync();
      rank.session.set_learning_rate_factor(step > 100 && step <= 140 ? 0 : 1 - static_cast<double>(step - 1) / 400);
      rank.session.step(pointers(towards_one(rank.parameters, step, rank.number)));
    }
    if (rank.number == 0) later = rank.parameters;
  });
  CHECK(finite(later));
  CHECK(distance_to_one(later) < 0.5 * distance_to_one(held));
}

TEST_CASE("zeroone_adam: after each of 3,000 steps at interval 16 that is a sync, all ranks hold the same bits") {
  const Tensors initial = noisy_model({5000, 33});
  std::vector<std::vector<uint64_t>> hashes(3);
  run_sessions(3, zeroone("lr = 0.01\nweight_decay = 0.01\n" + intervals(40, 10, 16)), initial, [&](Rank rank) {
    for (int64_t step = 1; step <= 3000; ++step)
      if (!rank.session.step(pointers(noisy(initial, step, rank.number))).local)
        hashes[static_cast<size_t>(rank.number)].push_back(rank.session.parameter_hash());
  });
  CHECK(hashes[0].size() > 200);
  CHECK(hashes[0] == hashes[1]);
  CHECK(hashes[0] == hashes[2]);
}

TEST_CASE("zeroone_adam: what is looked at between two syncs is the same on all ranks, and changes nothing") {
  const Tensors initial = noisy_model({700, 9});
  const auto train = [&](bool look) {
    std::mutex mutex;
    std::vector<Tensors> seen;
    const auto after = run_sessions(2, zeroone("lr = 0.01\n" + intervals(10, 5, 4)), initial, [&](Rank rank) {
      for (int64_t step = 1; step <= 63; ++step) {
        rank.session.step(pointers(noisy(initial, step, rank.number)));
        if (!look) continue;
        const Session::AtAnchor view(rank.session);
        const std::lock_guard lock(mutex);
        if (step == 62) seen.push_back(rank.parameters);
      }
    });
    if (look) CHECK(same_bits(seen.at(0), seen.at(1)));
    return after;
  };
  const std::vector<Tensors> looked = train(true), plain = train(false);
  CHECK_FALSE(same_bits(plain[0], plain[1]));  // step 63 is no sync: ranks are apart
  for (size_t r = 0; r < 2; ++r) CHECK(same_bits(looked[r], plain[r]));
}

TEST_CASE("zeroone_adam: a gradient that is not finite on one rank costs that rank a local step, and nobody more") {
  const Tensors initial = noisy_model({400});
  const auto after = run_sessions(2, zeroone("lr = 0.01\n" + intervals(10, 5, 4)), initial, [&](Rank rank) {
    for (int64_t step = 1; step <= 84; ++step) {
      Tensors gradients = noisy(initial, step, rank.number);
      if (rank.number == 1 && (step == 61 || step == 62)) gradients[0][7] = std::numeric_limits<float>::quiet_NaN();
      const StepReport report = rank.session.step(pointers(gradients));
      if (report.skipped != (rank.number == 1 && (step == 61 || step == 62))) throw std::runtime_error("skipped wrongly");
    }
  });
  CHECK(finite(after[0]));
  CHECK(same_bits(after[0], after[1]));  // step 84 is a sync
}

TEST_CASE("zeroone_adam: an exempt tensor is Adam's, bit for bit, and between syncs its gradients wait") {
  const Tensors initial = noisy_model({600, 50});
  const int last = 24;  // from 12 on every 4th step is a sync
  const auto compressed = run_sessions(2, zeroone("lr = 0.01\nweight_decay = 0.1\ndense = [\"t1\"]\n" + intervals(11, 1, 4)),
                                       initial, [&](Rank rank) {
                                         rank.session.set_next_step(1);
                                         for (int64_t step = 1; step <= last; ++step)
                                           rank.session.step(pointers(noisy(initial, step, rank.number)));
                                       });
  // The same by hand: until step 12 every step, then one step on the mean of what came since the last sync.
  const std::vector<int64_t> syncs = {12, 16, 20, 24};
  const std::string adam =
      "[optimizer]\nplugin = \"adam\"\nlr = 0.01\nweight_decay = 0.1\n[communicator]\nplugin = \"threads\"\ntimeout = 60\n";
  const auto dense = run_sessions(2, adam, {initial[1]}, [&](Rank rank) {
    const auto of = [&](int64_t step) { return noisy(initial, step, rank.number)[1]; };
    for (int64_t step = 1; step <= 11; ++step) rank.session.step({of(step).data()});
    int64_t before = 11;
    for (const int64_t sync : syncs) {
      std::vector<float> sum = of(before + 1);
      for (int64_t step = before + 2; step <= sync; ++step)
        for (size_t i = 0; i < sum.size(); ++i) sum[i] += of(step)[i];
      const auto steps = static_cast<double>(sync - before);
      for (float& g : sum) g *= static_cast<float>(1 / steps);
      rank.session.set_learning_rate_factor(steps);
      rank.session.step({sum.data()});
      before = sync;
    }
  });
  for (size_t i = 0; i < initial[1].size(); ++i) REQUIRE(compressed[0][1][i] == doctest::Approx(dense[0][0][i]).epsilon(1e-6));
  CHECK_FALSE(same_bits({compressed[0][1]}, {initial[1]}));
}

TEST_CASE("zeroone_adam, var_freeze_step = \"auto\": it freezes where the variance is stable, and says so") {
  std::ostringstream text;
  const auto logger = std::make_shared<spdlog::logger>("test", std::make_shared<spdlog::sinks::ostream_sink_mt>(text));
  Registry registry(logger);
  registry.load_folder(Registry::default_folder());
  const Configuration configuration(registry, Manifest::parse(zeroone("local_step_scaler = 10\n"), "test.toml", "."));
  LocalRendezvous rendezvous(1);
  Tensors parameters = noisy_model({2000});
  Session session(registry, configuration, rendezvous.at(0), parameters_of(parameters));
  int64_t first_local = 0;
  for (int64_t step = 1; step <= 400 && first_local == 0; ++step)
    if (session.step(pointers(noisy(parameters, step, 0))).local) first_local = step;
  CHECK(first_local > 20);
  CHECK(text.str().find("the variance is stable") != std::string::npos);
}

TEST_CASE("zeroone_adam: clipping scales a local step by the rank's own norm, and a sync by the norm of all") {
  const Tensors initial = noisy_model({300});
  const auto train = [&](double scale, const std::string& clipping) {
    std::vector<double> norms, scales;
    const auto after = run_sessions(
        2, zeroone("lr = 0.01\nmessage = \"momentum\"\n" + intervals(10, 5, 4), "[session]\n" + clipping), initial,
        [&](Rank rank) {
          for (int64_t step = 1; step <= 60; ++step) {
            Tensors gradients = noisy(initial, step, 0);  // the same on both ranks, so that their norms are the mean's
            for (float& g : gradients[0]) g *= static_cast<float>(scale);
            const StepReport report = rank.session.step(pointers(gradients));
            if (rank.number == 0) norms.push_back(report.gradient_norm), scales.push_back(report.gradient_scale);
          }
        });
    for (size_t i = 0; i < norms.size(); ++i) REQUIRE(norms[i] * scales[i] == doctest::Approx(1).epsilon(1e-5));
    return std::pair(after, scales);
  };
  // Gradients far above the limit, four times as large or not: clipped, they are the same in local steps and in syncs.
  const auto small = train(1000, "clip_norm = 1.0\n"), large = train(4000, "clip_norm = 1.0\n");
  for (size_t i = 0; i < initial[0].size(); ++i)
    REQUIRE(small.first[0][0][i] == doctest::Approx(large.first[0][0][i]).epsilon(1e-4));
  for (size_t step = 0; step < small.second.size(); ++step)
    REQUIRE(small.second[step] == doctest::Approx(4 * large.second[step]).epsilon(1e-5));
}
