// SPDX-License-Identifier: Apache-2.0
// Saver: saves a session, with all ranks, now or while it goes on. One save at a time is under way.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>

#include "device/buffer.hpp"
#include "onebit/checkpoint.hpp"
#include "saving/agreed.hpp"
#include "saving/parts.hpp"

namespace onebit {

class Draft;

class Saver {
 public:
  Saver();
  ~Saver();  // waits for the thread that writes; what was not committed is no checkpoint
  Saver(const Saver&) = delete;
  Saver& operator=(const Saver&) = delete;

  // Collective. What went wrong in the one that was under way is this one's error, and nothing was begun.
  Agreed<SaveReport> save(const SessionParts& parts, const RunFacts& facts, const std::filesystem::path& root,
                          const SaveOptions& options);
  // Collective: waits for the one under way, or tells of the last that was committed in between.
  Agreed<SaveReport> finish(Communicator& communicator);

  // Whether this rank has written its part of one that is under way; and, once the ballots of a step have told, that all have.
  bool written() const;
  void all_have_written();
  // Collective: commits what all have written, if they have; it waits for no disk but rank 0's, and tells at the next call.
  void commit(Communicator& communicator);

  uint64_t snapshot_bytes() const { return snapshot_.size(); }

 private:
  struct UnderWay;
  // Ends the one before; what went wrong in it.
  std::optional<Error> make_way(Communicator& communicator);
  Agreed<SaveReport> begin(const SessionParts& parts, const RunFacts& facts, const std::filesystem::path& root,
                           const SaveOptions& options);
  SaveReport write_in_background();
  Agreed<SaveReport> conclude(Communicator& communicator);
  void take_snapshot(const Draft& draft);

  MemoryMeter meter_;  // of the CPU's memory
  Buffer snapshot_;    // a copy of what this rank writes; kept for the next
  std::unique_ptr<UnderWay> under_way_;
  std::optional<Agreed<SaveReport>> untold_;  // of what was committed in between
};

}  // namespace onebit
