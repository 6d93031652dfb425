// SPDX-License-Identifier: Apache-2.0
// Which tensor is meant: memory belongs to one parameter of one session, and a step that is told where its parameters are goes
// on there, or says by name what is not the same any more.
#include <doctest/doctest.h>

#include <cmath>
#include <memory>

#include "small_models.hpp"
#include "support/error_text.hpp"
#include "support/gradients.hpp"
#include "support/sessions.hpp"
#include "support/text.hpp"

using namespace onebit;
using namespace onebit::test;

namespace {

std::string refusal(std::vector<Parameter> parameters) {
  LocalRendezvous rendezvous(1);
  return error_of([&] { Session(plugins(), configure(dense_adam), rendezvous.at(0), std::move(parameters)); });
}

ModelGradients handed(const std::vector<Parameter>& parameters, const Tensors& gradients) {
  std::vector<Gradient> made;
  for (size_t t = 0; t < parameters.size(); ++t) made.push_back({gradients[t].data(), parameters[t]});
  return ModelGradients(std::move(made));
}

// What each rank says of its errors; body gets the rank's parameters as they were handed to the session.
std::vector<std::string> errors_of_ranks(int ranks, const std::function<void(Rank, std::vector<Parameter>)>& body,
                                         const std::string& toml = dense_adam) {
  std::vector<std::string> found(static_cast<size_t>(ranks));
  run_sessions(ranks, toml, two_tensors, [&](Rank rank) {
    found[static_cast<size_t>(rank.number)] = error_of([&] { body(rank, parameters_of(rank.parameters)); });
  });
  return found;
}

}  // namespace

TEST_CASE("two parameters of the same memory, or of a part of it, are refused by both names") {
  std::vector<float> memory(100);
  float* const data = memory.data();
  CHECK(refusal({{"embed", {100}, data}, {"head", {100}, data}}) ==
        "parameters 'embed' and 'head': the second is the same memory as the first, and would be stepped twice: hand a tied "
        "tensor over once, give a view memory of its own");
  for (const auto& [first, shape] :
       {std::pair<int64_t, std::vector<int64_t>>{0, {10, 10}}, {0, {10}}, {90, {10}}, {40, {20}}}) {
    for (const bool before : {false, true}) {
      std::vector<Parameter> parameters = {{"whole", {100}, data}, {"view", shape, data + first}};
      if (before) std::swap(parameters[0], parameters[1]);
      const std::string text = refusal(parameters);
      CAPTURE(text);
      CHECK(contains(text, "'whole'"));
      CHECK(contains(text, "'view'"));
      CHECK(contains(text, "memory"));
    }
  }
  CHECK(contains(refusal({{"left", {60}, data}, {"right", {60}, data + 40}}), "'left' and 'right'"));
  CHECK(refusal({{"left", {60}, data}, {"none", {0}, data + 30}, {"right", {40}, data + 60}}) == "");
}

TEST_CASE("memory of another session that lives is refused by both names, and of one that has ended, it is taken") {
  Tensors model = two_tensors;
  std::vector<Parameter> again = parameters_of(model);
  for (Parameter& parameter : again) parameter.name += "_again";
  LocalRendezvous rendezvous(1);
  auto session = std::make_unique<Session>(plugins(), configure(dense_adam), rendezvous.at(0), parameters_of(model));
  const std::string text = refusal(again);
  CHECK(contains(text, "parameter 't0_again' is the same memory as 't0' of another session"));
  CHECK(contains(refusal({{"part", {1}, model[1].data() + 7}}), "parameter 'part' is a part of the memory of 't1' of another"));
  session->step(pointers(two_tensors));  // the session that was there first goes on
  SUBCASE("it was destroyed") { session.reset(); }
  SUBCASE("it failed") { CHECK_THROWS_AS(session->step({}), Error); }
  CHECK(refusal(again) == "");
  CHECK(refusal(again) == "");  // nor does a session that was refused keep anything
}

TEST_CASE("ranks that are threads and share a model are told so, all of them") {
  std::vector<std::string> found(2);
  Tensors model = two_tensors;
  LocalRendezvous rendezvous(2);
  host::run_ranks(2, [&](int rank) {
    found[static_cast<size_t>(rank)] = error_of([&] {
      Session session(plugins(), configure(dense_adam), rendezvous.at(rank), parameters_of(model));
      session.step(pointers(two_tensors));
    });
  });
  for (const std::string& text : found) CHECK(contains(text, "give ranks that are threads a model each"));
}

TEST_CASE("a parameter with other memory is followed: the bits of one that stayed, and the old memory is let alone") {
  const auto train = [](bool move) {
    std::vector<Tensors> elsewhere(2, two_tensors);
    const auto after = run_sessions(2, onebit_adam("freeze_step = 3\n"), two_tensors, [&](Rank rank) {
      std::vector<Parameter> parameters = parameters_of(rank.parameters);
      Tensors& other = elsewhere[static_cast<size_t>(rank.number)];
      for (int64_t step = 1; step <= 8; ++step) {
        if (move && (step == 3 || step == 6)) {  // once in each stage; two tensors, then one
          for (size_t t = step == 3 ? 0 : 1; t < 2; ++t) {
            std::vector<float>& target = parameters[t].data == other[t].data() ? rank.parameters[t] : other[t];
            std::copy_n(parameters[t].data, target.size(), target.data());
            std::fill_n(parameters[t].data, target.size(), 777.0F);
            parameters[t].data = target.data();
          }
        }
        rank.session.step(handed(parameters, noisy(two_tensors, step, rank.number)));
      }
    });
    if (!move) return after;
    for (size_t r = 0; r < 2; ++r) {
      CHECK(after[r][0] == std::vector<float>(5000, 777.0F));
      CHECK(elsewhere[r][1] == std::vector<float>(40, 777.0F));
      elsewhere[r][1] = after[r][1];
    }
    return elsewhere;
  };
  CHECK(train(true) == train(false));
}

TEST_CASE("what a parameter's new memory holds must be the same on all ranks") {
  const auto moved = [](bool same, bool compressed) {
    std::vector<Tensors> elsewhere(2, two_tensors);
    return errors_of_ranks(
        2,
        [&](Rank rank, std::vector<Parameter> parameters) {
          for (int64_t step = 1; step <= 4; ++step) {
            if (step == 3 && rank.number == 1) {  // one rank alone, as where only rank 0 loads a file
              std::vector<float>& target = elsewhere[1][1];
              target = rank.parameters[1];
              if (!same) target[7] += 1e-3F;
              parameters[1].data = target.data();
            }
            rank.session.step(handed(parameters, noisy(two_tensors, step, rank.number)));
          }
        },
        compressed ? onebit_adam("freeze_step = 2\n") : dense_adam);
  };
  for (const bool compressed : {false, true}) {
    for (const std::string& text : moved(true, compressed)) CHECK(text == "");
    for (const std::string& text : moved(false, compressed)) {
      CHECK(contains(text, "after step 3 parameter 't1' of rank 1 differs from rank 0's"));
      CHECK(contains(text, "load the same file on all of them"));
    }
  }
}

TEST_CASE("memory that keeps itself alive is held as long as the session uses it, and no longer") {
  const auto held = std::make_shared<std::vector<float>>(40, 1.0F), next = std::make_shared<std::vector<float>>(40, 1.0F);
  const auto parameter = [](const std::shared_ptr<std::vector<float>>& memory) {
    Parameter made = {"a", {40}, memory->data()};
    made.memory = memory;
    return made;
  };
  {
    LocalRendezvous rendezvous(1);
    Session session(plugins(), configure(dense_adam), rendezvous.at(0), {parameter(held)});
    CHECK(held.use_count() == 2);
    session.step(handed({parameter(held)}, {std::vector<float>(40, 1.0F)}));
    CHECK(held.use_count() == 2);
    session.step(handed({parameter(next)}, {std::vector<float>(40, 1.0F)}));
    CHECK(held.use_count() == 1);
    CHECK(next.use_count() == 2);
  }
  CHECK(next.use_count() == 1);
  CHECK(next->front() != 1.0F);
}

TEST_CASE("a session that is destroyed writes nothing") {
  Tensors model = two_tensors;
  {
    LocalRendezvous rendezvous(1);
    Session session(plugins(), configure(onebit_adam("freeze_step = 1\n")), rendezvous.at(0), parameters_of(model));
    for (int step = 1; step <= 3; ++step) session.step(pointers(two_tensors));
    for (std::vector<float>& tensor : model) tensor.assign(tensor.size(), 5.0F);  // it is somebody else's by now
  }
  CHECK(model == Tensors{std::vector<float>(5000, 5.0F), std::vector<float>(40, 5.0F)});
}

TEST_CASE("other tensors than the session's are told by name, on every rank, whether there are as many or not") {
  const auto told = [](const std::function<void(std::vector<Parameter>&)>& change) {
    return errors_of_ranks(2, [&](Rank rank, std::vector<Parameter> parameters) {
      rank.session.step(handed(parameters, two_tensors));
      Tensors gradients = two_tensors;
      if (rank.number == 1) change(parameters);
      gradients.resize(parameters.size());
      rank.session.step(handed(parameters, gradients));
    });
  };
  const auto expect = [&](const std::string& part, const std::function<void(std::vector<Parameter>&)>& change) {
    for (const std::string& text : told(change)) {
      CAPTURE(text);
      CHECK(contains(text, part));
    }
  };
  std::vector<float> other(5000, 0.25F);
  expect("'g' is new to it, and 't0' is missing", [](auto& now) { now[0].name = "g"; });
  expect("'t0' is missing", [](auto& now) { now.erase(now.begin()); });
  expect("'t0' and 1 more are missing", [](auto& now) { now.clear(); });
  expect("'more' is new to it", [&](auto& now) { now.push_back({"more", {5}, other.data()}); });
  expect("'t1' is not in its place", [](auto& now) { std::swap(now[0], now[1]); });
  expect("'t0' is missing", [](auto& now) { now[0].name = "t1"; });
  expect("parameter 't0' has shape [50, 100] now, and had [5000]", [](auto& now) { now[0].shape = {50, 100}; });
  expect("parameter 't1' has shape [41] now, and had [40]", [&](auto& now) {
    now[1].shape = {41};
    now[1].data = other.data();
  });
  expect("parameter 't0' is on cuda:0, and the session works on cpu", [&](auto& now) {
    now[0].device = {ONEBIT_DEVICE_CUDA, 0};
    now[0].data = other.data();
  });
  expect("parameter 't0' has no data any more", [](auto& now) { now[0].data = nullptr; });
  expect("parameter 't0' is another tensor of that name", [&](auto& now) {
    now[0].identity = &other;
    now[0].data = other.data();
  });
  expect("'t0' and 't1': the second is a part of the memory of the first", [](auto& now) { now[1].data = now[0].data + 9; });
}

TEST_CASE("two parameters may change places in memory") {
  const Tensors equal = {std::vector<float>(40, 0.5F), std::vector<float>(40, 1.0F)};
  run_sessions(1, dense_adam, equal, [&](Rank rank) {
    std::vector<Parameter> parameters = parameters_of(rank.parameters);
    rank.session.step(handed(parameters, equal));
    std::swap(parameters[0].data, parameters[1].data);
    CHECK(error_of([&] { rank.session.step(handed(parameters, equal)); }) == "");
  });
}

TEST_CASE("a parameter on another device than the session's is refused by name, before anything is written") {
  std::vector<float> memory(8, 1.0F);
  Parameter parameter = {"embed", {8}, memory.data()};
  parameter.device = {ONEBIT_DEVICE_CUDA, 1};
  CHECK(contains(refusal({parameter}), "parameter 'embed' is on cuda:1, and the session works on cpu: set session.device"));
  parameter.device = {ONEBIT_DEVICE_CPU, 0};
  CHECK(refusal({parameter}) == "");
}

namespace {

const std::string local_steps =
    "[optimizer]\nplugin = \"zeroone_adam\"\nvar_freeze_step = 4\nvar_update_scaler = 2\nlocal_step_scaler = 8\n"
    "local_step_clipper = 4\n[compressor]\nplugin = \"onebit\"\n[communicator]\nplugin = \"threads\"\ntimeout = 60\n";

}  // namespace

TEST_CASE("0/1 Adam: what was loaded where ranks had met is where they go on from") {
  std::vector<Tensors> elsewhere(2, two_tensors);
  int64_t local = 0;
  run_sessions(2, local_steps, two_tensors, [&](Rank rank) {
    std::vector<Parameter> parameters = parameters_of(rank.parameters);
    for (int64_t step = 1; step <= 40; ++step) {
      if (step == 30 || step == 40) rank.session.request_sync();
      if (step == 31) {
        for (size_t t = 0; t < 2; ++t) {
          std::vector<float>& target = elsewhere[static_cast<size_t>(rank.number)][t];
          for (size_t i = 0; i < target.size(); ++i) target[i] = rank.parameters[t][i] + 100;
          parameters[t].data = target.data();
        }
      }
      const StepReport report = rank.session.step(handed(parameters, noisy(two_tensors, step, rank.number)));
      if (rank.number == 0 && step > 30) local += report.local ? 1 : 0;
    }
  });
  CHECK(local > 0);
  CHECK(elsewhere[0] == elsewhere[1]);
  CHECK(std::fabs(elsewhere[0][0][7] - 100) < 5);
}

TEST_CASE("0/1 Adam: a parameter with other memory since a local step is refused by name, and says what to do") {
  Tensors other = two_tensors;
  const std::vector<std::string> found = errors_of_ranks(
      1,
      [&](Rank rank, std::vector<Parameter> parameters) {
        for (int64_t step = 1; step <= 40; ++step) {
          const bool local = rank.session.step(handed(parameters, noisy(two_tensors, step, rank.number))).local;
          if (local) parameters[1].data = other[1].data();
        }
      },
      local_steps);
  CHECK(contains(found[0], "parameter 't1' has other memory since a local step"));
  CHECK(contains(found[0], "request_sync()"));
}
