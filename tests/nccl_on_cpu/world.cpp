// SPDX-License-Identifier: Apache-2.0
// Parcels: put up by the sender, taken by the receiver, and the sender goes on when all of its are.
#include "world.hpp"

#include <algorithm>
#include <cstring>

namespace onebit::nccl_on_cpu {

void World::join() {
  std::unique_lock lock(mutex_);
  ++joined_;
  changed_.notify_all();
  changed_.wait(lock, [this] { return joined_ >= ranks_; });
}

void World::hold(const bool& aborted) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return aborted; });
}

void World::set(bool& flag) {
  const std::lock_guard lock(mutex_);
  flag = true;
  changed_.notify_all();
}

// Another size than was sent: never ready.
void World::take(std::unique_lock<std::mutex>& lock, int rank, const Transfer& transfer, const bool& aborted) {
  Channel& parcels = channel(transfer.kind, transfer.peer, rank);
  changed_.wait(lock, [&] { return aborted || (!parcels.empty() && parcels.front()->bytes == transfer.bytes); });
  if (aborted) return;
  std::memcpy(transfer.to, parcels.front()->from, transfer.bytes);
  parcels.front()->taken = true;
  parcels.pop_front();
  changed_.notify_all();
}

void World::move(int rank, const std::vector<Transfer>& transfers, const bool& aborted) {
  std::unique_lock lock(mutex_);
  std::vector<std::pair<Channel*, std::shared_ptr<Parcel>>> sent;
  for (const Transfer& transfer : transfers) {
    if (!transfer.sends || aborted) continue;
    Channel& parcels = channel(transfer.kind, rank, transfer.peer);
    sent.emplace_back(&parcels, std::make_shared<Parcel>(Parcel{transfer.from, transfer.bytes}));
    parcels.push_back(sent.back().second);
  }
  changed_.notify_all();
  for (const Transfer& transfer : transfers)
    if (!transfer.sends) take(lock, rank, transfer, aborted);
  for (const auto& one : sent) changed_.wait(lock, [&, parcel = one.second] { return aborted || parcel->taken; });
  for (const auto& one : sent)  // after an abort nobody may read what they point to
    one.first->erase(std::remove(one.first->begin(), one.first->end(), one.second), one.first->end());
}

}  // namespace onebit::nccl_on_cpu
