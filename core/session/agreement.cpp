// SPDX-License-Identifier: Apache-2.0
#include "session/agreement.hpp"

#include <string>

namespace onebit {

Agreement::Agreement(MeteredCommunicator& communicator, Communicator& host) : communicator_(communicator), host_(host) {
  const int n = communicator.size();
  ballots_.resize(static_cast<size_t>(n));
  for (int64_t rank = 0; rank < n; ++rank)
    parts_.push_back({rank * static_cast<int64_t>(sizeof(Ballot)), static_cast<int64_t>(sizeof(Ballot))});
}

const std::vector<Ballot>& Agreement::vote(const Ballot& own) {
  Ballot& mine = ballots_[static_cast<size_t>(communicator_.rank())];
  mine = own;
  if (ballots_.size() == 1) return ballots_;
  communicator_.enter(Stage::agreement);
  host_.wait(host_.all_gather(&mine, ballots_.data(), parts_.data(), Call(static_cast<uint64_t>(~0U))), -1);
  communicator_.enter(Stage::other);
  return ballots_;
}

void require_same(const std::vector<Ballot>& ballots, int own_rank, std::string_view what) {
  const auto who = [&](size_t rank) {
    return "rank " + std::to_string(rank) + (static_cast<int>(rank) == own_rank ? " (this one)" : "");
  };
  for (size_t rank = 1; rank < ballots.size(); ++rank) {
    if (ballots[rank].step != ballots[0].step)
      throw Error(Code::state_mismatch, who(rank) + " is at step " + std::to_string(ballots[rank].step) + ", rank 0 at step " +
                                            std::to_string(ballots[0].step) +
                                            ": every rank must call step() equally often and start at the same step");
    if (ballots[rank].hash != ballots[0].hash)
      throw Error(Code::state_mismatch, who(rank) + " differs from rank 0 in " + std::string(what) +
                                            ": start every rank with the same manifest, plugins and model");
  }
}

}  // namespace onebit
