// SPDX-License-Identifier: Apache-2.0
// Steps that all ranks skip: who is named for them, and when there were too many.
#include <doctest/doctest.h>
#include <spdlog/logger.h>
#include <spdlog/sinks/ostream_sink.h>

#include <cmath>
#include <sstream>

#include "support/sessions.hpp"
#include "support/text.hpp"

using namespace onebit;
using namespace onebit::test;

namespace {

const Tensors three = {std::vector<float>(5000, 0.25F), std::vector<float>(40, 1.0F), std::vector<float>(9000, 0.5F)};
std::string adam_with(const std::string& session, const std::string& exchange = "") {
  return "[optimizer]\nplugin = \"adam\"\n[communicator]\nplugin = \"threads\"\ntimeout = 60\n[session]\n" + session +
         "[exchange]\n" + exchange;
}

// What a rank's gradients are at the call of step() that is counted from 1.
using Gradients = std::function<Tensors(int call, int rank)>;

struct Taken {
  std::vector<std::string> errors;  // by rank; "": it took all calls
  std::vector<int> calls;           // that came back, by rank
  std::string log;
};

Taken take(int ranks, int calls, const std::string& toml, const Gradients& gradients) {
  std::ostringstream log;
  Registry registry(std::make_shared<spdlog::logger>("told", std::make_shared<spdlog::sinks::ostream_sink_mt>(log)));
  registry.load_folder(Registry::default_folder());
  const Configuration configuration(registry, Manifest::parse(toml, "test.toml", "."));
  Taken taken = {std::vector<std::string>(static_cast<size_t>(ranks)), std::vector<int>(static_cast<size_t>(ranks)), ""};
  LocalRendezvous rendezvous(ranks);
  host::run_ranks(ranks, [&](int rank) {
    const auto r = static_cast<size_t>(rank);
    Tensors own = three;
    try {
      Session session(registry, configuration, rendezvous.at(rank), parameters_of(own));
      for (int call = 1; call <= calls; ++call, ++taken.calls[r]) session.step(pointers(gradients(call, rank)));
    } catch (const Error& e) {
      taken.errors[r] = e.what();
    }
  });
  taken.log = log.str();
  return taken;
}

Tensors with(size_t tensor, size_t element, float value) {
  Tensors gradients = three;
  gradients[tensor][element] = value;
  return gradients;
}

}  // namespace

TEST_CASE("max_skipped: after so many in a row every rank ends, and each can name rank, tensor and first step") {
  for (const char* threads : {"", "threads = 3\n"}) {
    const Taken taken = take(3, 50, adam_with(std::string("max_skipped = 4\n") + threads),
                             [](int call, int rank) { return rank == 1 && call >= 3 ? with(2, 8000, NAN) : three; });
    for (const std::string& error : taken.errors)
      CHECK_MESSAGE(
          contains(error,
                   "4 steps in a row were skipped (session.max_skipped), the first of them step 3: the gradient of 't2' on "
                   "rank 1 is not finite, or larger than 2^55; lower the learning rate, or clip gradients "
                   "(session.clip_norm), or raise session.max_skipped (0: no limit)"),
          error);
    CHECK(taken.calls == std::vector<int>{5, 5, 5});  // the sixth is the fourth that is skipped
  }
}

TEST_CASE("max_skipped: a step that is taken begins the count anew, and 0 is no limit") {
  const Taken some = take(2, 40, adam_with("max_skipped = 4\n"),
                          [](int call, int rank) { return rank == 0 && call % 4 != 0 ? with(0, 0, INFINITY) : three; });
  CHECK(some.errors == std::vector<std::string>{"", ""});
  const Taken none = take(2, 40, adam_with("max_skipped = 0\n"), [](int, int) { return with(0, 0, INFINITY); });
  CHECK(none.errors == std::vector<std::string>{"", ""});
}

TEST_CASE("max_skipped is 20 unless it is set") {
  const Taken taken = take(1, 40, adam_with(""), [](int, int) { return with(1, 0, 1e30F); });
  CHECK(taken.calls[0] == 19);
  CHECK(contains(taken.errors[0], "20 steps in a row were skipped"));
}

TEST_CASE("a skipped step is told with rank and tensor, the first that can't be used") {
  const Taken one = take(3, 3, adam_with(""), [](int call, int rank) {
    if (call != 2 || rank != 2) return three;
    Tensors gradients = with(1, 39, -INFINITY);
    gradients[2][0] = NAN;
    return gradients;
  });
  CHECK_MESSAGE(
      contains(one.log, "step 2: the gradient of 't1' on rank 2 is not finite, or larger than 2^55: all ranks skip it"),
      one.log);
  const Taken more = take(3, 1, adam_with(""), [](int, int rank) { return rank == 0 ? three : with(0, 4999, NAN); });
  CHECK_MESSAGE(contains(more.log, "the gradient of 't0' on rank 1 (and some on 1 more) is not finite"), more.log);
}

TEST_CASE("a gradient that is too large only when it is scaled is told with rank and tensor, too") {
  std::ostringstream log;
  Registry registry(std::make_shared<spdlog::logger>("told", std::make_shared<spdlog::sinks::ostream_sink_mt>(log)));
  registry.load_folder(Registry::default_folder());
  const Configuration configuration(registry, Manifest::parse(adam_with(""), "test.toml", "."));
  LocalRendezvous rendezvous(2);
  host::run_ranks(2, [&](int rank) {
    Tensors own = three;
    Session session(registry, configuration, rendezvous.at(rank), parameters_of(own));
    session.set_gradient_scale(1e10);
    const Tensors gradients = rank == 1 ? with(0, 4321, 1e9F) : three;
    CHECK(session.step(pointers(gradients)).skipped);
  });
  CHECK_MESSAGE(
      contains(log.str(), "step 1: the gradient of 't0' on rank 1 is larger than 2^55 once scaled: all ranks skip it"),
      log.str());
}
