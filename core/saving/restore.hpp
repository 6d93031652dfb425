// SPDX-License-Identifier: Apache-2.0
// From a checkpoint to a session: what was found, fits and is open is copied to where the session has it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "onebit/checkpoint.hpp"
#include "onebit/safetensors.hpp"
#include "saving/agreed.hpp"
#include "saving/contents.hpp"
#include "saving/description.hpp"
#include "saving/finding.hpp"
#include "saving/old_ranks.hpp"
#include "saving/parts.hpp"
#include "saving/retained_form.hpp"
#include "saving/stored.hpp"

namespace onebit {

// All of a tensor, from the entry of its name. Throws Error(invalid_argument) where that is of another dtype or size.
void copy_stored(const SafetensorsReader& reader, const Stored& stored);

// In bytes, the buffers that a load may make and fill, in a session that is at its first step; none in others, which would for
// a while have them twice.
std::vector<size_t> buffers_to_fill(const SessionParts& parts, const LoadOptions& options);

class Restore {
 public:
  // Collective, in each of its parts: finds one, judges whether it fits, opens it. Nothing is changed.
  static Agreed<std::unique_ptr<Restore>> open(const SessionParts& parts, const RunFacts& facts,
                                               const std::filesystem::path& place, const LoadOptions& options);

  // Opens and judges, on this rank. Throws Error(invalid_argument).
  Restore(const SessionParts& parts, const RunFacts& facts, const FoundCheckpoint& found, const LoadOptions& options);
  Restore(const Restore&) = delete;
  Restore& operator=(const Restore&) = delete;

  // What this rank says to all: which errors it finds in its own file. agree() takes what all said, and opens the files of all
  // old ranks where that is wanted.
  std::string said();
  void agree(const std::vector<std::string>& said);

  // Collective. An error leaves the session half overwritten.
  void run();

  bool with_state() const { return with_state_; }
  bool apart() const { return parts_.apart; }
  const Progress& progress() const { return progress_; }
  LoadReport& report() { return report_; }

 private:
  void begin_anew();
  void read_model();
  void read_slots();
  void read_local(const Stored& stored, int reshard);
  void read_local_mean(const Stored& stored);
  void read_own_parameters();
  bool own_errors(const std::vector<ErrorPiece>& pieces, const char* stem);
  // Whether errors of this tensor are kept here: it is compressed, with feedback.
  bool keeps_errors(size_t tensor) const { return feeds_back_ && !parts_.layout.is_raw(static_cast<int64_t>(tensor)); }
  void read_errors();
  void write_errors(const Buffer& errors, int64_t position, const float* values, int64_t count) const;
  void read_own_errors(const std::vector<ErrorPiece>& pieces, const char* stem, const Buffer& errors);
  void read_worker_errors();
  void take_carried(size_t tensor);
  void take_worker_errors(size_t tensor, int64_t first, int64_t count, const float* values);
  void read_server_errors();
  void carry_errors();
  std::vector<float> left_out(size_t tensor);
  std::vector<float> carried(size_t tensor) const;
  void mean_of_worker_errors(size_t tensor, const OldRanks::Take& take);
  void read_progress();
  void take_blobs();

  SessionParts parts_;  // as they will be
  const std::filesystem::path folder_;
  const SavedSession saved_;
  const bool with_state_;
  SafetensorsReader model_, state_;
  OldRanks old_;
  RetainedForm retained_;
  const std::vector<ErrorPiece> worker_, served_;  // at most so many elements each as are copied at once
  const bool feeds_back_, was_carried_;
  bool own_worker_errors_ = false, own_server_errors_ = false, any_errors_ = false;
  Progress progress_;
  LoadReport report_;
};

}  // namespace onebit
