// SPDX-License-Identifier: Apache-2.0
// The folder of a run's results, metrics.jsonl and summary.json: whose it is while the run goes on, and how they are written.
#pragma once

#include <filesystem>
#include <string>

namespace onebit::host {

class RunFolder {
 public:
  // Nothing is made or written before claim().
  explicit RunFolder(std::filesystem::path folder) : folder_(std::move(folder)) {}
  ~RunFolder();
  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;

  // Renames the summary of an earlier run, where there is one, to summary.previous.json, so that nobody takes it for this
  // run's. Throws Error(unavailable) where another run is writing to the folder.
  void put_aside() const;
  // The same; and the folder is there, is this run's as long as this lives, and metrics.jsonl is empty. Throws likewise, and
  // with the reason where the folder can't be made or written to.
  void claim();
  bool claimed() const { return metrics_ >= 0; }

  // Both throw Error(unavailable) with the file and the reason.
  void add_metrics(const std::string& json_line);
  void write_summary(const std::string& json) const;
  std::filesystem::path summary() const { return folder_ / "summary.json"; }

 private:
  std::filesystem::path metrics() const { return folder_ / "metrics.jsonl"; }
  void lock(int descriptor) const;

  const std::filesystem::path folder_;
  int metrics_ = -1;  // metrics.jsonl, open and locked
};

// Writes text so that the file is there whole or not at all. Throws Error(unavailable) with the reason.
void write_whole(const std::filesystem::path& file, const std::string& text);

}  // namespace onebit::host
