// SPDX-License-Identifier: Apache-2.0
// Places as text and back.
#include "training/run_place.hpp"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <utility>

#include "onebit/error.hpp"

namespace onebit::host {
namespace {

using nlohmann::json;

// JSON has neither infinities nor NaN; a loss may be either.
json number(double value) {
  if (std::isfinite(value)) return value;
  return std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
}

double real(const json& value) {
  if (value.is_number()) return value.get<double>();
  const auto text = value.get<std::string>();
  return text == "inf" ? INFINITY : text == "-inf" ? -INFINITY : NAN;
}

json optional_number(const std::optional<double>& value) { return value ? number(*value) : json(); }

std::optional<double> optional_real(const json& value) {
  return value.is_null() ? std::nullopt : std::optional<double>(real(value));
}

json json_of(const Losses& losses) { return {{"sum", number(losses.sum)}, {"steps", losses.steps}}; }

Losses losses_of(const json& value) { return {real(value.at("sum")), value.at("steps").get<int64_t>()}; }

json json_of(const StageTimings& stage) {
  const Timings& t = stage.session;
  return {{"steps", stage.steps},
          {"compute", stage.compute},
          {"step", stage.step},
          {"session", {t.scan, t.send, t.serve, t.receive, t.wait, t.checks}}};
}

StageTimings stage_of(const json& value) {
  const auto parts = value.at("session").get<std::vector<double>>();
  StageTimings stage;
  stage.steps = value.at("steps").get<int64_t>();
  stage.compute = real(value.at("compute"));
  stage.step = real(value.at("step"));
  stage.session = {parts.at(0), parts.at(1), parts.at(2), parts.at(3), parts.at(4), parts.at(5)};
  return stage;
}

json json_of(const Traffic& t) {
  return {{"dense_bytes", t.dense_bytes},           {"compressed_bytes", t.compressed_bytes},
          {"agreement_bytes", t.agreement_bytes},   {"other_bytes", t.other_bytes},
          {"local_bytes", t.local_bytes},           {"dense_steps", t.dense_steps},
          {"compressed_steps", t.compressed_steps}, {"local_steps", t.local_steps},
          {"skipped_steps", t.skipped_steps}};
}

Traffic traffic_of(const json& value) {
  Traffic t;
  for (const auto& [key, bytes] : {std::pair("dense_bytes", &t.dense_bytes),
                                   {"compressed_bytes", &t.compressed_bytes},
                                   {"agreement_bytes", &t.agreement_bytes},
                                   {"other_bytes", &t.other_bytes},
                                   {"local_bytes", &t.local_bytes}})
    *bytes = value.at(key).get<uint64_t>();
  for (const auto& [key, steps] : {std::pair("dense_steps", &t.dense_steps),
                                   {"compressed_steps", &t.compressed_steps},
                                   {"local_steps", &t.local_steps},
                                   {"skipped_steps", &t.skipped_steps}})
    *steps = value.at(key).get<int64_t>();
  return t;
}

json json_of(const LossByBand& losses) {
  json all = json::object();
  for (const auto& [band, loss] : losses) all[band] = number(loss);
  return all;
}

LossByBand bands_of(const json& value) {
  LossByBand losses;
  for (const auto& [band, loss] : value.items()) losses[band] = real(loss);
  return losses;
}

json json_of(const TestResult& test) {
  return {{"loss", number(test.loss)},
          {"accuracy", optional_number(test.accuracy)},
          {"by_target", json_of(test.by_target)},
          {"by_input", json_of(test.by_input)}};
}

std::optional<TestResult> test_of(const json& value) {
  if (value.is_null()) return std::nullopt;
  return TestResult{real(value.at("loss")), optional_real(value.at("accuracy")),
                    bands_of(value.value("by_target", json::object())), bands_of(value.value("by_input", json::object()))};
}

// parse: from the text's JSON to a place.
template <class Parse>
auto parsed(const std::string& text, Parse&& parse) {
  try {
    return parse(json::parse(text));
  } catch (const std::exception& e) {
    throw Error(
        Code::invalid_argument,
        std::string("what the checkpoint says of the place in the run is not as `onebit train` writes it: ") + e.what());
  }
}

}  // namespace

std::string text_of(const RunPlace& p) {
  const json value = {{"epoch", p.epoch},
                      {"samples", p.samples},
                      {"taken", p.taken},
                      {"evaluated", p.evaluated},
                      {"frozen_at", p.last.frozen_at},
                      {"unseen", p.last.unseen},
                      {"clamped_share", p.last.clamped_share},
                      {"stage", p.stage},
                      {"seconds", p.seconds},
                      {"window", {{"began", p.window_began}, {"tried", p.window_tried}}},
                      {"shown_loss", number(p.shown_loss)},
                      {"speed", number(p.speed)},
                      {"test", p.test ? json_of(*p.test) : json()},
                      {"train_loss", optional_number(p.train_loss)},
                      {"timings", {json_of(p.timings.dense), json_of(p.timings.compressed), json_of(p.timings.local)}},
                      {"traffic", json_of(p.traffic)},
                      {"metrics", {{"bytes", p.metrics.bytes}, {"hash", p.metrics.hash}}},
                      {"settings", p.settings}};
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

std::string text_of(const RankPlace& p) {
  return json{
      {"window", json_of(p.window)}, {"epoch", json_of(p.epoch)}, {"skipped", p.skipped}, {"last_skipped", p.last_skipped}}
      .dump();
}

RunPlace run_place_of(const std::string& text) {
  return parsed(text, [](const json& value) {
    RunPlace p;
    p.epoch = value.at("epoch").get<int64_t>();
    p.samples = value.at("samples").get<int64_t>();
    p.taken = value.at("taken").get<int64_t>();
    p.evaluated = value.at("evaluated").get<int64_t>();
    p.last.frozen_at = value.value("frozen_at", int64_t{0});  // these, and losses by bands, are not in the first checkpoints
    p.last.unseen = value.value("unseen", int64_t{0});
    p.last.clamped_share = value.value("clamped_share", 0.0);
    p.stage = value.at("stage").get<std::string>();
    p.seconds = real(value.at("seconds"));
    p.window_began = real(value.at("window").at("began"));
    p.window_tried = value.at("window").at("tried").get<int64_t>();
    p.shown_loss = real(value.at("shown_loss"));
    p.speed = real(value.at("speed"));
    p.test = test_of(value.at("test"));
    p.train_loss = optional_real(value.at("train_loss"));
    const json& timings = value.at("timings");
    p.timings = {stage_of(timings.at(0)), stage_of(timings.at(1)), stage_of(timings.at(2))};
    p.traffic = traffic_of(value.at("traffic"));
    p.metrics = {value.at("metrics").at("bytes").get<uint64_t>(), value.at("metrics").at("hash").get<uint64_t>()};
    p.settings = value.at("settings").get<std::string>();
    if (p.epoch < 0 || p.samples < 0 || p.taken < 0) throw std::out_of_range("a number below 0");
    return p;
  });
}

RankPlace rank_place_of(const std::string& text) {
  return parsed(text, [](const json& value) {
    return RankPlace{losses_of(value.at("window")), losses_of(value.at("epoch")), value.at("skipped").get<int64_t>(),
                     value.at("last_skipped").get<bool>()};
  });
}

RankPlace shared_out(const std::vector<RankPlace>& old, int rank, int ranks) {
  const auto add = [](Losses& to, const Losses& from) {
    to.sum += from.sum;
    to.steps += from.steps;
  };
  RankPlace own;
  for (size_t was = 0; was < old.size(); ++was) {
    own.skipped = std::max(own.skipped, old[was].skipped);  // of which the largest counts
    own.last_skipped |= old[was].last_skipped;
    if (static_cast<int>(was % static_cast<size_t>(ranks)) != rank) continue;
    add(own.window, old[was].window);
    add(own.epoch, old[was].epoch);
  }
  return own;
}

void RunTraffic::go_on(const Traffic& earlier, const Traffic& now) {
  before_.dense_bytes = earlier.dense_bytes - now.dense_bytes;
  before_.compressed_bytes = earlier.compressed_bytes - now.compressed_bytes;
  before_.agreement_bytes = earlier.agreement_bytes - now.agreement_bytes;
  before_.other_bytes = earlier.other_bytes - now.other_bytes;
  before_.local_bytes = earlier.local_bytes - now.local_bytes;
  before_.dense_steps = earlier.dense_steps - now.dense_steps;
  before_.compressed_steps = earlier.compressed_steps - now.compressed_steps;
  before_.local_steps = earlier.local_steps - now.local_steps;
  before_.skipped_steps = earlier.skipped_steps - now.skipped_steps;
}

Traffic RunTraffic::of(const Traffic& now) const {
  Traffic sum = now;
  sum.dense_bytes += before_.dense_bytes;
  sum.compressed_bytes += before_.compressed_bytes;
  sum.agreement_bytes += before_.agreement_bytes;
  sum.other_bytes += before_.other_bytes;
  sum.local_bytes += before_.local_bytes;
  sum.dense_steps += before_.dense_steps;
  sum.compressed_steps += before_.compressed_steps;
  sum.local_steps += before_.local_steps;
  sum.skipped_steps += before_.skipped_steps;
  return sum;
}

}  // namespace onebit::host
