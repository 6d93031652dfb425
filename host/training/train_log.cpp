// SPDX-License-Identifier: Apache-2.0
// The training log.
#include "training/train_log.hpp"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "training/model_file.hpp"

namespace onebit::host {
namespace {

using nlohmann::ordered_json;

ordered_json finite_or_null(std::optional<double> value) {
  return value && std::isfinite(*value) ? ordered_json(*value) : ordered_json(nullptr);
}

std::string test_text(double loss, std::optional<double> accuracy, const char* between) {
  const std::string text = fmt::format("test loss {:.4f}", loss);
  return accuracy ? text + fmt::format("{}test accuracy {:.2f} %", between, 100 * *accuracy) : text;
}

}  // namespace

void TrainLog::begin(const std::string& text, const Summary& start, bool may_go_on) {
  known_ = start;
  folder_.claim(may_go_on);
  progress_.note(text);
}

void TrainLog::go_on(const RunPlace& place) {
  if (!folder_.cut_metrics(place.metrics))
    progress_.note("metrics.jsonl begins anew, for what this run has written into it is not there");
  note_so_far(place.traffic, place.seconds);
  known_.timings = place.timings;
}

void TrainLog::note_so_far(const Traffic& traffic, double seconds) {
  known_.traffic = traffic;
  known_.steps = traffic.dense_steps + traffic.compressed_steps + traffic.local_steps;
  known_.train_seconds = seconds;
}

void TrainLog::step(const ProgressState& state, const Traffic& traffic, double seconds) {
  note_so_far(traffic, seconds);
  progress_.draw(state);
}

void TrainLog::entry(const LogEntry& entry) {
  const ProgressState& p = entry.progress;
  progress_.line(p);
  ordered_json line = {{"step", p.step},
                       {"epoch", p.epoch},
                       {"loss", finite_or_null(p.loss)},
                       {"stage", p.stage},
                       {"samples_per_second", p.samples_per_second},
                       {"bytes_sent", entry.bytes_sent},
                       {"seconds", entry.seconds},
                       {"timings", to_json(entry.timings.by_stage())}};
  if (entry.last.frozen_at > 0) {
    line["freeze_step"] = entry.last.frozen_at;
    line["unseen_elements"] = entry.last.unseen;
    line["clamped_share"] = entry.last.clamped_share;
  }
  folder_.add_metrics(line.dump());
  known_.timings = entry.timings.by_stage();
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
  if (!e.test.by_target.empty()) {
    line["test_loss_by_target"] = e.test.by_target;
    line["test_loss_by_input"] = e.test.by_input;
  }
  if (e.epoch_done) line["epoch_loss"] = finite_or_null(e.epoch_loss);
  folder_.add_metrics(line.dump());
}

// A run that never left its dense stage gained nothing from its compressor; whoever started it should know.
void TrainLog::tell_if_all_dense(const Summary& summary) {
  const Traffic& t = summary.traffic;
  if (summary.compressor.empty() || summary.ending != Ending::completed) return;
  if (summary.ranks > 1 && t.compressed_parameters == 0) {
    progress_.note(std::string("nothing was compressed: ") + kWhyNothingCompressed);
    return;
  }
  if (t.compressed_steps + t.local_steps > 0) return;
  progress_.note(fmt::format(
      "nothing was compressed: optimizer {} stayed in its dense stage for all {} steps. Its freeze step is beyond the "
      "end of the run, or \"auto\" never found the variance stable: set the step (10 to 20 % of the steps is usual), "
      "or train longer",
      summary.optimizer, summary.steps));
}

void TrainLog::write_ending(const Summary& summary) {
  ordered_json line = {{"step", summary.steps + summary.traffic.skipped_steps}, {"status", text_of(summary.ending)}};
  if (!summary.reason.empty()) line["reason"] = summary.reason;
  folder_.add_metrics(line.dump(-1, ' ', false, ordered_json::error_handler_t::replace));
}

void TrainLog::write_model(Model& model) const { host::write_model(folder_.model(), model); }

void TrainLog::finish(const Summary& summary) {
  known_ = summary;
  folder_.write_summary(to_json(summary));
  write_ending(summary);
  std::string result = text_of(summary.ending);
  if (!summary.reason.empty()) result += " (" + summary.reason + ")";
  if (summary.final_test_loss) result += ": " + test_text(*summary.final_test_loss, summary.final_test_accuracy, ", ");
  progress_.note(fmt::format("{}: {}, {} steps in {:.1f} s, {:.1f} MB sent a rank", folder_.summary().string(), result,
                             summary.steps, summary.train_seconds, static_cast<double>(summary.traffic.total()) / 1e6));
  tell_if_all_dense(summary);
}

void TrainLog::fail(const std::string& reason) noexcept {
  if (!begun()) return;
  try {
    known_.ending = Ending::failed;
    known_.reason = reason;
    known_.final_test_loss = known_.final_test_accuracy = known_.final_train_loss = std::nullopt;
    known_.final_loss_by_target = known_.final_loss_by_input = {};
    known_.parameter_hash = 0;
    folder_.write_summary(to_json(known_));
  } catch (...) {  // that this can't be written either is no news beside the reason, but none may look good
    std::error_code ignored;
    std::filesystem::remove(folder_.summary(), ignored);
    return;
  }
  try {
    write_ending(known_);
    progress_.note(folder_.summary().string() + ": " + text_of(Ending::failed));
  } catch (...) {
    return;
  }
}

}  // namespace onebit::host
