// SPDX-License-Identifier: Apache-2.0
// exchange.dense_dtype in whole sessions: what is sent, what n = 1 does, and what happens where fp16 ends.
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

// A step of two ranks, of which rank 1 has `largest` somewhere: was it skipped on both?
bool skips(const std::string& toml, float largest, double scale = 1) {
  std::vector<uint8_t> skipped(2);
  const std::vector<Tensors> after = run_sessions(2, toml, small_model, [&](Rank rank) {
    Tensors gradients = noisy(small_model, 1, rank.number);
    if (rank.number == 1) gradients[0][8999] = largest;
    rank.session.set_gradient_scale(scale);
    skipped[static_cast<size_t>(rank.number)] = rank.session.step(pointers(gradients)).skipped;
  });
  CHECK(skipped[0] == skipped[1]);
  for (const Tensors& tensors : after) {
    CHECK((tensors == small_model) == (skipped[0] != 0));
    for (const auto& tensor : tensors)
      for (const float p : tensor) REQUIRE(std::isfinite(p));
  }
  return skipped[0] != 0;
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

TEST_CASE("a gradient that fp16 can't hold, as it will be sent, makes all ranks skip") {
  CHECK_FALSE(skips(adam("fp16"), 65504.0F));
  CHECK_FALSE(skips(adam("fp16"), -65519.0F));  // rounds to -65504
  CHECK(skips(adam("fp16"), 65520.0F));
  CHECK(skips(adam("fp16"), -1e6F));
  CHECK_FALSE(skips(adam("fp16"), 1e6F, 1.0 / 16));  // 62500
  CHECK(skips(adam("fp16"), 33'000.0F, -2.0));
  CHECK_FALSE(skips(adam("fp16", "[session]\nclip_norm = 1.0\n"), 1e6F));  // at most sqrt(2) once clipped
  CHECK(skips(adam("fp16", "[session]\nclip_norm = 1e5\n"), 1e6F));
  CHECK_FALSE(skips(adam("bf16"), 1e6F));
  CHECK_FALSE(skips(adam("fp32"), 1e6F));
  for (const char* dtype : {"fp32", "fp16", "bf16"}) CHECK(skips(adam(dtype), NAN));
  // Compressed rounds have no such end: the first step is dense, the second is not.
  run_sessions(2, onebit_adam("freeze_step = 1\n", "[exchange]\ndense_dtype = \"fp16\"\n"), small_model, [](Rank rank) {
    for (const int step : {1, 2}) {
      Tensors gradients = noisy(small_model, step, rank.number);
      if (step == 2 && rank.number == 0) gradients[1][0] = 1e6F;
      if (rank.session.step(pointers(gradients)).skipped) throw std::runtime_error("skipped");
    }
  });
}

TEST_CASE("where fp16 ends is told with the rank, the value and the cure") {
  std::ostringstream text;
  auto logger = std::make_shared<spdlog::logger>("test", std::make_shared<spdlog::sinks::ostream_sink_mt>(text));
  logger->set_pattern("%v");
  logger->set_level(spdlog::level::warn);
  static Registry& registry = *new Registry(logger);  // its libraries stay, as it does
  registry.load_folder(Registry::default_folder());
  text.str("");  // what there is to say about plugins is not the matter here
  LocalRendezvous rendezvous(2);
  host::run_ranks(2, [&](int rank) {
    Tensors own = small_model;
    Session session(registry, Configuration(registry, Manifest::parse(adam("fp16"), "test.toml", ".")), rendezvous.at(rank),
                    parameters_of(own));
    Tensors gradients = noisy(small_model, 1, rank);
    if (rank == 1) gradients[1][3] = -120'000.0F;
    session.step(pointers(gradients));
  });
  registry.logger()->set_level(spdlog::level::off);  // the sink is gone soon
  CHECK(text.str() ==
        "step 1: a gradient of rank 1 would be sent as 120000, and fp16 ends at 65504: all ranks skip it (1 in a row); scale "
        "gradients down (set_gradient_scale, clip_norm), or set exchange.dense_dtype to \"bf16\"\n");
}
