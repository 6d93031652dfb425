// SPDX-License-Identifier: Apache-2.0
// What a session promises: every gradient counts, the freeze is exact, a bad gradient changes nothing anywhere, ranks that do
// not belong together are told so.
#include <doctest/doctest.h>
#include <spdlog/logger.h>
#include <spdlog/sinks/ostream_sink.h>

#include <chrono>
#include <cmath>
#include <limits>
#include <sstream>
#include <thread>

#include "small_models.hpp"
#include "support/gradients.hpp"
#include "support/sessions.hpp"
#include "support/text.hpp"

using namespace onebit;
using namespace onebit::test;

namespace {

// The text of the error on each rank.
std::vector<std::string> errors(int ranks, const std::function<std::string(int)>& toml,
                                const std::function<Tensors(int)>& model, const std::function<void(Rank)>& body) {
  std::vector<std::string> found(static_cast<size_t>(ranks));
  LocalRendezvous rendezvous(ranks);
  host::run_ranks(ranks, [&](int rank) {
    try {
      Tensors own = model(rank);
      const Configuration configuration = configure(toml(rank));
      Session session(plugins(), configuration, rendezvous.at(rank), parameters_of(own));
      body({session, own, rank});
    } catch (const Error& e) {
      found[static_cast<size_t>(rank)] = e.what();
    }
  });
  return found;
}

}  // namespace

TEST_CASE("parameters are broadcast from rank 0 when a session starts") {
  LocalRendezvous rendezvous(3);
  std::vector<Tensors> models;
  for (int rank = 0; rank < 3; ++rank) models.push_back({std::vector<float>(100, static_cast<float>(rank + 7))});
  host::run_ranks(3, [&](int rank) {
    Session session(plugins(), configure(dense_adam), rendezvous.at(rank), parameters_of(models[static_cast<size_t>(rank)]));
  });
  for (const Tensors& model : models) CHECK(model == Tensors{std::vector<float>(100, 7.0F)});
}

TEST_CASE("freeze_step is the number of the last dense step, exactly, whatever the first step's number") {
  for (const int64_t first : {1, 2, 5}) {
    std::string stages;
    Traffic traffic;
    run_sessions(2, onebit_adam("freeze_step = 5\n"), two_tensors, [&](Rank rank) {
      rank.session.set_next_step(first);
      for (int64_t step = first; step < first + 6; ++step) {
        const StepReport report = rank.session.step(pointers(noisy(two_tensors, step, rank.number)));
        if (rank.number == 0) stages += report.number != step ? '!' : report.compressed ? 'c' : 'd';
      }
      if (rank.number == 0) traffic = rank.session.traffic();
    });
    CAPTURE(first);
    const std::string expected = first == 1 ? "dddddc" : first == 2 ? "ddddcc" : "dccccc";
    CHECK(stages == expected);
    CHECK(traffic.dense_steps == std::count(expected.begin(), expected.end(), 'd'));
    CHECK(traffic.compressed_steps == std::count(expected.begin(), expected.end(), 'c'));
  }
}

TEST_CASE("the compressed stage sends at most 1.05 bits a parameter and direction, the dense stage 32") {
  const Tensors model = {std::vector<float>(200'000)};
  Traffic traffic;
  run_sessions(2, onebit_adam("freeze_step = 2\n"), model, [&](Rank rank) {
    for (int64_t step = 1; step <= 6; ++step) rank.session.step(pointers(noisy(model, step, rank.number)));
    if (rank.number == 1) traffic = rank.session.traffic();
  });
  CHECK(8.0 * static_cast<double>(traffic.compressed_bytes) / (4 * 200'000.0) <= 1.05);
  CHECK(8.0 * static_cast<double>(traffic.compressed_bytes) / (4 * 200'000.0) >= 0.95);
  CHECK(8.0 * static_cast<double>(traffic.dense_bytes) / (2 * 200'000.0) == doctest::Approx(32).epsilon(0.03));
  CHECK(traffic.agreement_bytes == 6 * (40 + 8) + 2 * 40);  // six steps, with a bit a tensor, and two at the start
}

TEST_CASE("every gradient counts: the first one, and each rank's") {
  const auto train = [](int changed_step, int changed_rank) {
    return run_sessions(2, onebit_adam("freeze_step = 2\n"), two_tensors, [&](Rank rank) {
      for (int step = 1; step <= 4; ++step) {
        Tensors gradients = noisy(two_tensors, step, rank.number);
        if (step == changed_step && rank.number == changed_rank) gradients[1][3] += 9.0F;
        rank.session.step(pointers(gradients));
      }
    });
  };
  const Tensors expected = train(0, 0)[0];
  for (const int step : {1, 2, 3, 4})
    for (const int rank : {0, 1}) CHECK(train(step, rank)[0] != expected);
}

TEST_CASE("without a floor, elements whose variance is 0 at the freeze never move after it") {
  const std::string toml = onebit_adam("freeze_step = 3\nweight_decay = 0.1\nvariance_floor = 0\n");
  const Tensors after = run_sessions(2, toml, two_tensors, [](Rank rank) {
    for (int step = 1; step <= 10; ++step) {
      Tensors gradients = noisy(two_tensors, step, rank.number);
      for (size_t i = 0; i < 100 && step <= 3; ++i) gradients[0][i * 7] = 0;
      for (size_t i = 0; i < 100 && step == 4; ++i) rank.parameters[0][i * 7] = 0.75F;
      rank.session.step(pointers(gradients));
    }
  })[0];
  for (size_t i = 0; i < 100; ++i) REQUIRE(after[0][i * 7] == 0.75F);
  CHECK(after[0][1] != 0.25F);
}

TEST_CASE("a gradient that is not finite, anywhere on one rank: all ranks skip, and every byte is as before") {
  const auto train = [](bool disturb, float bad, size_t at) {
    return run_sessions(3, onebit_adam("freeze_step = 3\n", "[exchange]\nbucket_bytes = 4096\n"), two_tensors, [&](Rank rank) {
      for (int step = 1; step <= 8; ++step) {
        if (disturb && (step == 1 || step == 3 || step == 4 || step == 7)) {
          const Tensors before = rank.parameters;
          Tensors gradients = noisy(two_tensors, step + 100, rank.number);
          if (rank.number == step % 3) gradients[at < 5000 ? 0 : 1][at % 5000] = bad;
          const StepReport report = rank.session.step(pointers(gradients));
          if (!report.skipped || report.number != step || rank.parameters != before)
            throw std::runtime_error("the step was taken");
        }
        if (rank.session.step(pointers(noisy(two_tensors, step, rank.number))).skipped)
          throw std::runtime_error("a good step was skipped");
      }
      if (rank.session.traffic().skipped_steps != (disturb ? 4 : 0)) throw std::runtime_error("skipped steps are miscounted");
    });
  };
  const std::vector<Tensors> expected =
      train(false, 0, 0);  // a later step sees state and errors, so equal ends mean equal bytes
  for (const float bad : {NAN, -INFINITY, 1e30F})
    for (const size_t at : {0U, 2500U, 4999U, 5039U}) CHECK(train(true, bad, at) == expected);
}

TEST_CASE("with gradients spread over six decades inside one block no element moves by more than 10 lr") {
  const double lr = 1e-3;
  double largest = 0;
  const Tensors model = {std::vector<float>(4096)};
  run_sessions(2, onebit_adam("freeze_step = 20\nclamp = 10.0\n"), model, [&](Rank rank) {
    for (int step = 1; step <= 200; ++step) {
      Tensors gradients = noisy(model, step, rank.number);
      for (size_t i = 0; i < 4096; ++i) gradients[0][i] *= std::pow(10.0F, -6.0F * static_cast<float>(i) / 4096.0F);
      const Tensors before = rank.parameters;
      rank.session.step(pointers(gradients));
      if (rank.number == 0)
        for (size_t i = 0; i < 4096; ++i)
          largest = std::max(largest, std::fabs(static_cast<double>(rank.parameters[0][i] - before[0][i])));
    }
  });
  MESSAGE("largest move " << largest / lr << " lr");
  CHECK(largest <= 10 * lr);
  CHECK(largest > 0.1 * lr);
}

TEST_CASE("ten thousand tensors, tensors without elements, gradients that are missing") {
  Tensors model;
  for (size_t k = 0; k < 10'000; ++k) model.emplace_back(k % 5, 1.0F);
  const std::vector<Tensors> after = run_sessions(2, onebit_adam("freeze_step = 2\n"), model, [&](Rank rank) {
    for (int step = 1; step <= 4; ++step) {
      const Tensors gradients = noisy(model, step, rank.number);
      std::vector<const float*> given = pointers(gradients);
      given[3] = given[5] = given[9] = nullptr;
      rank.session.step(given);
    }
  });
  CHECK(after[0] == after[1]);
  CHECK(after[0][3] == model[3]);
  CHECK(after[0][4] != model[4]);
  run_sessions(2, dense_adam, {std::vector<float>(), std::vector<float>()}, [](Rank rank) {
    rank.session.step({nullptr, nullptr});
  });
}

TEST_CASE("dense_below: small tensors take part in compressed rounds as fp32") {
  const auto train = [](const std::string& exchange) {
    return run_sessions(2, onebit_adam("freeze_step = 2\n", exchange), two_tensors, [](Rank rank) {
      for (int step = 1; step <= 6; ++step) rank.session.step(pointers(noisy(two_tensors, step, rank.number)));
    });
  };
  const std::vector<Tensors> some = train("[exchange]\ndense_below = 100\n");
  const std::vector<Tensors> none = train("");
  const std::vector<Tensors> all = train("[exchange]\ndense_below = 100000\n");
  CHECK(some[0] == some[1]);
  CHECK(some[0][0] == none[0][0]);
  CHECK(some[0][1] == all[0][1]);
  CHECK(some[0][1] != none[0][1]);
}

TEST_CASE("clipping: the factor comes from the mean squared norm over ranks, and is the same on all") {
  std::vector<StepReport> reports(2);
  const Tensors model = {std::vector<float>(4, 1.0F)};
  run_sessions(2, dense_adam + "[session]\nclip_norm = 1.0\n", model, [&](Rank rank) {
    const Tensors gradients = {std::vector<float>(4, rank.number == 0 ? 3.0F : 4.0F)};
    reports[static_cast<size_t>(rank.number)] = rank.session.step(pointers(gradients));
  });
  const double norm = std::sqrt((36.0 + 64.0) / 2);
  for (const StepReport& report : reports) {
    CHECK(report.gradient_norm == doctest::Approx(norm));
    CHECK(report.gradient_scale == doctest::Approx(1 / norm));
  }
}

TEST_CASE("gradient_scale 1/k after k batches equals the mean gradient, in both stages") {
  const auto train = [](float factor, double scale) {
    return run_sessions(2, onebit_adam("freeze_step = 3\n"), two_tensors, [&](Rank rank) {
      rank.session.set_gradient_scale(scale);
      for (int step = 1; step <= 6; ++step) {
        Tensors gradients = noisy(two_tensors, step, rank.number);
        for (auto& tensor : gradients)
          for (float& g : tensor) g *= factor;
        rank.session.step(pointers(gradients));
      }
    });
  };
  CHECK(train(4.0F, 0.25) == train(1.0F, 1.0));
}

TEST_CASE("ranks that do not belong together are told so, on every rank") {
  const auto same = [](int) { return dense_adam; };
  const auto model = [](int) { return two_tensors; };
  const auto step = [](Rank rank) { rank.session.step(pointers(noisy(two_tensors, 1, rank.number))); };
  SUBCASE("another configuration") {
    for (const std::string& text : errors(
             3, [](int rank) { return dense_adam + (rank == 1 ? "[exchange]\nbucket_bytes = 9999\n" : ""); }, model, step))
      CHECK(contains(text, "differs from rank 0 in its configuration or plugin versions"));
  }
  SUBCASE("another optimizer option") {
    for (const std::string& text : errors(
             2, [](int rank) { return onebit_adam(rank == 1 ? "freeze_step = 7\n" : "freeze_step = 8\n"); }, model, step))
      CHECK(contains(text, "rank 1 "));
  }
  SUBCASE("another model") {
    for (const std::string& text : errors(
             2, same, [](int rank) { return Tensors{std::vector<float>(rank == 1 ? 5 : 6)}; }, step))
      CHECK(contains(text, "differs from rank 0 in the names, shapes or types of its parameters"));
  }
  SUBCASE("another step") {
    for (const std::string& text : errors(2, same, model, [&](Rank rank) {
           if (rank.number == 1) rank.session.set_next_step(4);
           step(rank);
         }))
      CHECK(contains(text, "is at step 4, rank 0 at step 1"));
  }
  SUBCASE("another learning rate") {
    for (const std::string& text : errors(2, same, model, [&](Rank rank) {
           if (rank.number == 0) rank.session.set_learning_rate_factor(0.5);
           step(rank);
         }))
      CHECK(contains(text, "learning rate"));
  }
}

TEST_CASE("an error on one rank ends the others' waits, with the cause") {
  const std::vector<std::string> found = errors(
      2, [](int) { return dense_adam; }, [](int) { return two_tensors; },
      [](Rank rank) { rank.session.step(rank.number == 1 ? std::vector<const float*>{nullptr} : pointers(two_tensors)); });
  CHECK(contains(found[1], "step() got 1 gradients for 2 parameters"));
  CHECK(contains(found[0], "step() got 1 gradients for 2 parameters"));
}

TEST_CASE("an abort in the middle of a step: every rank ends, and no buffer is freed while others copy from it") {
  const Tensors model = {std::vector<float>(2'000'000)};
  for (int trial = 0; trial < 4; ++trial) {
    const std::vector<std::string> found = errors(
        3, [](int) { return dense_adam + "[exchange]\nbucket_bytes = 400000\n"; }, [&](int) { return model; },
        [&](Rank rank) {
          std::thread other;
          if (rank.number == 1)
            other = std::thread([&] {
              std::this_thread::sleep_for(std::chrono::milliseconds(5 + 7 * trial));
              rank.session.communicator().abort("enough");
            });
          try {
            for (;;) rank.session.step(pointers(model));
          } catch (...) {
            if (other.joinable()) other.join();
            throw;
          }
        });
    for (const std::string& text : found) CHECK(contains(text, "enough"));
  }
}

TEST_CASE("a session that has failed says so, and why") {
  Tensors model = two_tensors;
  LocalRendezvous rendezvous(1);
  Session session(plugins(), configure(dense_adam), rendezvous.at(0), parameters_of(model));
  CHECK_THROWS_AS(session.step({}), Error);
  CHECK_THROWS_WITH(session.step(pointers(two_tensors)),
                    "this session ended with an earlier error: step() got 0 gradients for 2 parameters; a missing one is NULL");
}

TEST_CASE("verify_every finds a replica that was changed behind the session's back") {
  const std::vector<std::string> found = errors(
      2, [](int) { return dense_adam + "[session]\nverify_every = 2\n"; }, [](int) { return two_tensors; },
      [](Rank rank) {
        for (int step = 1; step <= 4; ++step) {
          if (rank.number == 1 && step == 3) rank.parameters[1][7] += 1e-3F;
          rank.session.step(pointers(noisy(two_tensors, step, rank.number)));
        }
      });
  for (const std::string& text : found) CHECK(text == "after step 4 parameter 't1' of rank 1 differs from rank 0's");
}

TEST_CASE("a compressed stage without a compressor is refused before training") {
  for (const std::string freeze_step : {"500", "\"auto\""}) {
    const std::string toml =
        "[optimizer]\nplugin = \"onebit_adam\"\nfreeze_step = " + freeze_step + "\n[communicator]\nplugin = \"threads\"\n";
    const std::vector<std::string> found = errors(
        1, [&](int) { return toml; }, [](int) { return two_tensors; }, [](Rank) {});
    CHECK(contains(found[0], "'onebit_adam' has a compressed stage, but no compressor is configured"));
  }
}

TEST_CASE("what an optimizer logs when its plans are rehearsed is not told: it has not happened") {
  std::ostringstream told;
  const auto logger = std::make_shared<spdlog::logger>("told", std::make_shared<spdlog::sinks::ostream_sink_st>(told));
  Registry registry(logger);
  registry.load_folder(Registry::default_folder());
  told.str("");
  const Configuration configuration(
      registry, Manifest::parse(onebit_adam("freeze_step = \"auto\"\nfreeze_window = 20\n"), "test.toml", "."));
  Tensors model = {std::vector<float>(100, 1.0F)};
  LocalRendezvous rendezvous(1);
  Session session(registry, configuration, rendezvous.at(0), parameters_of(model));
  CHECK(cost_of(registry, configuration, parameters_of(model), 2).has_compressed_stage);
  CHECK(told.str() == "");
  for (int step = 1; step <= 500; ++step) session.step(pointers(Tensors{std::vector<float>(100, 1.0F)}));
  CHECK(contains(told.str(), "onebit_adam: "));  // but when it happens
}

TEST_CASE("parameters without name, data or a possible shape are refused") {
  LocalRendezvous rendezvous(1);
  float value = 0;
  const auto refuse = [&](std::vector<Parameter> parameters, const char* text) {
    LocalRendezvous own(1);
    CHECK_THROWS_WITH(Session(plugins(), configure(dense_adam), own.at(0), std::move(parameters)), text);
  };
  refuse({{"a", {1}, &value}, {"a", {1}, &value}}, "parameters need names, each its own; found 'a' twice");
  refuse({{"", {1}, &value}}, "parameters need names, each its own; found '' without one");
  refuse({{"a", {2}, nullptr}}, "parameter 'a' has no data");
  refuse({{"a", {-2}, &value}}, "parameter 'a' has an impossible shape");
  refuse({{"a", {1LL << 40, 1LL << 40}, &value}}, "parameter 'a' has an impossible shape");
}

TEST_CASE("sessions count their steps and seconds in the registry's metrics") {
  const auto count_of = [](const std::string& name) {
    for (const MetricSnapshot& metric : plugins().metrics().snapshot())
      if (metric.name == name) return metric.count;
    return uint64_t{0};
  };
  const uint64_t steps = count_of("session.steps"), skipped = count_of("session.skipped_steps"),
                 timed = count_of("session.step_seconds");
  run_sessions(2, dense_adam, two_tensors, [](Rank rank) {
    Tensors gradients = noisy(two_tensors, 1, rank.number);
    rank.session.step(pointers(gradients));
    gradients[0][0] = NAN;
    rank.session.step(pointers(gradients));
  });
  CHECK(count_of("session.steps") == steps + 2);
  CHECK(count_of("session.skipped_steps") == skipped + 2);
  CHECK(count_of("session.step_seconds") == timed + 4);
}

TEST_CASE("what an embedder sends between steps is counted apart from the rounds") {
  run_sessions(2, onebit_adam("freeze_step = 5\n"), {std::vector<float>(64)}, [](Rank rank) {
    rank.session.step(pointers(rank.parameters));
    const onebit::Traffic before = rank.session.traffic();
    double value = 1;
    int64_t count = 1, stride = 1;
    onebit::Tensor tensor = {&value, {ONEBIT_DEVICE_CPU, 0}, 1, {ONEBIT_DTYPE_FLOAT, 64, 1}, &count, &stride, 0};
    onebit::Communicator& communicator = rank.session.communicator();
    communicator.wait(communicator.all_reduce(tensor, tensor, onebit::ReduceOp::sum, onebit::Call()));
    const onebit::Traffic after = rank.session.traffic();
    CHECK(after.dense_bytes == before.dense_bytes);
    CHECK(after.other_bytes > before.other_bytes);
  });
}
