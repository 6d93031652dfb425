// SPDX-License-Identifier: Apache-2.0
// The ranks of one pretended communicator, and the parcels between them. Whoever sends and whoever receives must agree, or both
// hang, as with NCCL; only abort lets them go.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <tuple>
#include <vector>

namespace onebit::nccl_on_cpu {

enum class Kind { pair, gather, broadcast };

struct Parcel {
  const char* from;
  size_t bytes;
  bool taken = false;
};

// What is sent and received in one group.
struct Transfer {
  Kind kind;
  bool sends;
  int peer;
  const char* from;
  char* to;
  size_t bytes;
};

class World {
 public:
  explicit World(int ranks) : ranks_(ranks) {}
  // Returns when all ranks have joined.
  void join();
  // Returns when all is moved, or when `aborted` was set.
  void move(int rank, const std::vector<Transfer>& transfers, const bool& aborted);
  void hold(const bool& aborted);
  void set(bool& flag);

 private:
  using Channel = std::deque<std::shared_ptr<Parcel>>;
  Channel& channel(Kind kind, int from, int to) { return channels_[{kind, from, to}]; }
  void take(std::unique_lock<std::mutex>& lock, int rank, const Transfer& transfer, const bool& aborted);

  const int ranks_;
  std::mutex mutex_;
  std::condition_variable changed_;
  int joined_ = 0;
  std::map<std::tuple<Kind, int, int>, Channel> channels_;
};

}  // namespace onebit::nccl_on_cpu
