// SPDX-License-Identifier: Apache-2.0
// freeze_step = "auto" through sessions: what puts the freeze off, for how long, and what is logged of it.
#include <doctest/doctest.h>
#include <spdlog/logger.h>
#include <spdlog/sinks/ostream_sink.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "support/gradients.hpp"
#include "support/sessions.hpp"
#include "support/text.hpp"
#include "towards_one.hpp"

using namespace onebit;
using namespace onebit::test;

namespace {

std::string automatic(const std::string& optimizer, const std::string& lines) {
  return "[optimizer]\nplugin = \"" + optimizer + "\"\nfreeze_step = \"auto\"\n" + lines +
         "[compressor]\nplugin = \"onebit\"\n[communicator]\nplugin = \"threads\"\ntimeout = 60\n";
}

// Of two ranks, the last dense step of each, and all that is logged. work: before each step.
struct AutomaticFreeze {
  std::vector<int64_t> last = std::vector<int64_t>(2);
  std::string log;
};
AutomaticFreeze freeze_automatically(
    const std::string& options, int64_t steps,
    const std::function<void(int64_t step, Session& session, Tensors& parameters, Tensors& gradients)>& work) {
  AutomaticFreeze found;
  static std::ostringstream& text = *new std::ostringstream;
  static Registry& registry = []() -> Registry& {
    auto logger = std::make_shared<spdlog::logger>("test", std::make_shared<spdlog::sinks::ostream_sink_mt>(text));
    logger->set_pattern("%v");
    auto& made = *new Registry(logger);  // its libraries stay, as it does
    made.load_folder(Registry::default_folder());
    return made;
  }();
  text.str("");
  const Tensors initial = noisy_model({300, 4500});
  LocalRendezvous rendezvous(2);
  host::run_ranks(2, [&](int number) {
    Tensors own = initial;
    const std::string toml = automatic("onebit_lamb", options);
    Session session(registry, Configuration(registry, Manifest::parse(toml, "test.toml", ".")), rendezvous.at(number),
                    parameters_of(own));
    for (int64_t step = 1; step <= steps; ++step) {
      Tensors gradients = noisy(initial, step, number);
      work(step, session, own, gradients);
      if (!session.step(pointers(gradients)).compressed) found.last[static_cast<size_t>(number)] = step;
    }
  });
  CHECK(found.last[0] == found.last[1]);
  found.log = text.str();
  return found;
}

int times(const std::string& text, const std::string& part) {
  int found = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

}  // namespace

TEST_CASE("onebit_adam, freeze_step = \"auto\": gradients that grow put it off, large first ones do not") {
  const auto last_dense = [](const std::function<float(int)>& size) {
    int last = 0;
    run_sessions(1, automatic("onebit_adam", ""), {std::vector<float>(100)}, [&](Rank rank) {
      for (int step = 1; step <= 300; ++step)
        if (!rank.session.step(pointers(Tensors{std::vector<float>(100, size(step))})).compressed) last = step;
    });
    return last;
  };
  CHECK(last_dense([](int) { return 1.0F; }) == 151);  // 0.15 / (1 - beta2), and the one that is announced
  CHECK(last_dense([](int step) { return step <= 5 ? 50.0F : 1.0F; }) == 151);
  CHECK(last_dense([](int step) { return static_cast<float>(step); }) == 300);
}

TEST_CASE("onebit_adam, freeze_step = \"auto\": it waits for elements that have had no gradient yet, but not for ever") {
  const auto last_dense = [](int late, int from) {  // so many of 100 elements have gradients from that step on
    int last = 0;
    run_sessions(1, automatic("onebit_adam", ""), {std::vector<float>(60), std::vector<float>(40)}, [&](Rank rank) {
      for (int step = 1; step <= 400; ++step) {
        Tensors gradients = {std::vector<float>(60, 1.0F), std::vector<float>(40, 1.0F)};
        if (step < from) std::fill_n(gradients[1].begin(), late, 0.0F);
        if (!rank.session.step(pointers(gradients)).compressed) last = step;
      }
    });
    return last;
  };
  CHECK(last_dense(10, 1000) == 151);
  CHECK(last_dense(11, 200) == 201);
  CHECK(last_dense(40, 200) == 201);  // a whole tensor
  CHECK(last_dense(11, 1000) == 301);
}

TEST_CASE("onebit_lamb, freeze_step = \"auto\": it freezes where the variance is stable, and says so") {
  const AutomaticFreeze found = freeze_automatically("", 200, [](int64_t step, Session&, Tensors&, Tensors& gradients) {
    for (auto& tensor : gradients)  // they shrink at first
      for (float& g : tensor) g *= 1.0F + 0.3F * std::exp(-static_cast<float>(step) / 5.0F);
  });
  CHECK(found.last[0] > 30);
  CHECK(found.last[0] < 200);
  CHECK(contains(found.log, "the variance is stable"));
  CHECK(contains(found.log, "step " + std::to_string(found.last[0]) + " is the last dense one"));
  CHECK_FALSE(contains(found.log, "the freeze waits"));
}

TEST_CASE("onebit_lamb, freeze_step = \"auto\": it waits until trust ratios are stable, but not for ever, and says so once") {
  const auto frozen_after = [](const std::string& options, int64_t until, float growth) {
    const std::string unbounded = "lr = 1e-7\nmax_coeff = 1e9\nmin_coeff = 0.0\n";
    return freeze_automatically(unbounded + options, 300, [&](int64_t step, Session&, Tensors& parameters, Tensors&) {
      for (auto& tensor : parameters)
        for (float& p : tensor) p *= step <= until ? growth : 1.0F;
    });
  };
  CHECK(frozen_after("", 0, 1).last[0] == 151);
  CHECK(frozen_after("", 300, 1.001F).last[0] == 151);  // 2 % in an eighth of the steps
  const auto waits = [&](const std::string& window, float growth) {
    CAPTURE(window);
    CAPTURE(growth);
    const AutomaticFreeze found = frozen_after(window, 200, growth);
    CHECK(found.last[0] > 205);
    CHECK(found.last[0] < 290);
    CHECK(times(found.log,
                "the freeze waits: trust ratios of the last 18 steps are " + std::string(growth > 1 ? "1." : "0.")) == 1);
  };
  waits("", 0.97F);
  waits("freeze_window = 1\n", 1.03F);
  waits("freeze_window = 20\n", 1.03F);
  CHECK(frozen_after("betas = [0.9, 0.99]\n", 70, 1.2F).last[0] == 61);  // 0.6 / (1 - beta2), and the one announced
  CHECK(frozen_after("betas = [0.9, 0.3]\n", 0, 1).last[0] < 40);        // of 3 levels that are kept
}

TEST_CASE(
    "onebit_lamb, freeze_step = \"auto\": it waits for the learning rate and for elements without a gradient, and says so") {
  const AutomaticFreeze rising =
      freeze_automatically("lr = 1e-7\n", 300, [](int64_t step, Session& session, Tensors&, Tensors&) {
        session.set_learning_rate_factor(static_cast<double>(std::min<int64_t>(step, 200)) / 200);
      });
  CHECK(rising.last[0] > 200);
  CHECK(rising.last[0] < 215);
  CHECK(times(rising.log, "the freeze waits: the learning rate rose in step 150") == 1);
  CHECK(times(rising.log, "the freeze waits") == 1);
  const AutomaticFreeze unseen = freeze_automatically("", 250, [](int64_t step, Session&, Tensors&, Tensors& gradients) {
    if (step < 200) std::fill_n(gradients[1].begin(), 1200, 0.0F);
  });
  CHECK(unseen.last[0] == 201);
  CHECK(times(unseen.log, "the freeze waits: 25.0 % of all elements have had no gradient yet") == 1);
}
