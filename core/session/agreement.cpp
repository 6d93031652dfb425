// SPDX-License-Identifier: Apache-2.0
#include "session/agreement.hpp"

#include <algorithm>
#include <cstring>

namespace onebit {
namespace {

std::string packed(const std::vector<Fact>& facts) {
  std::string text;
  for (const Fact& fact : facts) text += fact.what + '\0' + fact.value + '\0';
  return text;
}
std::vector<Fact> unpacked(std::string_view text) {
  std::vector<Fact> facts;
  const auto next = [&] {
    const size_t end = std::min(text.find('\0'), text.size());
    const std::string part(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    return part;
  };
  while (!text.empty()) {
    std::string what = next();
    facts.push_back({std::move(what), next()});
  }
  return facts;
}

// What one rank says of a fact that another says otherwise, or does not have.
std::string value_of(const std::vector<Fact>& facts, size_t index, const std::string& what) {
  if (index >= facts.size()) return "nothing";
  return facts[index].what == what ? facts[index].value : facts[index].what + " = " + facts[index].value;
}

}  // namespace

Agreement::Agreement(MeteredCommunicator& communicator, Communicator& host) : communicator_(communicator), host_(host) {
  lay_out(0);
}

void Agreement::lay_out(int64_t words) {
  words_ = words;
  const int64_t stride = Ballots{nullptr, 0, words}.stride();
  parts_.clear();
  for (int64_t rank = 0; rank < communicator_.size(); ++rank) parts_.push_back({rank * stride, stride});
  memory_.assign(static_cast<size_t>(communicator_.size() * stride), std::byte{0});
}

Ballots Agreement::vote(const Ballot& own, const uint64_t* bits) {
  std::byte* const mine = memory_.data() + parts_[static_cast<size_t>(communicator_.rank())].offset;
  std::memcpy(mine, &own, sizeof own);
  if (bits != nullptr) std::memcpy(mine + sizeof own, bits, static_cast<size_t>(words_) * sizeof(uint64_t));
  if (parts_.size() == 1) return ballots();
  communicator_.enter(Stage::agreement);
  host_.wait(host_.all_gather(mine, memory_.data(), parts_.data(), Call(static_cast<uint64_t>(~0U))), -1);
  communicator_.enter(Stage::other);
  return ballots();
}

Ballots Agreement::alone(const Ballot& own, const uint64_t* bits) {
  std::memcpy(memory_.data(), &own, sizeof own);
  std::memcpy(memory_.data() + sizeof own, bits, static_cast<size_t>(words_) * sizeof(uint64_t));
  return {memory_.data(), 1, words_};
}

std::string Agreement::who(size_t rank) const {
  return "rank " + std::to_string(rank) + (static_cast<int>(rank) == communicator_.rank() ? " (this one)" : "");
}

void Agreement::require_same_step(const Ballots& ballots) const {
  const Ballot& zero = ballots[0];
  for (int64_t rank = 1; rank < ballots.count; ++rank) {
    const Ballot& other = ballots[rank];
    if (other.step == zero.step) continue;
    std::string text = who(static_cast<size_t>(rank)) + " is at step " + std::to_string(other.step) + ", rank 0 at step " +
                       std::to_string(zero.step) + ": every rank must call step() equally often and start at the same step";
    if (((other.flags ^ zero.flags) & ballot_asked_for_sync) != 0)
      text += "; and only " + ((zero.flags & ballot_asked_for_sync) != 0 ? "rank 0" : "rank " + std::to_string(rank)) +
              " was asked for a sync (request_sync), which every rank must be, before the same step";
    throw Error(Code::state_mismatch, text);
  }
}

std::vector<std::vector<Fact>> Agreement::gather(const std::vector<Fact>& own) {
  const std::string text = packed(own);
  const size_t ranks = parts_.size();
  std::vector<int64_t> sizes(ranks);
  std::vector<onebit_part> parts;
  for (size_t rank = 0; rank < ranks; ++rank) parts.push_back({static_cast<int64_t>(rank * sizeof(int64_t)), 8});
  const auto bytes = static_cast<int64_t>(text.size());
  host_.wait(host_.all_gather(&bytes, sizes.data(), parts.data(), Call()), -1);
  int64_t total = 0;
  for (size_t rank = 0; rank < ranks; total += sizes[rank++]) parts[rank] = {total, sizes[rank]};
  std::string all(static_cast<size_t>(total), '\0');
  host_.wait(host_.all_gather(text.data(), all.data(), parts.data(), Call()), -1);
  std::vector<std::vector<Fact>> facts;
  for (const onebit_part& part : parts)
    facts.push_back(unpacked(std::string_view(all).substr(static_cast<size_t>(part.offset), static_cast<size_t>(part.bytes))));
  return facts;
}

void Agreement::tell_apart(const Ballots& ballots, std::string_view title, const std::vector<Fact>& own,
                           std::string_view advice) {
  require_same_step(ballots);
  const std::vector<std::vector<Fact>> facts = gather(own);
  for (size_t rank = 1; rank < facts.size(); ++rank)
    for (size_t i = 0; i < std::max(facts[0].size(), facts[rank].size()); ++i) {
      const std::vector<Fact>& longer = i < facts[0].size() ? facts[0] : facts[rank];
      const std::string what = longer[i].what, here = value_of(facts[rank], i, what), zero = value_of(facts[0], i, what);
      if (here == zero) continue;
      throw Error(Code::state_mismatch, who(rank) + " differs from rank 0 in " + std::string(title) + ": " + what + " is " +
                                            here + ", rank 0 has " + zero + ": " + std::string(advice));
    }
  throw Error(Code::state_mismatch, "ranks differ in " + std::string(title) + ": " + std::string(advice));
}

}  // namespace onebit
