// SPDX-License-Identifier: Apache-2.0
// The folder of a run's results, metrics.jsonl, summary.json and model.safetensors: whose it is while the run goes on, and how
// they are written.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace onebit::host {

// How much of metrics.jsonl there was, and a hash of that (FNV-1a), by which it is known again.
struct MetricsMark {
  uint64_t bytes = 0, hash = 0xcbf29ce484222325u;

  void add(std::string_view text) {
    bytes += text.size();
    for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  }
};

class RunFolder {
 public:
  // Nothing is made or written before claim().
  explicit RunFolder(std::filesystem::path folder) : folder_(std::move(folder)) {}
  ~RunFolder();
  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;

  // Renames the summary and the model of an earlier run, where they are there, to summary.previous.json and
  // model.previous.safetensors, so that nobody takes them for this run's. Throws Error(unavailable) where another run is
  // writing to the folder.
  void put_aside() const;
  // The same; and the folder is there, is this run's as long as this lives, and metrics.jsonl is empty, or as it was with
  // keep_metrics, until cut_metrics(). Throws likewise, and with the reason where the folder can't be made or written to.
  void claim(bool keep_metrics = false);
  bool claimed() const { return metrics_ >= 0; }

  // All throw Error(unavailable) with the file and the reason.
  void add_metrics(const std::string& json_line);
  void write_summary(const std::string& json) const;
  // Where metrics.jsonl is now: what it says so far lasts when this returns.
  MetricsMark mark_metrics() const;
  // Takes away what metrics.jsonl has behind the mark. Where it does not begin with what it had there it is of another run, or
  // lost: nothing of it stays, and the answer is false.
  bool cut_metrics(const MetricsMark& mark);

  std::filesystem::path summary() const { return folder_ / "summary.json"; }
  std::filesystem::path model() const { return folder_ / "model.safetensors"; }

 private:
  std::filesystem::path metrics() const { return folder_ / "metrics.jsonl"; }
  void lock(int descriptor) const;
  void truncate(uint64_t bytes);

  const std::filesystem::path folder_;
  int metrics_ = -1;  // metrics.jsonl, open and locked
  MetricsMark mark_;
};

// Writes text so that the file is there whole or not at all. Throws Error(unavailable) with the reason.
void write_whole(const std::filesystem::path& file, const std::string& text);

}  // namespace onebit::host
