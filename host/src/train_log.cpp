// The training log.
#include "train_log.hpp"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "onebit/error.hpp"

namespace onebit::host {
namespace {

using json = nlohmann::ordered_json;

constexpr const char* kMetrics = "metrics.jsonl";

json finite_or_null(std::optional<double> value) { return value && std::isfinite(*value) ? json(*value) : json(nullptr); }

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
  const json line = {{"step", p.step},
                     {"epoch", p.epoch},
                     {"loss", finite_or_null(p.loss)},
                     {"stage", p.stage},
                     {"samples_per_second", p.samples_per_second},
                     {"bytes_sent", entry.bytes_sent},
                     {"seconds", entry.seconds},
                     {"timings", to_json(entry.timings.dense(), entry.timings.compressed())}};
  write(line.dump());
}

void TrainLog::epoch(int64_t epoch, int64_t epochs, int64_t step, std::optional<double> loss, double test_accuracy,
                     double seconds) {
  progress_.note(fmt::format("epoch {}/{} done  train loss {:.4f}  test accuracy {:.2f} %", epoch, epochs, loss.value_or(NAN),
                             100 * test_accuracy));
  const json line = {{"step", step},
                     {"epoch", epoch},
                     {"epoch_loss", finite_or_null(loss)},
                     {"test_accuracy", test_accuracy},
                     {"seconds", seconds}};
  write(line.dump());
}

void TrainLog::write(const std::string& json_line) {
  metrics_ << json_line << std::endl;
  if (!metrics_) throw Error(Code::unavailable, (folder_ / kMetrics).string() + ": cannot be written");
}

void TrainLog::finish(const Summary& summary) {
  const std::filesystem::path file = folder_ / "summary.json";
  write_whole(file, to_json(summary));
  const std::string accuracy =
      summary.final_test_accuracy ? fmt::format("test accuracy {:.2f} %", 100 * *summary.final_test_accuracy) : "interrupted";
  progress_.note(fmt::format("{}: {}, {} steps in {:.1f} s, {:.1f} MB sent a rank", file.string(), accuracy, summary.steps,
                             summary.train_seconds, static_cast<double>(summary.traffic.total()) / 1e6));
}

}  // namespace onebit::host
