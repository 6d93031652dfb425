// SPDX-License-Identifier: Apache-2.0
// Agreement: the one all-gather that opens every step with a round: 40 bytes a rank, and a bit a tensor. (A step that begins
// before its gradients are there has one when it begins, and another when they are.) Nothing is written before it: ranks that
// run another step, plan or configuration are told apart, a gradient that is not finite anywhere stops the step everywhere, and
// a tensor that no rank has a gradient of is left as it is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "device/verdict.hpp"
#include "exchange/metered_communicator.hpp"

namespace onebit {

// One thing that all ranks must have in common. Neither text has a zero byte.
struct Fact {
  std::string what, value;
};

class Agreement {
 public:
  // host: the same, for memory of the host.
  Agreement(MeteredCommunicator& communicator, Communicator& host);

  // From now on a ballot has a bit a tensor behind it. The same on every rank.
  void set_tensors(int64_t tensors) { lay_out(words_of(tensors)); }
  // Collective. Answers every rank's ballot, in rank order; they live until the next call. bits: words of them; NULL: none set.
  Ballots vote(const Ballot& own, const uint64_t* bits = nullptr);

  // Not collective: this rank's own, as the only one.
  Ballots alone(const Ballot& own, const uint64_t* bits);

  // Where ballots differ in step or hash. Throws Error(state_mismatch) that names a rank that is not as rank 0 is, and the
  // first of the facts that differs, with both values. Collective where steps are the same. own: what was hashed; title: in a
  // word or two; advice: what to do.
  [[noreturn]] void tell_apart(const Ballots& ballots, std::string_view title, const std::vector<Fact>& own,
                               std::string_view advice);

 private:
  void lay_out(int64_t words);
  Ballots ballots() const { return {memory_.data(), static_cast<int64_t>(parts_.size()), words_}; }
  std::string who(size_t rank) const;
  void require_same_step(const Ballots& ballots) const;
  std::vector<std::vector<Fact>> gather(const std::vector<Fact>& own);

  MeteredCommunicator& communicator_;
  Communicator& host_;
  int64_t words_ = 0;
  std::vector<std::byte> memory_;
  std::vector<onebit_part> parts_;
};

}  // namespace onebit
