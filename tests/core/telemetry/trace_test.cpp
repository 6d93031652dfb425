// SPDX-License-Identifier: Apache-2.0
// session.trace: what is in it, where it is written, what it costs.
#include <doctest/doctest.h>
#include <spdlog/logger.h>
#include <spdlog/sinks/ostream_sink.h>

#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "loading/host_services.hpp"
#include "support/gradients.hpp"
#include "support/scratch_folder.hpp"
#include "support/sessions.hpp"
#include "support/trace.hpp"

using namespace onebit;
using namespace onebit::test;
using nlohmann::json;

namespace {

const Tensors model = {std::vector<float>(30'000, 0.5F), std::vector<float>(17, -1.0F)};

std::vector<json> spans_of(const json& events) {
  std::vector<json> spans;
  for (const json& event : events)
    if (event["ph"] == "X") spans.push_back(event);
  return spans;
}
double end_of(const json& span) { return span["ts"].get<double>() + span["dur"].get<double>(); }

json traced(const ScratchFolder& folder, int rank) {
  return json::parse(contents_of(Trace::file_of(folder / "run.json", rank)));
}

std::string with_trace(const ScratchFolder& folder, const std::string& more = "") {
  return onebit_adam("freeze_step = 2\n", more + "[exchange]\nbucket_bytes = 50000\n" +
                                              (more.empty() ? "" : "topology = \"hierarchical\"\n") + "[session]\ntrace = \"" +
                                              (folder / "run.json").string() + "\"\n");
}

void train(const std::string& toml, int ranks) {
  run_sessions(ranks, toml, model, [](Rank rank) {
    for (int64_t step = 1; step <= 4; ++step) {
      Tensors gradients = noisy(model, step, rank.number);
      if (step == 3) {
        gradients[0][0] = NAN;
        rank.session.step(pointers(gradients));
        gradients[0][0] = 0;
      }
      rank.session.step(pointers(gradients));
    }
  });
}

}  // namespace

TEST_CASE("a trace has every stage of every step and bucket, inside its step") {
  const ScratchFolder folder;
  train(with_trace(folder), 2);
  for (const int rank : {0, 1}) {
    const json events = traced(folder, rank);
    CHECK(events[0]["args"]["name"] == "rank " + std::to_string(rank));
    std::map<std::string, int> count;
    std::vector<json> steps;
    for (const json& span : spans_of(events)) {
      ++count[span["name"]];
      REQUIRE(span["pid"] == rank);
      REQUIRE(span["tid"] == 0);
      REQUIRE(span["dur"] >= 0);
      if (span["name"] == "step") {
        if (!steps.empty()) CHECK(span["ts"].get<double>() >= end_of(steps.back()));
        steps.push_back(span);
        continue;
      }
      CHECK(span["args"]["step"] == steps.back()["args"]["step"]);
      CHECK(span["ts"] >= steps.back()["ts"]);
      CHECK(end_of(span) <= end_of(steps.back()) + 1e-3);
      const bool of_bucket = span["name"] != "scan" && span["name"] != "agreement" && span["name"] != "apply";
      CHECK(span["args"].contains("bucket") == of_bucket);
    }
    // 5 calls of step, of which one was skipped, and 3 buckets
    const std::map<std::string, int> expected = {{"step", 5},   {"scan", 5},     {"agreement", 5}, {"send", 12},
                                                 {"serve", 12}, {"receive", 12}, {"wait", 24},     {"apply", 1}};
    CHECK(count == expected);
    std::vector<int> numbers;
    for (const json& step : steps) numbers.push_back(step["args"]["step"]);
    CHECK(numbers == std::vector<int>{1, 2, 3, 3, 4});
  }
}

TEST_CASE("a hierarchical trace shows the part inside a machine") {
  const ScratchFolder folder;
  train(with_trace(folder, "machines = 2\n"), 4);
  std::set<std::string> names;
  for (const json& span : spans_of(traced(folder, 3))) names.insert(span["name"]);
  CHECK(names == std::set<std::string>{"agreement", "apply", "receive", "scan", "send", "serve", "share", "step", "wait"});
}

TEST_CASE("no trace, no file, and where it can't be written, that is told before training") {
  const ScratchFolder folder;
  train(onebit_adam("freeze_step = 2\n"), 2);
  CHECK(std::filesystem::is_empty(folder.path()));
  Tensors tensors = model;
  LocalRendezvous rendezvous(1);
  const std::string file = (folder / "nowhere/run.json").string();
  CHECK_THROWS_WITH(Session(plugins(),
                            configure("[optimizer]\nplugin = \"adam\"\n[communicator]\nplugin = \"threads\"\n"
                                      "[session]\ntrace = \"" +
                                      file + "\"\n"),
                            rendezvous.at(0), parameters_of(tensors)),
                    ("session.trace: '" + (folder / "nowhere/run.rank0.json").string() +
                     "' can't be written: No such file or directory; its folder must be there")
                        .c_str());
}

TEST_CASE("a trace changes no bit and is no part of what ranks must agree on") {
  const ScratchFolder folder;
  const std::string with = with_trace(folder), without = onebit_adam("freeze_step = 2\n", "[exchange]\nbucket_bytes = 50000\n");
  CHECK(configure(with).hash() == configure(without).hash());
  const auto after = [](const std::string& of_rank_0, const std::string& of_rank_1) {
    return run_sessions(
        2, [&](int rank) { return rank == 0 ? of_rank_0 : of_rank_1; }, model,
        [](Rank rank) {
          for (int64_t step = 1; step <= 4; ++step) rank.session.step(pointers(noisy(model, step, rank.number)));
        });
  };
  CHECK(after(with, without) == after(without, without));
}

TEST_CASE("what plugins report is laid in lanes, so that spans at the same time can be told apart") {
  const ScratchFolder folder;
  onebit::HostServices& services = onebit::HostServices::make(std::make_shared<spdlog::logger>("none"));
  const onebit_host& host = *services.table();
  const auto report = [&](const char* name, int64_t begin, int64_t end) { host.span(host.ctx, str(name), begin, end); };
  report("before", 0, 1);
  {
    Trace trace(services.traces(), folder / "t.json", 7);
    trace.enter(3);
    trace.own("send", 1000, 5000, 2);
    report("to rank 1", 2000, 9000);
    report("to rank \"2\" \xff", 3000, 4000);
    report("to rank 3", 4000, 8000);
    report("to rank 1", 9000, 9500);
  }
  report("after", 0, 1);
  std::vector<std::string> found;
  for (const json& span : spans_of(json::parse(contents_of(folder / "t.rank7.json"))))
    found.push_back(span["name"].get<std::string>() + " " + span["cat"].get<std::string>() + " " + span["tid"].dump() + " " +
                    span["ts"].dump() + " " + span["dur"].dump());
  CHECK(found == std::vector<std::string>{"send session 0 1.0 4.0", "to rank 1 plugin 2 2.0 7.0",
                                          "to rank \"2\" \xef\xbf\xbd plugin 3 3.0 1.0", "to rank 3 plugin 3 4.0 4.0",
                                          "to rank 1 plugin 2 9.0 0.5"});
}

TEST_CASE("what is exchanged while gradients are computed has a lane of its own") {
  const ScratchFolder folder;
  run_sessions(2, with_trace(folder), model, [](Rank rank) {
    for (int64_t step = 1; step <= 4; ++step) {
      const Tensors gradients = noisy(model, step, rank.number);
      rank.session.begin();
      for (size_t t = 0; t < gradients.size(); ++t) rank.session.ready(t, gradients[t].data());
      rank.session.step();
    }
  });
  for (const int rank : {0, 1}) {
    const json events = traced(folder, rank);
    CHECK(events[2]["args"]["name"] == "exchange");
    std::map<std::string, int64_t> lanes;  // of the last step
    for (const json& span : spans_of(events))
      if (span["args"]["step"] == 4) lanes[span["name"]] = span["tid"];
    for (const char* name : {"backward", "step"}) CHECK(lanes[name] == 0);
    for (const char* name : {"send", "serve", "receive"}) CHECK(lanes[name] == 1);
  }
}

TEST_CASE("a trace that can't be written whole is told, with the reason") {
  const ScratchFolder folder;
  std::filesystem::create_symlink("/dev/full", folder / "t.rank0.json");
  std::ostringstream told;
  const auto logger = std::make_shared<spdlog::logger>("told", std::make_shared<spdlog::sinks::ostream_sink_st>(told));
  Traces traces;
  { const Trace trace(traces, folder / "t.json", 0, 10, logger); }
  CHECK_MESSAGE(told.str().find("session.trace: '" + (folder / "t.rank0.json").string() +
                                "' is cut short, it can't be written: No space left on device") != std::string::npos,
                told.str());
}

TEST_CASE("memory is bounded: the latest spans are kept, and the file says so") {
  const ScratchFolder folder;
  Traces traces;
  {
    Trace trace(traces, folder / "t.json", 0, 10);
    for (int64_t i = 0; i < 25; ++i) trace.own(std::string(100, 'n'), i * 1000, i * 1000 + 1, -1);
  }
  const json events = json::parse(contents_of(folder / "t.rank0.json"));
  CHECK(events[2]["args"]["labels"] == "the last 10 of 25 spans");
  const std::vector<json> spans = spans_of(events);
  REQUIRE(spans.size() == 10);
  CHECK(spans.front()["ts"] == 15.0);
  CHECK(spans.back()["ts"] == 24.0);
  CHECK(spans[0]["name"] == std::string(62, 'n'));
}
