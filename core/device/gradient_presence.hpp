// SPDX-License-Identifier: Apache-2.0
// Which tensors have a gradient: on this rank, a bit a tensor in its ballot, and on any, which the ballots of all ranks tell. A
// tensor that no rank has one of is absent from the step.
#pragma once

#include <cstdint>
#include <vector>

#include "device/verdict.hpp"

namespace onebit {

class GradientPresence {
 public:
  // elements: of each tensor; one without elements never lacks a gradient.
  explicit GradientPresence(const std::vector<int64_t>& elements);

  // NULL: this rank has none.
  void note(const std::vector<const float*>& gradients);
  // This step's own bits. In a step with a round also those of local steps since the last one: what they have moved is to be
  // brought together.
  const std::vector<uint64_t>& bits(bool local) const { return local ? own_ : since_round_; }
  // Of tensors that may be absent, for this rank has no gradient of them; NULL: none may.
  const uint64_t* lacking(bool local);

  // From all ballots.
  void find_absent(const Ballots& ballots);
  bool any_absent() const { return absent_count_ > 0; }
  bool all_absent() const { return absent_count_ > 0 && absent_count_ == with_elements_; }
  int64_t absent_count() const { return absent_count_; }
  const std::vector<uint64_t>& absent() const { return absent_; }

  // Once the step has committed. local: without a round; taken: its tiles were not skipped.
  void commit(bool local, bool taken);
  // Steps with a round that each tensor was absent from so far; NULL: none from any.
  const int64_t* missed() const { return any_missed_ ? missed_.data() : nullptr; }
  // What goes from step to step. Vectors are of the same sizes, or empty for none.
  std::vector<int64_t> missed_steps() const { return any_missed_ ? missed_ : std::vector<int64_t>(); }
  const std::vector<uint64_t>& ever() const { return ever_; }
  const std::vector<uint64_t>& local() const { return local_; }
  void go_on(const std::vector<int64_t>& missed, const std::vector<uint64_t>& ever, const std::vector<uint64_t>& local);
  bool ever(int64_t tensor) const { return has_bit(ever_.data(), tensor); }

 private:
  const std::vector<int64_t>& elements_;
  int64_t with_elements_ = 0, absent_count_ = 0;
  bool any_missed_ = false;
  std::vector<uint64_t> whole_;  // a bit for every tensor
  std::vector<uint64_t> own_, since_round_, local_, lacking_, absent_, ever_;
  std::vector<int64_t> missed_;
};

}  // namespace onebit
