// SPDX-License-Identifier: Apache-2.0
// Comparing runs.
#include "compare/comparison.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>

#include "onebit/error.hpp"
#include "training/stage_timings.hpp"
#include "training/summary.hpp"

namespace onebit::host {
namespace {

using json = nlohmann::json;

constexpr const char* kNone = "-";
constexpr double kDenseBits = 32;

struct Reading {
  const std::filesystem::path& file;

  [[noreturn]] void fail(const std::string& what) const {
    throw Error(Code::invalid_argument, file.string() + ": " + what + "; expected the summary.json of an `onebit train`");
  }
  const json& member(const json& object, const char* key) const {
    const auto found = object.is_object() ? object.find(key) : object.end();
    if (found == object.end()) fail(std::string("has no '") + key + "'");
    return *found;
  }
  std::optional<double> optional_number(const json& object, const char* key) const {
    const json& value = member(object, key);
    if (value.is_null()) return std::nullopt;
    if (!value.is_number()) fail(std::string("'") + key + "' is not a number");
    return value.get<double>();
  }
  double number(const json& object, const char* key) const {
    const std::optional<double> value = optional_number(object, key);
    if (!value) fail(std::string("'") + key + "' is null");
    return *value;
  }
};

std::string bytes_text(double bytes) {
  if (bytes >= 1e9) return fmt::format("{:.2f} GB", bytes / 1e9);
  if (bytes >= 1e6) return fmt::format("{:.1f} MB", bytes / 1e6);
  return fmt::format("{:.1f} kB", bytes / 1e3);
}

std::string time_text(double seconds) {
  if (seconds >= 600) return fmt::format("{:.1f} min", seconds / 60);
  if (seconds >= 1) return fmt::format("{:.1f} s", seconds);
  return fmt::format("{:.1f} ms", seconds * 1e3);
}

std::string ratio_text(double ratio) { return fmt::format("{:.1f}x", ratio); }

std::string step_text(const std::optional<StepFigures>& step) {
  return step ? fmt::format("{:.1f} + {:.1f} + {:.1f}", 1e3 * step->compute, 1e3 * step->codec, 1e3 * step->wait) : kNone;
}

std::string bits_text(const std::optional<double>& bits) { return bits ? fmt::format("{:.3f}", *bits) : kNone; }

class Rows {
 public:
  Rows(const std::vector<RunFigures>& runs, Table& table) : runs_(runs), table_(table) {}
  using Cell = std::function<std::string(const RunFigures&)>;
  void add(const std::string& name, const Cell& cell) {
    table_.push_back({name});
    for (const RunFigures& run : runs_) table_.back().push_back(cell(run));
  }
  // Nothing where no run has it.
  void add_if(const std::function<bool(const RunFigures&)>& has, const std::string& name, const Cell& cell) {
    if (std::any_of(runs_.begin(), runs_.end(), has)) add(name, cell);
  }

 private:
  const std::vector<RunFigures>& runs_;
  Table& table_;
};

std::string loss_text(const std::optional<double>& loss) { return loss ? fmt::format("{:.4f}", *loss) : kNone; }

void add_quality(Rows& rows) {
  rows.add_if([](const auto& r) { return r.accuracy.has_value(); }, "test accuracy",
              [](const auto& r) { return r.accuracy ? fmt::format("{:.2f} %", 100 * *r.accuracy) : kNone; });
  rows.add_if([](const auto& r) { return r.test_loss.has_value(); }, "test loss",
              [](const auto& r) { return loss_text(r.test_loss); });
  rows.add("train loss", [](const auto& r) { return loss_text(r.train_loss); });
}

void add_rates(Rows& rows) {
  const std::pair<const char*, double> rates[] = {{"100 Mbit/s", 1e8}, {"1 Gbit/s", 1e9}, {"10 Gbit/s", 1e10}};
  for (const auto& [name, rate] : rates)
    rows.add(std::string("those bytes at ") + name + " *",
             [rate = rate](const RunFigures& r) { return time_text(r.bytes_sent * 8 / rate); });
}

// A run that failed is refused. Summaries of old have no status: there it is known by the steps that it skipped.
std::string status_of(const Reading& reading, const json& summary) {
  const auto text = [&](const char* key) {
    return summary.contains(key) && summary[key].is_string() ? summary[key].get<std::string>() : std::string();
  };
  std::string status = text("status"), reason = text("reason");
  if (status.empty()) {
    const double skipped = summary.contains("skipped_steps") ? reading.number(summary, "skipped_steps") : 0;
    const bool failed = skipped > reading.number(summary, "steps");
    if (failed) reason = "more than half of its steps were skipped";
    const bool interrupted = summary.contains("interrupted") && summary["interrupted"] == true;
    status = text_of(failed ? Ending::failed : interrupted ? Ending::interrupted : Ending::completed);
  }
  if (status == text_of(Ending::failed))
    throw Error(Code::invalid_argument, reading.file.string() + ": this run failed, so there is nothing to compare" +
                                            (reason.empty() ? "" : ": " + reason));
  return status;
}

// None for a stage without steps, and in summaries of old that tell no times, or know no such stage.
std::optional<StepFigures> step_of(const Reading& reading, const json& summary, const char* stage_name) {
  if (!summary.contains("timings")) return std::nullopt;
  if (stage_name == kLocal && !summary["timings"].contains(kLocal)) return std::nullopt;
  const json& stage = reading.member(summary["timings"], stage_name);
  const double steps = reading.number(stage, "steps");
  if (steps <= 0) return std::nullopt;
  StepFigures figures = {reading.number(stage, "compute") / steps, 0, reading.number(stage, "wait") / steps};
  for (const char* part : {"scan", "send", "serve", "receive"}) figures.codec += reading.number(stage, part) / steps;
  return figures;
}

}  // namespace

RunFigures read_summary(const std::filesystem::path& file) {
  const Reading reading{file};
  std::ifstream in(file);
  if (!in) throw Error(Code::unavailable, file.string() + ": cannot be opened: " + std::strerror(errno), errno);
  const json summary = json::parse(in, nullptr, false);
  if (!summary.is_object()) reading.fail("is not a JSON object");
  const json& config = reading.member(summary, "config");
  if (!config.is_string()) reading.fail("'config' is not text");
  const json& bits = reading.member(summary, "wire_bits_per_parameter");
  const std::string status = status_of(reading, summary);
  return {config.get<std::string>(),
          status,
          reading.optional_number(summary, "final_test_accuracy"),
          summary.contains("final_test_loss") ? reading.optional_number(summary, "final_test_loss") : std::nullopt,
          reading.optional_number(summary, "final_train_loss"),
          reading.number(summary, "train_seconds"),
          static_cast<int64_t>(reading.number(summary, "steps")),
          static_cast<int64_t>(reading.number(summary, "ranks")),
          reading.number(summary, "bytes_sent_per_rank"),
          reading.optional_number(bits, "dense"),
          reading.optional_number(bits, "compressed"),
          step_of(reading, summary, kDense),
          step_of(reading, summary, kCompressed),
          step_of(reading, summary, kLocal)};
}

Table comparison_of(const std::vector<RunFigures>& runs) {
  const RunFigures& first = runs.at(0);
  Table table = {{""}};
  for (const RunFigures& run : runs) table[0].push_back(run.name);
  Rows rows(runs, table);
  rows.add_if([](const auto& r) { return r.status != text_of(Ending::completed); }, "status",
              [](const auto& r) { return r.status; });
  add_quality(rows);
  rows.add("steps, ranks", [](const auto& r) { return fmt::format("{}, {}", r.steps, r.ranks); });
  rows.add("seconds in training here", [](const auto& r) { return fmt::format("{:.1f}", r.seconds); });
  rows.add("bytes sent a rank", [](const auto& r) { return bytes_text(r.bytes_sent); });
  rows.add("  fewer than " + first.name, [&](const auto& r) {
    const bool whole = r.status == text_of(Ending::completed) && first.status == text_of(Ending::completed);
    return &r == &first || r.bytes_sent <= 0 || !whole ? kNone : ratio_text(first.bytes_sent / r.bytes_sent);
  });
  rows.add("bits a parameter and direction", [](const auto&) { return std::string(); });
  rows.add("  in the dense stage", [](const auto& r) { return bits_text(r.dense_bits); });
  rows.add("  in the compressed stage", [](const auto& r) { return bits_text(r.compressed_bits); });
  rows.add("  fewer than fp32 in that stage",
           [](const auto& r) { return r.compressed_bits ? ratio_text(kDenseBits / *r.compressed_bits) : kNone; });
  add_rates(rows);
  rows.add("ms a step: compute + codec + waiting, partly at a time", [](const auto&) { return std::string(); });
  rows.add("  in the dense stage", [](const auto& r) { return step_text(r.dense_step); });
  rows.add("  in the compressed stage", [](const auto& r) { return step_text(r.compressed_step); });
  rows.add_if([](const auto& r) { return r.local_step.has_value(); }, "  in local steps",
              [](const auto& r) { return step_text(r.local_step); });
  return table;
}

namespace {

constexpr const char* kFootnote = "* arithmetic: bytes x 8 / rate, not a measurement";

// Names to the left, figures to the right.
std::string padded(const std::string& text, size_t width, bool left) {
  return left ? fmt::format("{:<{}}", text, width) : fmt::format("{:>{}}", text, width);
}

std::vector<size_t> widths_of(const Table& table) {
  std::vector<size_t> widths(table.at(0).size(), 0);
  for (const auto& row : table)
    for (size_t column = 0; column < row.size(); ++column) widths[column] = std::max(widths[column], row[column].size());
  return widths;
}

}  // namespace

std::string aligned_text(const Table& table) {
  const std::vector<size_t> widths = widths_of(table);
  std::string text;
  for (size_t i = 0; i < table.size(); ++i) {
    for (size_t column = 0; column < widths.size(); ++column)
      text += (column == 0 ? "" : "   ") + padded(table[i][column], widths[column], column == 0);
    text += '\n';
    if (i == 0) text += std::string(text.size() - 1, '-') + "\n";
  }
  return text + kFootnote + "\n";
}

std::string markdown_text(const Table& table) {
  const std::vector<size_t> widths = widths_of(table);
  std::string text;
  for (size_t i = 0; i < table.size(); ++i) {
    for (size_t column = 0; column < widths.size(); ++column)
      text += "| " + padded(table[i][column], widths[column], column == 0) + " ";
    text += "|\n";
    if (i > 0) continue;
    for (size_t column = 0; column < widths.size(); ++column)
      text += "|" + std::string(widths[column] + 1, '-') + (column == 0 ? "-" : ":");
    text += "|\n";
  }
  return text + "\n\\" + kFootnote + "\n";
}

}  // namespace onebit::host
