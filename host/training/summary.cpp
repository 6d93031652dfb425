// SPDX-License-Identifier: Apache-2.0
// Summaries as JSON.
#include "training/summary.hpp"

#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

namespace onebit::host {
namespace {

using nlohmann::ordered_json;

ordered_json or_null(const std::optional<double>& value) {
  return value && std::isfinite(*value) ? ordered_json(*value) : ordered_json(nullptr);
}

ordered_json or_null(const std::string& text) { return text.empty() ? ordered_json(nullptr) : ordered_json(text); }

std::string hexadecimal(uint64_t value) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(value));
  return text;
}

ordered_json one_stage(const StageTimings& stage) {
  const Timings& t = stage.session;
  return {{"steps", stage.steps}, {"compute", stage.compute}, {"scan", t.scan}, {"send", t.send},
          {"serve", t.serve},     {"receive", t.receive},     {"wait", t.wait}, {"step", stage.step}};
}

}  // namespace

std::optional<double> wire_bits(uint64_t bytes, int64_t steps, int64_t parameters, int ranks, int sharers) {
  const int ends = ranks / sharers;
  if (steps == 0 || parameters == 0 || ends < 2) return std::nullopt;
  const double directions = 2.0 * (ends - 1) / ends;
  return 8.0 * sharers * static_cast<double>(bytes) /
         (static_cast<double>(steps) * static_cast<double>(parameters) * directions);
}

ordered_json to_json(const TimingsByStage& timings) {
  return {{kDense, one_stage(timings.dense)}, {kCompressed, one_stage(timings.compressed)}, {kLocal, one_stage(timings.local)}};
}

const char* text_of(Ending ending) {
  return ending == Ending::completed ? "completed" : ending == Ending::interrupted ? "interrupted" : "failed";
}

std::string to_json(const Summary& s) {
  const Traffic& t = s.traffic;
  ordered_json out;
  out["config"] = s.config;
  out["status"] = text_of(s.ending);
  out["reason"] = or_null(s.reason);
  out["optimizer"] = s.optimizer;
  out["compressor"] = or_null(s.compressor);
  out["communicator"] = s.communicator;
  out["final_test_loss"] = or_null(s.final_test_loss);
  out["final_test_accuracy"] = or_null(s.final_test_accuracy);
  if (!s.final_loss_by_target.empty()) {
    out["final_test_loss_by_target"] = s.final_loss_by_target;
    out["final_test_loss_by_input"] = s.final_loss_by_input;
  }
  out["final_train_loss"] = or_null(s.final_train_loss);
  out["train_seconds"] = s.train_seconds;
  out["steps"] = s.steps;
  out["skipped_steps"] = t.skipped_steps;
  const bool frozen = s.last.frozen_at > 0;
  out["freeze_step"] = frozen ? ordered_json(s.last.frozen_at) : ordered_json(nullptr);
  out["unseen_elements"] = frozen ? ordered_json(s.last.unseen) : ordered_json(nullptr);
  out["clamped_share"] = frozen ? ordered_json(s.last.clamped_share) : ordered_json(nullptr);
  out["ranks"] = s.ranks;
  out["machines"] = s.machines;
  out["parameters"] = s.parameters;
  out["compressed_parameters"] = t.compressed_parameters;
  out["bytes_sent_per_rank"] = t.total();
  out["wire_bits_per_parameter"]["dense"] = or_null(wire_bits(t.dense_bytes, t.dense_steps, s.parameters, s.ranks, t.sharers));
  out["wire_bits_per_parameter"]["compressed"] =
      or_null(wire_bits(t.compressed_bytes, t.compressed_steps, s.parameters, s.ranks, t.sharers));
  out["bytes_sent"] = {{"dense", t.dense_bytes},
                       {"compressed", t.compressed_bytes},
                       {"agreement", t.agreement_bytes},
                       {"other", t.other_bytes},
                       {"local", t.local_bytes}};
  out["stage_steps"] = {{"dense", t.dense_steps}, {"compressed", t.compressed_steps}, {"local", t.local_steps}};
  out["timings"] = to_json(s.timings);
  out["parameter_hash"] = s.parameter_hash == 0 ? ordered_json(nullptr) : ordered_json(hexadecimal(s.parameter_hash));
  out["interrupted"] = s.ending == Ending::interrupted;
  out["versions"] = s.versions;
  return out.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace onebit::host
