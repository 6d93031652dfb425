// SPDX-License-Identifier: Apache-2.0
// `onebit replay`: traces go through an optimizer as they should, and those that are not whole are named.
#include <doctest/doctest.h>

#include <cmath>
#include <fstream>
#include <sstream>

#include "onebit/error.hpp"
#include "onebit/safetensors.hpp"
#include "replay/replay.hpp"
#include "support/recorded_trace.hpp"
#include "support/running.hpp"
#include "support/scratch_folder.hpp"
#include "support/sessions.hpp"

using onebit::SafetensorsReader;
using onebit::test::closed_form;
using onebit::test::Recorded;
using onebit::test::run_onebit;
using onebit::test::Trace;
using onebit::test::write_trace;

namespace {

const std::string kAdam = "[optimizer]\nplugin = \"adam\"\nlr = 1e-2\n[communicator]\nplugin = \"threads\"\n";

std::string files(const ScratchFolder& folder) {
  return (folder / "c.toml").string() + " --gradients " + (folder / "in").string() + " --out " + (folder / "out").string();
}

onebit::test::Outcome replay_adam(const ScratchFolder& folder, const Trace& trace, const std::string& more = "") {
  folder.file("c.toml", kAdam);
  write_trace(folder / "in", trace);
  return run_onebit("replay " + files(folder) + " " + more);
}

void check_refused(const Trace& trace, const std::string& part, const std::string& more = "") {
  const ScratchFolder folder;
  const auto outcome = replay_adam(folder, trace, more);
  CHECK(outcome.status == 1);
  CHECK_SAYS(outcome, part);
  CHECK(!std::filesystem::exists(folder / "out"));
}

// Adam in double, on the mean of the ranks' gradients: what the trace must become.
std::vector<double> adam_by_hand(const Trace& trace, const std::string& name, int ranks, int first, int steps) {
  const auto find = [&](const std::string& key) {
    for (const Recorded& r : trace)
      if (r.key == key) return r.values;
    throw std::runtime_error(key);
  };
  const std::vector<float> start = find("parameter/" + name);
  std::vector<double> p(start.begin(), start.end()), m(p.size()), v(p.size());
  for (int t = first; t < first + steps; ++t) {
    std::vector<double> g(p.size());
    for (int rank = 0; rank < ranks; ++rank) {
      const auto own = find("gradient/" + std::to_string(t) + "/" + std::to_string(rank) + "/" + name);
      for (size_t i = 0; i < g.size(); ++i) g[i] += static_cast<double>(own[i]) / ranks;
    }
    const int updates = t - first + 1;  // bias correction counts updates
    for (size_t i = 0; i < g.size(); ++i) {
      m[i] = 0.9 * m[i] + 0.1 * g[i];
      v[i] = 0.999 * v[i] + 0.001 * g[i] * g[i];
      p[i] -= 1e-2 * (m[i] / (1 - std::pow(0.9, updates))) / (std::sqrt(v[i] / (1 - std::pow(0.999, updates))) + 1e-8);
    }
  }
  return p;
}

}  // namespace

TEST_CASE("a trace goes through adam, and every rank's parameters are written for every step") {
  const ScratchFolder folder;
  const Trace trace = closed_form({33, 7, 1}, 2, 5, 3);
  const auto outcome = replay_adam(folder, trace, "--ranks 2");
  REQUIRE_MESSAGE(outcome.status == 0, outcome.text);
  const SafetensorsReader out(folder / "out");
  CHECK(out.entries().size() == 3 * 2 * 3);
  CHECK(out.entries().front().name == "parameter/5/0/layer/0");
  for (int k = 0; k < 3; ++k) {
    const std::string name = "layer/" + std::to_string(k);
    for (int steps = 1; steps <= 3; ++steps) {
      const std::vector<double> expected = adam_by_hand(trace, name, 2, 5, steps);
      const auto found = out.read("parameter/" + std::to_string(4 + steps) + "/0/" + name);
      for (size_t i = 0; i < expected.size(); ++i) CHECK(std::fabs(found[i] - expected[i]) < 1e-6);
      CHECK(found == out.read("parameter/" + std::to_string(4 + steps) + "/1/" + name));
    }
  }
}

TEST_CASE("the ranks may be left to the trace, and options may be set") {
  const ScratchFolder folder;
  const Trace trace = closed_form({9}, 3, 1, 1);
  const auto outcome = replay_adam(folder, trace, "--set optimizer.lr=0");
  REQUIRE_MESSAGE(outcome.status == 0, outcome.text);
  const SafetensorsReader out(folder / "out");
  CHECK(out.entries().size() == 3);
  CHECK(out.read("parameter/1/2/layer/0") == trace[0].values);
}

TEST_CASE("replay reproduces every unmasked trace of the reference's 1-bit Adam") {
  const nlohmann::json traces = onebit::test::golden("onebit_adam.json")["cases"];
  REQUIRE(traces.size() == 6);
  for (const nlohmann::json& golden : traces) {
    const ScratchFolder folder;
    const nlohmann::json& hyper = golden["hyper"];
    const std::vector<size_t> sizes = golden["numels"];
    write_trace(folder / "in", closed_form(sizes, golden["workers"], 2, golden["steps"]));
    std::ostringstream optimizer;
    optimizer << std::scientific
              << "message = \"momentum\"\nvariance_floor = 0.0\nbias_correction = false\nlr = " << hyper["lr"].get<double>()
              << "\nweight_decay = " << hyper["weight_decay"].get<double>()
              << "\nfreeze_step = " << hyper["freeze_step"].get<int>();
    folder.file("c.toml",
                "[optimizer]\nplugin = \"onebit_adam\"\n" + optimizer.str() +
                    "\n[compressor]\nplugin = \"onebit\"\nscale = \"tensor\"\n[communicator]\nplugin = \"threads\"\n");
    const auto outcome = run_onebit("replay " + files(folder) + " --ranks " + golden["workers"].dump());
    REQUIRE_MESSAGE(outcome.status == 0, outcome.text);
    const SafetensorsReader out(folder / "out");
    double worst = 0;
    for (int t = 1; t <= golden["steps"].get<int>(); ++t)
      for (size_t k = 0; k < sizes.size(); ++k) {
        const auto found = out.read("parameter/" + std::to_string(t + 1) + "/0/layer/" + std::to_string(k));
        const nlohmann::json& expected = golden["parameters"][static_cast<size_t>(t - 1)][k];
        for (size_t i = 0; i < found.size(); ++i) worst = std::max(worst, std::fabs(found[i] - expected[i].get<double>()));
      }
    CHECK_MESSAGE(worst < 1e-6, golden["workers"].dump(), " ranks, ", hyper.dump());
  }
}

TEST_CASE("a step whose gradient is not finite is skipped and said to be") {
  const ScratchFolder folder;
  Trace trace = closed_form({5}, 2, 1, 2);
  trace[2].values[3] = NAN;  // step 1, rank 1
  const auto outcome = replay_adam(folder, trace);
  REQUIRE_MESSAGE(outcome.status == 0, outcome.text);
  CHECK_SAYS(outcome, "1 skipped");
  const SafetensorsReader out(folder / "out");
  CHECK(out.read("parameter/1/0/layer/0") == trace[0].values);
  CHECK(out.read("parameter/2/0/layer/0") != trace[0].values);
}

TEST_CASE("ranks that do not fit the trace") {
  const Trace trace = closed_form({4}, 2, 3, 1);
  check_refused(trace, "'gradient/3/2/layer/0' is missing: the trace has ranks 0 to 1, --ranks asks for 3", "--ranks 3");
  check_refused(trace, "'gradient/3/1/layer/0' would be left out", "--ranks 1");
  check_refused(trace, "--ranks 0: expected a number of ranks from 1 to 64", "--ranks 0");
  check_refused(trace, "--ranks -2: expected a number of ranks from 1 to 64", "--ranks=-2");
}

TEST_CASE("traces that are not whole are refused by the key that is wrong") {
  const auto without = [](const std::string& key) {
    Trace trace = closed_form({4, 6}, 2, 1, 3);
    std::erase_if(trace, [&](const Recorded& r) { return r.key.find(key) != std::string::npos; });
    return trace;
  };
  check_refused(without("gradient/2/1/layer/1"), "'gradient/2/1/layer/1' is missing");
  check_refused(without("gradient/2/"), "'gradient/2/0/layer/0' is missing");
  check_refused(without("parameter/layer/1"), "'gradient/1/0/layer/1' has no 'parameter/layer/1'");
  check_refused(without("parameter/"), "has no 'parameter/<name>'");
  check_refused(without("gradient/"), "has no 'gradient/<step>/<rank>/<name>'");
}

TEST_CASE("keys that a trace does not have") {
  const auto with = [](const std::string& key, size_t size) {
    Trace trace = closed_form({4}, 2, 1, 2);
    trace.push_back({key, {static_cast<int64_t>(size)}, std::vector<float>(size)});
    return trace;
  };
  for (const char* key : {"momentum/layer/0", "gradient/0/0/layer/0", "gradient/01/0/layer/0", "gradient/1/-1/layer/0",
                          "gradient/1/layer/0", "gradient/1/0", "gradient/99999999999999999999/0/layer/0"})
    check_refused(with(key, 4), "'" + std::string(key) + "' is neither");
  check_refused(with("gradient/9000000000000000000/0/layer/0", 4), "steps must be consecutive");
  check_refused(with("gradient/1/2147483647/layer/0", 4), "need many more");
  check_refused(with("gradient/3/0/layer/0", 5), "'gradient/3/0/layer/0' has shape [5], its parameter [4]");
}

namespace {

struct Typed {
  std::string key, dtype, shape, bytes;
};

// A trace of tensors in any dtype, as other programs write it.
void write_typed(const std::filesystem::path& file, const std::vector<Typed>& tensors) {
  std::string header, data;
  for (const Typed& t : tensors) {
    header += (header.empty() ? "{\"" : ",\"") + t.key + "\":{\"dtype\":\"" + t.dtype + "\",\"shape\":" + t.shape +
              ",\"data_offsets\":[" + std::to_string(data.size()) + "," + std::to_string(data.size() + t.bytes.size()) + "]}";
    data += t.bytes;
  }
  header += '}';
  const uint64_t size = header.size();
  std::ofstream out(file, std::ios::binary);
  out.write(reinterpret_cast<const char*>(&size), sizeof size);
  out << header << data;
}

// Numbers that 8 bits of mantissa hold.
std::string as_bf16(const std::vector<float>& values) {
  std::string bytes;
  for (const float value : values) bytes.append(reinterpret_cast<const char*>(&value) + 2, 2);
  return bytes;
}
std::string as_fp32(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

}  // namespace

TEST_CASE("a trace in BF16 is replayed as the same numbers in F32 are, and buffers that no gradient belongs to are left out") {
  const std::vector<float> parameter = {1, -2.5F, 0.125F}, gradient = {0.5F, -0.0625F, 3};
  const ScratchFolder folder;
  folder.file("c.toml", kAdam);
  std::vector<std::vector<float>> results;
  for (const bool half : {false, true}) {
    const std::string dtype = half ? "BF16" : "F32";
    const auto of = [&](const std::vector<float>& values) { return half ? as_bf16(values) : as_fp32(values); };
    std::vector<Typed> trace = {{"parameter/w", dtype, "[3]", of(parameter)}, {"gradient/1/0/w", dtype, "[3]", of(gradient)}};
    if (half) {
      trace.push_back({"parameter/bn.num_batches_tracked", "I64", "[]", std::string(8, '\1')});
      trace.push_back({"mask", "BOOL", "[2]", std::string(2, '\1')});
      trace.push_back({"w_scale", "F8_E8M0", "[3]", std::string(3, '\1')});
    }
    write_typed(folder / "in", trace);
    const auto outcome = run_onebit("replay " + files(folder));
    REQUIRE_MESSAGE(outcome.status == 0, outcome.text);
    CHECK_SAYS(outcome, "1 tensors after steps 1 to 1 on 1 ranks, 0 skipped");
    const SafetensorsReader out(folder / "out");
    CHECK(out.entries().size() == 1);
    results.push_back(out.read("parameter/1/0/w"));
    if (!half) continue;
    CHECK_SAYS(outcome,
               "'parameter/bn.num_batches_tracked' is left out: its type, I64, is none that parameters and gradients have");
    CHECK_SAYS(outcome, "'mask' is left out: its type, BOOL");
    CHECK_SAYS(outcome, "'w_scale' is left out: its type, F8_E8M0");
  }
  CHECK(results[0] == results[1]);
  CHECK(results[0] != parameter);
}

TEST_CASE("parameters and gradients of other types are refused by name, with what to do") {
  const ScratchFolder folder;
  folder.file("c.toml", kAdam);
  const auto refused = [&](const std::vector<Typed>& trace) {
    write_typed(folder / "in", trace);
    const auto outcome = run_onebit("replay " + files(folder));
    CHECK(outcome.status == 1);
    return outcome;
  };
  const Typed w = {"parameter/w", "F32", "[1]", as_fp32({1})};
  const std::string cure = "; gradients and parameters are F32, BF16 or F16: convert it (in PyTorch: tensor.float())";
  CHECK_SAYS(refused({w, {"gradient/1/0/w", "F64", "[1]", std::string(8, '\0')}}), "'gradient/1/0/w' has dtype F64" + cure);
  CHECK_SAYS(refused({w, {"gradient/1/0/w", "I64", "[1]", std::string(8, '\0')}}), "'gradient/1/0/w' has dtype I64" + cure);
  CHECK_SAYS(refused({{"parameter/w", "F64", "[1]", std::string(8, '\0')}}), "'parameter/w' has dtype F64" + cure);
  CHECK_SAYS(refused({{"parameter/n", "I64", "[1]", std::string(8, '\0')}, {"gradient/1/0/n", "F32", "[1]", as_fp32({1})}, w}),
             "'gradient/1/0/n' has no 'parameter/n'");
}

TEST_CASE("a trace that is not there, or not a safetensors file") {
  const ScratchFolder folder;
  folder.file("c.toml", kAdam);
  CHECK_SAYS(run_onebit("replay " + files(folder)), "cannot be opened");
  folder.file("in", "hello, this is no such file");
  CHECK_SAYS(run_onebit("replay " + files(folder)), "is this a safetensors file?");
}
