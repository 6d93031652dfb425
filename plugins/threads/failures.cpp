// SPDX-License-Identifier: Apache-2.0
// How operations and worlds come to their end, and what each rank is told about it.
#include "world.hpp"

namespace onebit::threads {

std::string ranks_text(const std::vector<int>& ranks) {
  std::string text = ranks.size() == 1 ? "rank " : "ranks ";
  for (size_t i = 0; i < ranks.size(); ++i) text += (i == 0 ? "" : ", ") + std::to_string(ranks[i]);
  return text;
}

void World::fail(Operation& op, Failure failure) noexcept {
  op.own = std::move(failure);
  op.failure = &op.own;
  op.state = State::failed;
  op.changed.notify_all();
}

void World::fail(Failure failure) noexcept {
  if (failed_) return;
  failed_ = true;
  failure_ = std::move(failure);
  for (uint64_t sequence = oldest_; sequence <= newest_; ++sequence) {
    Operation& op = operation(sequence);
    if (op.state != State::posting && op.state != State::ready) continue;
    op.failure = &failure_;
    op.state = State::failed;
    op.changed.notify_all();
  }
  gathered_.notify_all();
}

// The waiting rank is free to let go of its buffers after this, so the operation must not come to life when the others arrive:
// the world ends, and the late ones are told why.
void World::time_out(const Post& post, int64_t timeout_ns, bool by_stall) {
  const Operation& op = *post.operation;
  std::vector<int> missing;
  for (int rank = 0; rank < size_; ++rank)
    if (!op.posts[rank].arrived) missing.push_back(rank);
  fail({Code::timeout, post.rank,
        "rank " + std::to_string(post.rank) + " waited " + seconds_text(timeout_ns) + " in " +
            title(post.offer.kind, op.sequence) + " for " + ranks_text(missing) + ", which did not arrive" +
            (by_stall ? std::string(", though alive") + raise_stall : "")});
}

void World::abort(int rank, std::string_view reason) {
  Failure failure = {Code::aborted, rank, std::string(reason)};
  const Lock lock(mutex_);
  fail(std::move(failure));
}

void World::raise(const Failure& failure, const std::string& name, int rank) const {
  throw Error(failure.code, name + " on rank " + std::to_string(rank) + " of " + std::to_string(size_) + ": " + failure.text());
}

void World::check_held(const Post& post) const {
  if (!post.open) throw Error(Code::invalid_argument, "the request was given back already: wait may be called once for each");
}

}  // namespace onebit::threads
