// SPDX-License-Identifier: Apache-2.0
// exchange.dense_dtype in whole sessions: what is sent, what n = 1 does, and what becomes of large and small gradients.
#include <doctest/doctest.h>
#include <spdlog/logger.h>
#include <spdlog/sinks/ostream_sink.h>

#include <sstream>

#include "support/gradients.hpp"
#include "support/sessions.hpp"

using namespace onebit;
using namespace onebit::test;

namespace {

const Tensors small_model = {std::vector<float>(9001, 0.25F), std::vector<float>(40, 1.0F)};

std::string adam(const std::string& dtype, const std::string& tables = "") {
  return "[optimizer]\nplugin = \"adam\"\n[communicator]\nplugin = \"threads\"\n[exchange]\ndense_dtype = \"" + dtype + "\"\n" +
         tables;
}

std::vector<Tensors> train(int ranks, const std::string& toml) {
  return run_sessions(ranks, toml, small_model, [](Rank rank) {
    for (int step = 1; step <= 5; ++step) rank.session.step(pointers(noisy(small_model, step, rank.number)));
  });
}

// The first element of each tensor after ten steps of two ranks with these gradients, one number a tensor.
std::vector<float> moved_by(const std::string& toml, const std::vector<float>& gradients, double scale = 1) {
  Tensors initial;
  for (size_t t = 0; t < gradients.size(); ++t) initial.emplace_back(5000 + t, 0.0F);
  const std::vector<Tensors> after = run_sessions(2, toml, initial, [&](Rank rank) {
    Tensors own = initial;
    for (size_t t = 0; t < own.size(); ++t) std::fill(own[t].begin(), own[t].end(), gradients[t]);
    rank.session.set_gradient_scale(scale);
    for (int step = 1; step <= 10; ++step)
      if (rank.session.step(pointers(own)).skipped) throw std::runtime_error("skipped");
  });
  CHECK(after[0] == after[1]);
  std::vector<float> first;
  for (const auto& tensor : after[0]) first.push_back(tensor[0]);
  return first;
}

double vanished(const Registry& registry) {
  for (const MetricSnapshot& metric : registry.metrics().snapshot())
    if (metric.name == "session.vanished_elements") return metric.value;
  return 0;
}

}  // namespace

TEST_CASE("dense rounds send 16 bits an element, and every rank has the same parameters") {
  const auto sent = [](const std::string& dtype) {
    uint64_t bytes = 0;
    const std::vector<Tensors> after = run_sessions(3, adam(dtype), small_model, [&](Rank rank) {
      for (int step = 1; step <= 3; ++step) rank.session.step(pointers(noisy(small_model, step, rank.number)));
      if (rank.number == 0) bytes = rank.session.traffic().dense_bytes;
    });
    CHECK(after[0] == after[1]);
    CHECK(after[0] == after[2]);
    return static_cast<double>(bytes);
  };
  for (const std::string dtype : {"fp16", "bf16"}) {
    CHECK(train(3, adam(dtype))[0] != train(3, adam("fp32"))[0]);
    CHECK(2 * sent(dtype) == doctest::Approx(sent("fp32")).epsilon(0.001));
    CHECK(cost_of(plugins(), configure(adam(dtype)), {{"t", {300'000}, nullptr}}, 2).dense_traffic ==
          doctest::Approx(2 * 300'000.0).epsilon(0.02));
  }
}

TEST_CASE("n = 1 sends nothing and rounds nothing") {
  for (const std::string dtype : {"fp16", "bf16"}) {
    CHECK(train(1, adam(dtype)) == train(1, adam("fp32")));
    CHECK_FALSE(train(2, adam(dtype)) == train(2, adam("fp32")));  // the comparison can fail
  }
}

TEST_CASE("compressed rounds don't care: small tensors stay fp32, and the compressed stage is the same") {
  const auto compressed = [](const std::string& dtype) {
    return run_sessions(2, onebit_adam("freeze_step = 1\n", "[exchange]\ndense_below = 100\ndense_dtype = \"" + dtype + "\"\n"),
                        small_model, [](Rank rank) {
                          rank.session.step(pointers(Tensors{std::vector<float>(9001, 0.5F), std::vector<float>(40, 2.0F)}));
                          for (int step = 2; step <= 5; ++step)
                            rank.session.step(pointers(noisy(small_model, step, rank.number)));
                        });
  };
  CHECK(compressed("fp16") == compressed("fp32"));  // 0.5 and 2 are exact, and the rest is compressed rounds
}

TEST_CASE("fp16 carries gradients of any size: no step is skipped, and none vanishes") {
  const std::vector<float> gradients = {1.0F, 1e-8F, -3e-15F, 7e6F, -3e15F};
  const std::string tiny_eps = "[optimizer]\nplugin = \"adam\"\neps = 1e-20\n[communicator]\nplugin = \"threads\"\n";
  const auto of = [&](const char* dtype, double scale) {
    return moved_by(tiny_eps + "[exchange]\ndense_dtype = \"" + dtype + "\"\n", gradients, scale);
  };
  for (const double scale : {1.0, 1.0 / 1024, -2.0}) {
    const std::vector<float> fp16 = of("fp16", scale), fp32 = of("fp32", scale);
    for (size_t t = 0; t < gradients.size(); ++t) {
      CHECK(std::fabs(fp16[t]) == doctest::Approx(0.01).epsilon(1e-3));  // ten times the learning rate
      CHECK(fp16[t] == doctest::Approx(fp32[t]).epsilon(1e-3));
    }
  }
  CHECK(moved_by(adam("fp16", "[session]\nclip_norm = 1e5\n"), {1e6F})[0] < 0);
}

TEST_CASE("a gradient that is not finite makes all ranks skip, whatever the type") {
  for (const char* dtype : {"fp32", "fp16", "bf16"})
    for (const float bad : {NAN, 1e17F}) {
      std::vector<uint8_t> skipped(2);
      const std::vector<Tensors> after = run_sessions(2, adam(dtype), small_model, [&](Rank rank) {
        Tensors gradients = noisy(small_model, 1, rank.number);
        if (rank.number == 1) gradients[0][8999] = bad;
        skipped[static_cast<size_t>(rank.number)] = rank.session.step(pointers(gradients)).skipped;
      });
      CHECK(skipped == std::vector<uint8_t>{1, 1});
      CHECK(after == std::vector<Tensors>(2, small_model));
    }
}

TEST_CASE("what vanishes in 16 bits all the same is counted, and told once") {
  std::ostringstream text;
  auto logger = std::make_shared<spdlog::logger>("test", std::make_shared<spdlog::sinks::ostream_sink_mt>(text));
  logger->set_pattern("%v");
  static Registry& registry = *new Registry(logger);  // its libraries stay, as it does
  registry.load_folder(Registry::default_folder());
  logger->set_level(spdlog::level::warn);
  for (const bool vanishes : {true, false}) {
    text.str("");
    const double before = vanished(registry);
    LocalRendezvous rendezvous(2);
    host::run_ranks(2, [&](int rank) {
      Tensors own = {std::vector<float>(100, 1.0F)};
      Session session(registry, Configuration(registry, Manifest::parse(adam("fp16"), "test.toml", ".")), rendezvous.at(rank),
                      parameters_of(own));
      Tensors gradients = {std::vector<float>(100, 1.0F)};
      if (rank == 1) gradients[0][3] = gradients[0][99] = vanishes ? 1e-13F : 1e-11F;
      for (int step = 1; step <= 3; ++step) session.step(pointers(gradients));
    });
    CHECK(vanished(registry) - before == (vanishes ? 6 : 0));
    CHECK(text.str() ==
          (vanishes ? "step 1: rank 1 has rounded 2 elements to zero: exchange.dense_dtype has 16 bits, in which nothing below "
                      "2^-39 of the largest in a block of 4096 (fp16), or below 2^-134 (bf16), can travel; if such elements "
                      "matter, set it to \"fp32\" (told once; the metric session.vanished_elements counts them all)\n"
                    : ""));
  }
  logger->set_level(spdlog::level::off);  // the sink is gone soon
}
