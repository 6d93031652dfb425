// SPDX-License-Identifier: Apache-2.0
// Parameters of 16 bits: the session trains fp32 masters, by the bits of a session whose parameters are fp32, and after every
// change the embedder's are these, rounded.
#include <doctest/doctest.h>

#include <cstring>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "small_models.hpp"
#include "support/error_text.hpp"
#include "support/gradients.hpp"
#include "support/halves.hpp"
#include "support/scratch_folder.hpp"
#include "support/sessions.hpp"
#include "support/text.hpp"

using namespace onebit;
using namespace onebit::test;

namespace {

// The last tensor stays fp32, as normalisation layers do.
struct MixedModel {
  HalfType type;
  Halves halves;
  std::vector<float> last;

  MixedModel(const Tensors& values, HalfType of) : type(of), halves(rounded(values, of)), last(values.back()) {
    halves.pop_back();
  }
  std::vector<Parameter> parameters() {
    std::vector<Parameter> made;
    for (std::vector<uint16_t>& tensor : halves) {
      Parameter parameter = {"t" + std::to_string(made.size()), {static_cast<int64_t>(tensor.size())}};
      parameter.half = tensor.data();
      parameter.half_type = type;
      made.push_back(std::move(parameter));
    }
    made.push_back({"t" + std::to_string(made.size()), {static_cast<int64_t>(last.size())}, last.data()});
    return made;
  }
  // Whether they are these, rounded.
  bool is(const Tensors& values) const {
    Halves expected = rounded(values, type);
    expected.pop_back();
    return expected == halves && values.back() == last;
  }
};

Tensors start(HalfType type) {
  const Tensors values = noisy(uneven, 999, 7);
  Tensors made = widened(rounded(values, type), type);
  made.back() = values.back();
  return made;
}

const std::string masters_tail = "\n[compressor]\nplugin = \"onebit\"\n[communicator]\nplugin = \"threads\"\ntimeout = 60\n";
std::vector<std::string> all_optimizers() {
  const std::string tables = masters_tail + "[exchange]\nbucket_bytes = 16384\n";
  return {"[optimizer]\nplugin = \"adam\"\nlr = 0.01\n" + tables, "[optimizer]\nplugin = \"lamb\"\nlr = 0.01\n" + tables,
          "[optimizer]\nplugin = \"onebit_adam\"\nlr = 0.01\nfreeze_step = 3\n" + tables,
          "[optimizer]\nplugin = \"onebit_lamb\"\nlr = 0.01\nfreeze_step = 3\n" + tables,
          "[optimizer]\nplugin = \"zeroone_adam\"\nlr = 0.01\nvar_freeze_step = 3\nvar_update_scaler = 2\n"
          "local_step_scaler = 4\nlocal_step_clipper = 4\n" +
              tables};
}

// A step that can't be used, and one without the second gradient, are among them.
std::vector<const float*> model_gradients(Tensors& values, int64_t step, int rank) {
  values = noisy(uneven, step, rank);
  if (step == 4 && rank == 0) values[0][5] = std::numeric_limits<float>::quiet_NaN();
  std::vector<const float*> given = pointers(values);
  if (step == 6) given[1] = nullptr;
  return given;
}
void take_model_step(Session& session, int64_t step, int rank, bool begins) {
  Tensors values;
  const std::vector<const float*> given = model_gradients(values, step, rank);
  if (!begins) {
    session.step(given);
    return;
  }
  session.begin();
  for (size_t t = given.size(); t-- > 0;) session.ready(t, given[t]);
  session.step();
}

void run_mixed(int ranks, const std::string& toml, HalfType type, const Tensors& initial,
               const std::function<void(Session&, MixedModel&, int)>& body) {
  LocalRendezvous rendezvous(ranks);
  host::run_ranks(ranks, [&](int rank) {
    MixedModel model(initial, type);
    Session session(plugins(), configure(toml), rendezvous.at(rank), model.parameters());
    body(session, model, rank);
  });
}

constexpr int64_t course_steps = 12;

// Of each rank after each step, and where all meet.
struct Course {
  std::vector<std::vector<Tensors>> own, met;
  uint64_t hash = 0;
};
Course course_of_floats(int ranks, const std::string& toml, const Tensors& initial) {
  Course course;
  course.own.resize(static_cast<size_t>(ranks));
  course.met.resize(static_cast<size_t>(ranks));
  run_sessions(ranks, toml, initial, [&](Rank rank) {
    for (int64_t step = 1; step <= course_steps; ++step) {
      take_model_step(rank.session, step, rank.number, false);
      course.own[static_cast<size_t>(rank.number)].push_back(rank.parameters);
      const Session::AtAnchor here(rank.session);
      course.met[static_cast<size_t>(rank.number)].push_back(rank.parameters);
      if (rank.number == 0) course.hash = rank.session.parameter_hash();
    }
  });
  return course;
}

}  // namespace

TEST_CASE("parameters of 16 bits are what a session of fp32 parameters makes of theirs, rounded, after every step") {
  for (const HalfType type : {HalfType::fp16, HalfType::bf16})
    for (const int ranks : {1, 2, 3})
      for (const std::string& toml : all_optimizers()) {
        CAPTURE(toml);
        CAPTURE(ranks);
        CAPTURE(static_cast<int>(type));
        const Course expected = course_of_floats(ranks, toml, start(type));
        for (const bool begins : {false, true}) {
          CAPTURE(begins);
          run_mixed(ranks, toml, type, start(type), [&](Session& session, MixedModel& model, int rank) {
            const auto r = static_cast<size_t>(rank);
            for (int64_t step = 1; step <= course_steps; ++step) {
              CAPTURE(step);
              take_model_step(session, step, rank, begins);
              CHECK(model.is(expected.own[r][static_cast<size_t>(step) - 1]));
              {
                const Session::AtAnchor here(session);
                CHECK(model.is(expected.met[r][static_cast<size_t>(step) - 1]));
                if (step == course_steps) CHECK(session.parameter_hash() == expected.hash);
              }
              CHECK(model.is(expected.own[r][static_cast<size_t>(step) - 1]));
            }
          });
        }
      }
}

TEST_CASE("all ranks begin with rank 0's parameters of 16 bits") {
  run_mixed(2, all_optimizers()[0], HalfType::bf16, start(HalfType::bf16),
            [](Session&, MixedModel& model, int) { CHECK(model.is(start(HalfType::bf16))); });
  LocalRendezvous rendezvous(2);
  host::run_ranks(2, [&](int rank) {
    const Tensors own = rank == 0 ? start(HalfType::bf16) : uneven;
    MixedModel model(own, HalfType::bf16);
    const Session session(plugins(), configure(all_optimizers()[0]), rendezvous.at(rank), model.parameters());
    CHECK(model.is(start(HalfType::bf16)));
  });
}

TEST_CASE("a checkpoint keeps the masters: loaded into either type, training goes on as it would have") {
  const ScratchFolder folder;
  const std::string toml = all_optimizers()[2];
  const Course expected = course_of_floats(2, toml, start(HalfType::bf16));
  const auto go_on = [&](Session& session, int rank) {
    for (int64_t step = 8; step <= course_steps; ++step) take_model_step(session, step, rank, false);
  };
  run_mixed(2, toml, HalfType::bf16, start(HalfType::bf16), [&](Session& session, MixedModel&, int rank) {
    for (int64_t step = 1; step <= 7; ++step) take_model_step(session, step, rank, false);
    session.save(folder.path());
  });
  run_mixed(2, toml, HalfType::bf16, uneven, [&](Session& session, MixedModel& model, int rank) {
    session.load(folder.path());
    CHECK(model.is(expected.own[static_cast<size_t>(rank)][6]));
    go_on(session, rank);
    CHECK(model.is(expected.own[static_cast<size_t>(rank)].back()));
  });
  run_sessions(2, toml, uneven, [&](Rank rank) {
    rank.session.load(folder.path());
    go_on(rank.session, rank.number);
    CHECK(rank.parameters == expected.own[static_cast<size_t>(rank.number)].back());
  });
}

TEST_CASE("parameters of 16 bits that moved keep their masters, but where they have other values now") {
  const std::string toml = all_optimizers()[0];
  const HalfType type = HalfType::bf16;
  const Course expected = course_of_floats(1, toml, start(type));
  const auto handed = [](MixedModel& model, const std::vector<const float*>& gradients) {
    std::vector<Gradient> made;
    for (const Parameter& parameter : model.parameters()) made.push_back({gradients[made.size()], parameter});
    return ModelGradients(std::move(made));
  };
  for (const bool changed : {false, true}) {
    CAPTURE(changed);
    run_mixed(1, toml, type, start(type), [&](Session& session, MixedModel& model, int) {
      for (int64_t step = 1; step <= 7; ++step) take_model_step(session, step, 0, false);
      MixedModel moved = model;
      if (changed) moved.halves[0][77] = 0x3f80;  // 1
      Tensors values;
      for (int64_t step = 8; step <= course_steps; ++step) session.step(handed(moved, model_gradients(values, step, 0)));
      CHECK(model.is(expected.own[0][6]));  // the memory that was
      CHECK(moved.is(expected.own[0].back()) == !changed);
      if (!changed) return;
      moved.halves[0][77] = rounded(expected.own[0].back(), type)[0][77];
      CHECK(moved.is(expected.own[0].back()));
    });
  }
}

TEST_CASE("masters are counted, and told ahead") {
  const std::string toml = all_optimizers()[0];
  run_mixed(2, toml, HalfType::fp16, start(HalfType::fp16), [&](Session& session, MixedModel& model, int rank) {
    take_model_step(session, 1, rank, false);
    const Footprint held = session.footprint();
    const uint64_t bytes = 4 * (9001 + 100 + 5000);
    CHECK(held.masters >= bytes);
    CHECK(held.masters < bytes + 4 * 64);  // buffers end on whole lines of a cache
    uint64_t state = 0;
    for (const StateBytes& slot : held.state) state += slot.bytes;
    CHECK(held.held() == state + held.masters + held.worker_error + held.server_error + held.retained);
    const Cost cost = cost_of(plugins(), configure(toml), model.parameters(), 2);
    CHECK(cost.dense_state * static_cast<double>(cost.parameters) ==
          doctest::Approx(static_cast<double>(held.held())).epsilon(0.002));
  });
}

TEST_CASE("parameters of 16 bits: what can't be is refused by name") {
  const auto refusal = [](std::vector<Parameter> parameters, std::vector<Parameter> others) {
    LocalRendezvous rendezvous(2);
    std::string text;
    host::run_ranks(2, [&](int rank) {
      const std::string found = error_of([&] {
        Session(plugins(), configure(all_optimizers()[0]), rendezvous.at(rank),
                rank == 0 ? std::move(parameters) : std::move(others));
      });
      if (rank == 0) text = found;
    });
    return text;
  };
  MixedModel one(start(HalfType::bf16), HalfType::bf16), two(start(HalfType::fp16), HalfType::fp16);
  SUBCASE("another type on another rank") {
    const std::string text = refusal(one.parameters(), two.parameters());
    CHECK(contains(text, "'t0' [9001], bf16"));
    CHECK(contains(text, "'t0' [9001], fp16"));
  }
  SUBCASE("both kinds of memory") {
    std::vector<Parameter> both = two.parameters();
    both[1].data = two.last.data();
    LocalRendezvous rendezvous(1);
    CHECK(error_of([&] { Session(plugins(), configure(all_optimizers()[0]), rendezvous.at(0), both); }) ==
          "parameter 't1' has data and half: expected one of them");
  }
  SUBCASE("memory that overlaps") {
    std::vector<Parameter> overlapping = one.parameters();
    overlapping[1].half = overlapping[0].half + 9000;
    LocalRendezvous rendezvous(1);
    const std::string text =
        error_of([&] { Session(plugins(), configure(all_optimizers()[0]), rendezvous.at(0), overlapping); });
    CHECK(contains(text, "'t0' and 't1'"));
  }
  SUBCASE("another type later") {
    LocalRendezvous rendezvous(1);
    Session session(plugins(), configure(all_optimizers()[0]), rendezvous.at(0), one.parameters());
    std::vector<Gradient> gradients;
    for (const Parameter& parameter : two.parameters()) gradients.push_back({nullptr, parameter});
    CHECK(error_of([&] { session.step(ModelGradients(gradients)); }) ==
          "parameter 't0' is fp16 now, and was bf16 when the session was made: a session's tensors stay as they are; make a "
          "new one where they change");
  }
}
