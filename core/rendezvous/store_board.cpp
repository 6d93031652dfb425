// SPDX-License-Identifier: Apache-2.0
// Bookkeeping of a store, and the words for who is missing.
#include "rendezvous/store_board.hpp"

#include <utility>

#include "onebit/error.hpp"
#include "rendezvous/rendezvous_rules.hpp"
#include "rendezvous/store_protocol.hpp"

namespace onebit::store {
namespace {

constexpr size_t kMostListed = 8;

// "rank 3 has", "ranks 2, 5 and 3 more have".
std::string they_have(const std::vector<int>& ranks) {
  std::string text = ranks.size() == 1 ? "rank " : "ranks ";
  for (size_t i = 0; i < ranks.size() && i < kMostListed; ++i) text += (i > 0 ? ", " : "") + std::to_string(ranks[i]);
  if (ranks.size() > kMostListed) text += " and " + std::to_string(ranks.size() - kMostListed) + " more";
  return text + (ranks.size() == 1 ? " has" : " have");
}

}  // namespace

Value Board::find(std::string_view key) const {
  const auto found = values_.find(key);
  return found == values_.end() ? nullptr : found->second;
}

void Board::put(const std::string& key, std::string value) {
  const auto before = values_.find(key);
  const size_t freed = before == values_.end() ? 0 : key.size() + before->second->size();
  const size_t stored = stored_ - freed + key.size() + value.size();
  if (stored > kMostStored)
    throw Error(Code::out_of_memory, "the rendezvous is full: with " + quoted_key(key) + " its values would have " +
                                         std::to_string(stored) + " bytes, more than " + std::to_string(kMostStored));
  const Value shared = std::make_shared<const std::string>(std::move(value));
  values_.insert_or_assign(key, shared);
  stored_ = stored;
  for (auto it = waiting_.begin(); it != waiting_.end();) {
    if (it->second.key != key) {
      ++it;
      continue;
    }
    const Tell tell = std::move(it->second.tell);
    it = waiting_.erase(it);
    tell(shared);
  }
}

uint64_t Board::wait(const std::string& key, Tell tell) {
  waiting_.emplace(++last_, Waiting{key, std::move(tell)});
  return last_;
}

Board::Coming Board::come(int rank, uint64_t visitor, const std::string& from) {
  Rank& self = ranks_[static_cast<size_t>(rank)];
  if (self.came && self.visitor != visitor) return self.connections > 0 ? Coming::taken : Coming::gone;
  if (!self.came) --absent_;
  if (self.connections++ == 0) ++present_;
  self.came = true;
  self.visitor = visitor;
  self.from = from;
  return Coming::welcome;
}

void Board::leave(int rank) {
  if (--ranks_[static_cast<size_t>(rank)].connections == 0) --present_;
}

void Board::note_refusal(const std::string& caller, const std::string& why) {
  ++refusals_;
  last_refusal_ = caller + ": " + why;
}

std::string Board::missing_text() const {
  std::vector<int> absent, gone;
  for (int rank = 0; rank < size_; ++rank) {
    const Rank& self = ranks_[static_cast<size_t>(rank)];
    if (self.connections == 0) (self.came ? gone : absent).push_back(rank);
  }
  std::string text;
  if (!absent.empty()) text += "; " + they_have(absent) + " not come, of " + std::to_string(size_);
  if (!gone.empty()) text += "; " + they_have(gone) + " come and gone";
  if (absent.empty() && gone.empty()) text += "; all ranks are there, " + std::to_string(size_);
  if (refusals_ > 0)
    text += "; " + std::to_string(refusals_) + (refusals_ == 1 ? " caller was" : " callers were") + " refused, " +
            (refusals_ == 1 ? "" : "the last one ") + last_refusal_;
  return text;
}

}  // namespace onebit::store
