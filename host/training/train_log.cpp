// SPDX-License-Identifier: Apache-2.0
// The training log.
#include "training/train_log.hpp"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "onebit/error.hpp"

namespace onebit::host {
namespace {

using nlohmann::ordered_json;

constexpr const char* kMetrics = "metrics.jsonl";

ordered_json finite_or_null(std::optional<double> value) {
  return value && std::isfinite(*value) ? ordered_json(*value) : ordered_json(nullptr);
}

std::string test_text(double loss, std::optional<double> accuracy, const char* between) {
  const std::string text = fmt::format("test loss {:.4f}", loss);
  return accuracy ? text + fmt::format("{}test accuracy {:.2f} %", between, 100 * *accuracy) : text;
}

}  // namespace

void TrainLog::begin(const std::string& text) {
  std::error_code error;
  std::filesystem::create_directories(folder_, error);
  if (error) throw Error(Code::unavailable, folder_.string() + ": cannot be made: " + error.message(), error.value());
  metrics_.open(folder_ / kMetrics, std::ios::trunc);
  if (!metrics_) throw Error(Code::unavailable, (folder_ / kMetrics).string() + ": cannot be written");
  progress_.note(text);
}

void TrainLog::entry(const LogEntry& entry) {
  const ProgressState& p = entry.progress;
  progress_.line(p);
  const ordered_json line = {{"step", p.step},
                             {"epoch", p.epoch},
                             {"loss", finite_or_null(p.loss)},
                             {"stage", p.stage},
                             {"samples_per_second", p.samples_per_second},
                             {"bytes_sent", entry.bytes_sent},
                             {"seconds", entry.seconds},
                             {"timings", to_json(entry.timings.by_stage())}};
  write(line.dump());
}

void TrainLog::evaluation(const LogEvaluation& e) {
  const std::string where =
      e.epoch_done ? fmt::format("epoch {}/{} done  train loss {:.4f}", e.epoch, e.epochs, e.epoch_loss.value_or(NAN))
                   : fmt::format("epoch {}/{}  step {}/{}", e.epoch, e.epochs, e.step, e.steps);
  progress_.note(where + "  " + test_text(e.test.loss, e.test.accuracy, "  "));
  ordered_json line = {{"step", e.step},
                       {"epoch", e.epoch},
                       {"test_loss", finite_or_null(e.test.loss)},
                       {"test_accuracy", finite_or_null(e.test.accuracy)},
                       {"bytes_sent", e.bytes_sent},
                       {"seconds", e.seconds}};
  if (e.epoch_done) line["epoch_loss"] = finite_or_null(e.epoch_loss);
  write(line.dump());
}

void TrainLog::write(const std::string& json_line) {
  metrics_ << json_line << std::endl;
  if (!metrics_) throw Error(Code::unavailable, (folder_ / kMetrics).string() + ": cannot be written");
}

// A run that never left its dense stage gained nothing from its compressor; whoever started it should know.
void TrainLog::tell_if_all_dense(const Summary& summary) {
  const Traffic& t = summary.traffic;
  if (summary.compressor.empty() || summary.interrupted || t.compressed_steps + t.local_steps > 0) return;
  progress_.note(fmt::format(
      "nothing was compressed: optimizer {} stayed in its dense stage for all {} steps. Its freeze step is beyond the "
      "end of the run, or \"auto\" never found the variance stable: set the step (10 to 20 % of the steps is usual), "
      "or train longer",
      summary.optimizer, summary.steps));
}

void TrainLog::finish(const Summary& summary) {
  const std::filesystem::path file = folder_ / "summary.json";
  write_whole(file, to_json(summary));
  const std::string result =
      summary.final_test_loss ? test_text(*summary.final_test_loss, summary.final_test_accuracy, ", ") : "interrupted";
  progress_.note(fmt::format("{}: {}, {} steps in {:.1f} s, {:.1f} MB sent a rank", file.string(), result, summary.steps,
                             summary.train_seconds, static_cast<double>(summary.traffic.total()) / 1e6));
  tell_if_all_dense(summary);
}

}  // namespace onebit::host
