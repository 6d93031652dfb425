// The training log.
#include "train_log.hpp"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "onebit/error.hpp"

namespace onebit::host {
namespace {

using json = nlohmann::ordered_json;

json finite_or_null(std::optional<double> value) { return value && std::isfinite(*value) ? json(*value) : json(nullptr); }

}  // namespace

TrainLog::TrainLog(Progress& progress, const std::filesystem::path& metrics) : progress_(progress), file_(metrics) {
  if (file_.empty()) return;
  metrics_.open(file_, std::ios::trunc);
  if (!metrics_) throw Error(Code::unavailable, file_.string() + ": cannot be written");
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
                     {"seconds", entry.seconds}};
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
  if (file_.empty()) return;
  metrics_ << json_line << std::endl;
  if (!metrics_) throw Error(Code::unavailable, file_.string() + ": cannot be written");
}

}  // namespace onebit::host
