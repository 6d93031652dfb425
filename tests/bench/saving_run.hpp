// SPDX-License-Identifier: Apache-2.0
// A run of 1-bit Adam after its freeze, whose ranks are threads of this process: what saves and loads in the rows of
// checkpoints.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <vector>

#include "device/buffer.hpp"
#include "onebit/configuration.hpp"
#include "onebit/rendezvous.hpp"
#include "onebit/session.hpp"

namespace onebit::bench {

class SavingRun {
 public:
  static constexpr int ranks = 2;
  // Bytes of a parameter that no checkpoint of this run can do without: the parameter, the variance, a worker error on each
  // rank, one server error, and of the mean that is kept a bit and the share of a scale.
  static constexpr double held = 4 + 4 + 4 * ranks + 4 + 1.0 / 8 + 4.0 / 4096;

  // 24.6 million parameters; small: some ten thousand, so that everything is over in a moment.
  explicit SavingRun(bool small);

  int64_t elements() const { return elements_; }
  uint64_t snapshot_bytes(int rank) const { return sessions_[static_cast<size_t>(rank)]->footprint().snapshot; }

  // All of these are done by all ranks at once, and throw what went wrong on one of them. Seconds are from the common start
  // until the last rank is back.
  void step();
  double save(const std::filesystem::path& root);
  double save_without_waiting(const std::filesystem::path& root);
  void finish_save();
  // Sessions that have not stepped take the place of those that have.
  void restart();
  double load(const std::filesystem::path& root);

 private:
  double on_ranks(const std::function<void(int rank)>& work);
  Session& session(int rank) { return *sessions_[static_cast<size_t>(rank)]; }
  std::vector<Parameter> parameters(int rank) const;

  const std::vector<Parameter> layers_;  // without data
  const int64_t elements_;
  const Manifest manifest_;
  MemoryMeter meter_;
  Buffer gradients_;  // the same on all ranks
  std::vector<Buffer> parameters_;
  std::vector<const float*> gradient_pointers_;
  std::unique_ptr<LocalRendezvous> rendezvous_;
  std::vector<std::unique_ptr<Session>> sessions_;
};

}  // namespace onebit::bench
