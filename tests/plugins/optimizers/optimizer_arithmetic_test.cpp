// SPDX-License-Identifier: Apache-2.0
// The optimizers `adam` and `onebit_adam`, call by call, against oracles in double written from their formulas.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <string>

#include "arithmetic.hpp"
#include "onebit/conformance/fixtures/tile_host.hpp"
#include "support/component.hpp"

namespace onebit::test {

using conformance::TileHost;
namespace {

using Tensors = std::vector<Vector>;

std::vector<std::vector<double>> doubles(const Tensors& tensors) {
  std::vector<std::vector<double>> result;
  for (const Vector& tensor : tensors) result.emplace_back(tensor.begin(), tensor.end());
  return result;
}

// Adam and 1-bit Adam in double, as algorithms are printed; the mean of a message is the message itself.
struct AdamOracle {
  double lr = 1e-3, b1 = 0.9, b2 = 0.999, eps = 1e-8, decay = 0, floor = 0.01, scale = 1;
  double clamp = std::sqrt(1000), step_limit = 1e30;  // of a rank's entries, and of a step's direction
  bool corrected = true, update = true;
  std::vector<std::vector<double>> p, m, v, x;
  int t = 0;

  explicit AdamOracle(const Tensors& parameters) : p(doubles(parameters)), m(p), v(p), x(p) {
    for (auto* state : {&m, &v, &x})
      for (auto& tensor : *state) std::fill(tensor.begin(), tensor.end(), 0.0);
  }
  double correct(double beta) const { return corrected ? 1 - std::pow(beta, t) : 1; }

  void dense(const Tensors& gradients) {
    ++t;
    for (size_t k = 0; k < p.size(); ++k)
      for (size_t i = 0; i < p[k].size(); ++i) {
        const double g = gradients[k][i] * scale;
        m[k][i] = b1 * m[k][i] + (1 - b1) * g;
        v[k][i] = b2 * v[k][i] + (1 - b2) * g * g;
        const double u = m[k][i] / correct(b1) / (std::sqrt(v[k][i] / correct(b2)) + eps);
        p[k][i] -= lr * (u + decay * p[k][i]);
      }
  }
  void freeze() {
    double all = 0, elements = 0;
    for (const auto& tensor : v) {
      all += std::accumulate(tensor.begin(), tensor.end(), 0.0) / correct(b2);
      elements += static_cast<double>(tensor.size());
    }
    for (size_t k = 0; k < p.size(); ++k) {
      double mean = std::accumulate(v[k].begin(), v[k].end(), 0.0) / correct(b2) / static_cast<double>(v[k].size());
      if (mean == 0) mean = all / elements;
      for (size_t i = 0; i < v[k].size(); ++i) {
        const double raised = std::max(v[k][i] / correct(b2), floor * mean);
        v[k][i] = raised > 0 ? 1 / (std::sqrt(raised) + eps) : 0;
        x[k][i] = update ? m[k][i] * v[k][i] : m[k][i];
      }
    }
  }
  void compressed(const Tensors& gradients) {
    ++t;
    for (size_t k = 0; k < p.size(); ++k)
      for (size_t i = 0; i < p[k].size(); ++i) {
        const double r = v[k][i], g = gradients[k][i] * scale;
        const double entry = update ? std::min(clamp, std::max(-clamp, r * g)) : g;
        x[k][i] = b1 * x[k][i] + (1 - b1) * entry;
        const double u = (update ? x[k][i] : r * x[k][i]) / correct(b1);
        if (r > 0) p[k][i] -= lr * ((update ? std::clamp(u, -step_limit, step_limit) : u) + decay * p[k][i]);
      }
  }
};

// Means as a compressed round gives them: signs and one scale a 4,096 elements, with error feedback.
TileHost::Mean compressing(const Compressor& codec, Vector& error) {
  return [&codec, &error](const Vector& message, bool compressed) {
    if (!compressed) return message;
    error.resize(message.size());
    Vector decoded(message.size());
    for (size_t first = 0; first < message.size(); first += 4096) {
      const auto n = static_cast<int64_t>(std::min<size_t>(4096, message.size() - first));
      const Piece piece = {static_cast<int64_t>(first), n, 0, 0, 0};
      const Batch batch = {sizeof batch, 1, &piece, nullptr, 1, 0, nullptr, nullptr};
      double statistics[2];
      std::vector<char> payload(codec.payload_size(n));
      codec.measure(batch, message.data(), error.data(), statistics);
      codec.encode(batch, message.data(), error.data(), error.data(), statistics, payload.data());
      codec.decode(batch, payload.data(), 1, false, decoded.data());
    }
    return decoded;
  };
}

}  // namespace

TEST_CASE("adam is AdamW with bias correction, over 50 steps") {
  const std::vector<size_t> sizes = {1, 31, 33, 5000};
  for (const double decay : {0.0, 0.01})
    for (const bool corrected : {true, false}) {
      CAPTURE(decay);
      CAPTURE(corrected);
      const auto adam = make_optimizer("adam", corrected ? "" : "bias_correction = false");
      const Tensors start = seeded_tensors(sizes, 1, 0.1F);
      AdamOracle oracle(start);
      TileHost host(*adam, start);
      host.number = 17;  // the count of updates matters, not the number of the step
      for (Group& group : host.groups) group.weight_decay = decay;
      for (uint32_t step = 0; step < 50; ++step) {
        const Tensors gradients = seeded_tensors(sizes, 100 + step, 0.1F);
        const Plan& plan = host.step(gradients);
        REQUIRE(plan.rounds().size == 1);
        CHECK(plan.rounds()[0].kind == RoundKind::dense);
        // decoupled decay first, by a factor in float, as torch does
        for (auto& tensor : oracle.p)
          for (double& p : tensor) p *= static_cast<float>(1 - oracle.lr * decay);
        oracle.corrected = corrected;
        oracle.dense(gradients);
      }
      CHECK(largest_difference(host.parameters, oracle.p) < 5e-7);
      CHECK(host.numbers("updates")[0] == 50);
    }
}

TEST_CASE("learning rate and weight decay are the group's, step by step") {
  for (const std::string name : {"adam", "onebit_adam"}) {
    const auto optimizer = make_optimizer(name, name == "adam" ? "" : freeze_at(1));
    const Tensors start = seeded_tensors({40, 40, 40}, 1), gradients = seeded_tensors({40, 40, 40}, 2);
    TileHost host(*optimizer, start);
    for (int step = 1; step <= 3; ++step) {
      const Tensors before = host.parameters;
      host.groups = {{0, 0}, {1e-3, 0}, {0, 0.5}};
      host.step(gradients);
      CHECK(host.parameters[0] == before[0]);
      CHECK(host.parameters[1] != before[1]);
      CHECK(host.parameters[2] == before[2]);  // decay is multiplied by the learning rate
    }
  }
}

TEST_CASE("onebit_adam: dense until the freeze step, exactly, then a compressed round that is retained, without momentum") {
  for (const int64_t first : {1, 2, 4}) {
    const auto optimizer = make_optimizer("onebit_adam", freeze_at(4));
    TileHost host(*optimizer, seeded_tensors({100}, 1));
    host.number = first;
    for (int64_t step = first; step <= 8; ++step) {
      CAPTURE(step);
      const Plan& plan = host.step(seeded_tensors({100}, 2));
      REQUIRE(plan.rounds().size == 1);
      const Plan::Round& round = plan.rounds()[0];
      CHECK((round.kind == RoundKind::compressed) == (step > 4));
      CHECK((round.of == Of::message) == (step > 4));
      CHECK(round.retain == (step > 4));
      CHECK(plan.apply == (step == 4));
      CHECK(plan.acquires().size == (step == 4 ? 1 : 0));
      CHECK(plan.releases().size == (step == 4 || step == 5 ? 1 : 0));
      CHECK(host.elements("momentum").empty() == (step > 4));
    }
    CHECK(host.numbers("frozen_at_step")[0] == 4);
    CHECK(host.numbers("dense_updates")[0] == static_cast<double>(4 - first + 1));
    CHECK(host.numbers("compressed_updates")[0] == 4);
  }
}

TEST_CASE("onebit_adam: started beyond the freeze step, one dense step comes first") {
  const auto optimizer = make_optimizer("onebit_adam", freeze_at(10));
  TileHost host(*optimizer, seeded_tensors({100}, 1));
  host.number = 1000;
  CHECK(host.step(seeded_tensors({100}, 2)).apply);
  CHECK(host.step(seeded_tensors({100}, 3)).rounds()[0].kind == RoundKind::compressed);
}

TEST_CASE("onebit_adam: both messages, against the formulas") {
  const std::vector<size_t> sizes = {1, 33, 4096 + 50};
  struct Case {
    std::string lines;
    bool update, corrected;
    double decay, floor, clamp, b2 = 0.999;
  };
  const Case cases[] = {
      {"", true, true, 0, 0.01, std::sqrt(1000)},
      {"betas = [0.9, 0.99]\nclamp = \"auto\"", true, true, 0, 0.01, 10, 0.99},
      {"bias_correction = false\nvariance_floor = 0\nclamp = 0", true, false, 0.1, 0, 1e30},
      {"variance_floor = 0.2\nclamp = 0.5", true, true, 0.1, 0.2, 0.5},
      {"message = \"momentum\"", false, true, 0.1, 0.01, 10},
      {"message = \"momentum\"\nbias_correction = false\nvariance_floor = 0\nclamp = 0", false, false, 0, 0, 10},
  };
  for (const Case& c : cases) {
    CAPTURE(c.lines);
    const auto optimizer = make_optimizer("onebit_adam", freeze_at(5, "refresh = 0\n" + c.lines));
    const Tensors start = seeded_tensors(sizes, 1);
    TileHost host(*optimizer, start);
    AdamOracle oracle(start);
    oracle.update = c.update;
    oracle.corrected = c.corrected;
    oracle.floor = c.floor;
    oracle.clamp = c.clamp;
    if (c.lines.find("clamp = 0") == std::string::npos) oracle.step_limit = c.clamp, oracle.clamp *= host.ranks;
    oracle.b2 = c.b2;
    oracle.decay = c.decay;
    oracle.scale = 0.5;
    host.gradient_scale = 0.5F;
    for (Group& group : host.groups) group.weight_decay = c.decay;
    for (uint32_t step = 1; step <= 12; ++step) {
      const Tensors gradients = seeded_tensors(sizes, 10 + step, 0.1F);
      host.step(gradients);
      step <= 5 ? oracle.dense(gradients) : oracle.compressed(gradients);
      if (step == 5) oracle.freeze();
      CAPTURE(step);
      CHECK(largest_difference(host.parameters, oracle.p) < 1e-6);
    }
  }
}

TEST_CASE("onebit_adam: the frozen reciprocal: floored, also where no gradient was ever seen") {
  const size_t size = 9000;
  Tensors gradients = {Vector(size, 1.0F), Vector(10, 1e-3F), Vector(4, 0.0F)};
  gradients[0][7] = 0;
  gradients[0][8] = 1e-3F;
  for (const std::string floor : {"0.01", "0"}) {
    CAPTURE(floor);
    const auto optimizer = make_optimizer("onebit_adam", freeze_at(3, "variance_floor = " + floor));
    TileHost host(*optimizer, seeded_tensors({size, 10, 4}, 1));
    for (int step = 0; step < 3; ++step) host.step(gradients);
    const Vector& r = host.elements("reciprocal");
    const bool floored = floor != "0";
    CHECK(host.numbers("mean_variance")[0] == doctest::Approx(1.0 - 2.0 / size).epsilon(1e-5));
    CHECK(host.numbers("mean_variance_of_model")[0] == doctest::Approx((size - 2.0) / (size + 14)).epsilon(1e-5));
    CHECK(host.numbers("unseen_elements") == std::vector<double>{1, 0, 4});
    CHECK(r[0] == doctest::Approx(1).epsilon(1e-5));
    CHECK(r[7] == doctest::Approx(floored ? 10 : 0).epsilon(1e-3));
    CHECK(r[8] == doctest::Approx(floored ? 10 : 1000).epsilon(1e-3));  // raised to 0.01 of the mean
    CHECK(r[size] == doctest::Approx(1000).epsilon(1e-3));              // the floor is the tensor's own
    for (size_t i = 0; i < 4; ++i) CHECK(r[size + 10 + i] == doctest::Approx(floored ? 10 : 0).epsilon(1e-2));  // the model's
  }
}

TEST_CASE("onebit_adam: without a floor, elements with r = 0 never move after the freeze") {
  const auto codec = make_compressor("onebit");
  for (const std::string message : {"update", "momentum"}) {
    const auto optimizer = make_optimizer("onebit_adam", freeze_at(2, "variance_floor = 0\nmessage = \"" + message + "\""));
    const size_t size = 5000;
    TileHost host(*optimizer, seeded_tensors({size}, 1));
    host.groups[0].weight_decay = 0.1;
    Vector error;
    host.mean = compressing(*codec, error);
    Vector before;
    for (uint32_t step = 1; step <= 30; ++step) {
      Tensors gradients = seeded_tensors({size}, step);
      if (step <= 2)
        for (size_t i = 0; i < size; i += 3) gradients[0][i] = 0;
      host.step(gradients);
      if (step == 2) before = host.parameters[0];
    }
    size_t moved = 0;
    for (size_t i = 0; i < size; ++i) {
      if (i % 3 == 0) REQUIRE(host.parameters[0][i] == before[i]);
      moved += host.parameters[0][i] != before[i] ? 1 : 0;
    }
    CHECK(moved == size - (size + 2) / 3);
  }
}

TEST_CASE("optimizers: what first has a gradient after the freeze learns, and what never has one stays near its place") {
  const auto codec = make_compressor("onebit");
  const size_t size = 4096, late = 300;  // the second tensor has no gradient before the freeze
  constexpr uint32_t draws = 1009;       // again and again, for to draw takes longer than the steps
  std::vector<Tensors> drawn;
  for (uint32_t draw = 0; draw < draws; ++draw) drawn.push_back(seeded_tensors({size, late}, draw));
  for (const std::string name : {"onebit_adam", "onebit_lamb", "zeroone_adam"})
    for (const std::string message : {"update", "momentum"}) {
      CAPTURE(name);
      CAPTURE(message);
      const std::string step_key = name == "zeroone_adam" ? "var_freeze_step" : "freeze_step";
      const auto optimizer = make_optimizer(name, step_key + " = 50\nmessage = \"" + message + "\"");
      const Tensors start = seeded_tensors({size, late}, 1);
      TileHost host(*optimizer, start);
      for (Group& group : host.groups) group.learning_rate = 1e-3;
      Vector error;
      host.mean = compressing(*codec, error);
      double drift = 0;
      for (uint32_t step = 1; step <= 10'000; ++step) {
        Tensors gradients = drawn[step % draws];
        for (size_t i = 0; i < size; i += 4) gradients[0][i] = 0;  // never
        for (size_t i = 1; i < size; i += 4)                       // after the freeze, towards 3
          gradients[0][i] = step <= 50 ? 0 : host.parameters[0][i] - 3;
        for (size_t i = 0; i < late; ++i) gradients[1][i] = step <= 50 ? 0 : host.parameters[1][i] - 3;
        host.step(gradients);
        for (size_t i = 0; i < size; i += 4)
          drift = std::max(drift, std::fabs(static_cast<double>(host.parameters[0][i]) - start[0][i]));
      }
      double distance = 0, of_late = 0;
      for (size_t i = 1; i < size; i += 4) distance += std::fabs(static_cast<double>(host.parameters[0][i]) - 3) * 4 / size;
      for (const float p : host.parameters[1]) of_late += std::fabs(static_cast<double>(p) - 3) / late;
      MESSAGE(name, ", ", message, ": drift ", drift, ", distance ", distance, ", of the late tensor ", of_late);
      CHECK(distance < 0.1);
      CHECK(of_late < 0.1);
      CHECK(drift < 0.15);
    }
}

TEST_CASE("onebit_adam: gradients of six decades in one block, and no step beyond lr / sqrt(1 - beta2)") {
  const auto codec = make_compressor("onebit");
  for (const bool constant : {false, true}) {
    CAPTURE(constant);
    const auto optimizer = make_optimizer("onebit_adam", freeze_at(5));
    const size_t size = 4096;
    TileHost host(*optimizer, seeded_tensors({size}, 1));
    Vector error;
    host.mean = compressing(*codec, error);
    double most = 0;
    for (uint32_t step = 1; step <= 1500; ++step) {
      Tensors gradients = seeded_tensors({size}, constant ? 7 : step);
      for (size_t i = 0; i < size; ++i) gradients[0][i] *= std::pow(10.0F, -6.0F * static_cast<float>(i) / size);
      if (constant && step > 5)
        for (float& g : gradients[0]) g *= 1e4F;
      const Vector before = host.parameters[0];
      host.step(gradients);
      for (size_t i = 0; i < size; ++i)
        most = std::max(most, std::fabs(static_cast<double>(host.parameters[0][i]) - before[i]) / 1e-3);
    }
    CHECK(most <= 1.05 * std::sqrt(1000));
    CHECK(most > (constant ? 20 : 0.1));
  }
}

TEST_CASE("optimizers: denormal and huge gradients keep everything finite") {
  for (const float size : {1e-42F, 1e-25F, 1e-10F, 0x1p55F}) {
    CAPTURE(size);
    for (const std::string lines : {"", "message = \"momentum\""}) {
      const auto optimizer = make_optimizer("onebit_adam", freeze_at(3, lines));
      const Tensors start = seeded_tensors({100}, 1);
      TileHost host(*optimizer, start);
      for (uint32_t step = 1; step <= 8; ++step) host.step(seeded_tensors({100}, step, size));
      for (const float p : host.parameters[0]) CHECK(std::isfinite(p));
      if (size == 1e-42F) CHECK(host.numbers("unseen_elements")[0] == 100);  // their squares are 0
    }
  }
}

TEST_CASE("optimizers: where gradients cease, momentum becomes zero and not a denormal") {
  for (const std::string name : {"adam", "onebit_adam"}) {
    const auto optimizer = make_optimizer(name, name == "adam" ? "" : freeze_at(100'000));
    TileHost host(*optimizer, seeded_tensors({70}, 1));
    host.step(seeded_tensors({70}, 2));
    const Tensors none = {Vector(70)};
    for (int step = 0; step < 1000; ++step) {
      host.step(none);
      for (const float m : host.elements("momentum")) REQUIRE((m == 0 || std::isnormal(m)));
    }
    CHECK(host.elements("momentum") == none[0]);
    for (const float v : host.elements("variance")) CHECK(v > 0);
  }
}

TEST_CASE("optimizers: every SIMD target gives the same bits") {
  const auto codec = make_compressor("onebit");
  const std::vector<size_t> sizes = {1, 31, 33, 4096 + 7, 3 * 4096};
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"adam", ""},
      {"onebit_adam", freeze_at(3)},
      {"onebit_adam", freeze_at(3, "message = \"momentum\"\nclamp = 0")},
      {"onebit_adam", freeze_at(3, "reciprocal_dtype = \"bf16\"")}};
  for (const auto& item : cases) {  // clang 14 lets no lambda capture structured bindings
    const auto& name = item.first;
    const auto& lines = item.second;
    Vector expected;
    for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
      CAPTURE(name);
      CAPTURE(lines);
      CAPTURE(hwy::TargetName(target));
      const OnTarget on(target);
      const auto optimizer = make_optimizer(name, lines);
      TileHost host(*optimizer, seeded_tensors(sizes, 1));
      for (Group& group : host.groups) group.weight_decay = 0.01;
      host.gradient_scale = 0.7F;
      Vector error, trail;
      host.mean = compressing(*codec, error);
      for (uint32_t step = 1; step <= 8; ++step) {
        Tensors gradients = seeded_tensors(sizes, step);
        for (size_t i = 0; i < 100; ++i) gradients[4][i] = 0;  // some never see a gradient
        host.step(gradients);
        for (const Vector& part : {host.message, host.elements("variance"),
                                   host.elements(name == "adam" ? "variance" : "reciprocal"), host.elements("momentum"), error})
          trail.insert(trail.end(), part.begin(), part.end());
        for (const Vector& tensor : host.parameters) trail.insert(trail.end(), tensor.begin(), tensor.end());
      }
      if (expected.empty()) expected = trail;
      REQUIRE(trail.size() == expected.size());
      CHECK(std::memcmp(trail.data(), expected.data(), trail.size() * sizeof(float)) == 0);
    }
  }
}

TEST_CASE("onebit_adam: a lost mean is an error, not a restart from zero") {
  const auto optimizer = make_optimizer("onebit_adam", freeze_at(1));
  TileHost host(*optimizer, seeded_tensors({10}, 1));
  for (int step = 0; step < 3; ++step) host.step(seeded_tensors({10}, 2));
  host.previous.clear();
  CHECK_THROWS_WITH_AS(host.step(seeded_tensors({10}, 2)),
                       doctest::Contains("the retained mean of the last compressed step is missing"), Error);
}

TEST_CASE("optimizers: options that cannot be are refused in words") {
  for (const std::string name : {"adam", "onebit_adam"}) {
    const std::string lines = name == "adam" ? "" : freeze_at(1);
    CHECK_THROWS_WITH_AS((void)make_optimizer(name, lines + "betas = [0.9]"),
                         doctest::Contains("betas has 1 numbers; it must have two, [beta1, beta2]"), Error);
    CHECK_THROWS_WITH_AS((void)make_optimizer(name, lines + "betas = [0.9, 1.0]"),
                         doctest::Contains("both must be at least 0 and less than 1"), Error);
  }
  CHECK_THROWS_AS((void)make_optimizer("onebit_adam", "freeze_step = \"late\""), Error);  // freeze_step has no default
  CHECK_THROWS_AS((void)make_optimizer("onebit_adam", freeze_at(0)), Error);
}

}  // namespace onebit::test
