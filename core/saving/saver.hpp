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

  // Whether this rank has written its part of one that is under way; once all have, all may commit it. That is collective,
  // waits for no rank's disk but that of rank 0, and tells at the next call.
  bool written() const;
  void commit(Communicator& communicator);

  uint64_t snapshot_bytes() const { return snapshot_.size(); }

 private:
  struct UnderWay;
  Agreed<SaveReport> write(const SessionParts& parts, const SaveOptions& options, Draft& draft);
  Agreed<SaveReport> conclude(Communicator& communicator);
  // Ends the one before, or answers what this call comes to because of it.
  std::optional<Agreed<SaveReport>> make_way(const SessionParts& parts, const SaveOptions& options);
  void reserve(uint64_t bytes);
  void take_snapshot(const Draft& draft);

  MemoryMeter meter_;  // of the CPU's memory
  Buffer snapshot_;    // a copy of what this rank writes; kept for the next
  std::unique_ptr<UnderWay> under_way_;
  std::optional<Agreed<SaveReport>> untold_;  // of what was committed in between
};

}  // namespace onebit
