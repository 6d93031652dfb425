// SPDX-License-Identifier: Apache-2.0
// A rank's membership in a world: whoever holds the seat is that rank, and giving it up tells the others.
#pragma once

#include <memory>
#include <utility>

namespace onebit::threads {

class World;

class Seat {
 public:
  Seat() = default;
  Seat(std::shared_ptr<World> world, int rank) : world_(std::move(world)), rank_(rank) {}
  Seat(Seat&& other) noexcept : world_(std::move(other.world_)), rank_(other.rank_) {}
  Seat& operator=(Seat&& other) noexcept {
    Seat moved(std::move(other));
    world_.swap(moved.world_);
    std::swap(rank_, moved.rank_);
    return *this;
  }
  ~Seat();

  explicit operator bool() const { return world_ != nullptr; }
  World& world() const { return *world_; }
  int rank() const { return rank_; }

 private:
  std::shared_ptr<World> world_;
  int rank_ = -1;
};

}  // namespace onebit::threads
