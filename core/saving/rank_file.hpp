// SPDX-License-Identifier: Apache-2.0
// One rank's file of a checkpoint, read by whoever needs a part of it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "onebit/checkpoint.hpp"
#include "onebit/safetensors.hpp"
#include "saving/description.hpp"

namespace onebit {

class RankFile {
 public:
  RankFile(const std::filesystem::path& folder, int rank, int ranks);

  const SafetensorsReader& reader() const { return reader_; }
  const SavedRank& told() const { return told_; }
  bool has_errors() const { return has_errors_; }
  bool has_errors_of(const std::string& tensor) const;
  // Of the fp32 or bf16 tensor of this name, as fp32, or of its pieces "NAME@FIRST", what the file has of elements [first,
  // first + count): to their place in out. Answers how many those are.
  int64_t read(const std::string& name, int64_t first, int64_t count, float* out) const;
  bool covers(const std::string& name, int64_t first, int64_t count) const;
  // Those whose names begin so, with suffix behind the rest of their names.
  std::vector<CheckpointBlob> blobs(const std::string& prefix, const std::string& suffix = "") const;

 private:
  template <class F>
  void over_pieces(const std::string& name, int64_t first, int64_t count, F&& f) const;

  void read_piece(const SafetensorsReader::Entry& entry, int64_t first, int64_t count, float* out) const;

  SafetensorsReader reader_;
  std::map<std::string, std::map<int64_t, const SafetensorsReader::Entry*>, std::less<>> pieces_;  // by name and first element
  SavedRank told_;
  bool has_errors_ = false;
};

std::string text_of(const SafetensorsReader& reader, const SafetensorsReader::Entry& entry);

}  // namespace onebit
