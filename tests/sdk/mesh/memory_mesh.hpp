// SPDX-License-Identifier: Apache-2.0
// A mesh of threads: streams are queues in memory, with little room, so that bytes go and come in parts. The plainest Mesh
// there is, and one whose streams a test can break.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "onebit/error.hpp"
#include "onebit/mesh.hpp"

namespace onebit::test {

// What the ranks share.
class MemoryNet {
 public:
  explicit MemoryNet(int ranks, size_t room = 50'000) : ranks_(ranks), room_(room), streams_(at(ranks, 0)), rings_(at(1, 0)) {}
  int ranks() const { return ranks_; }

  size_t send(int from, int to, const char* data, size_t bytes) {
    const std::lock_guard lock(mutex_);
    Stream& stream = streams_[at(from, to)];
    check(stream);
    const size_t taken = std::min(bytes, room_ - stream.bytes.size());
    stream.bytes.insert(stream.bytes.end(), data, data + taken);
    if (taken > 0) ring(to);
    return taken;
  }
  size_t receive(int from, int to, char* data, size_t bytes) {
    const std::lock_guard lock(mutex_);
    Stream& stream = streams_[at(from, to)];
    const size_t given = std::min(bytes, stream.bytes.size());
    if (given == 0) check(stream);
    std::copy_n(stream.bytes.begin(), given, data);
    stream.bytes.erase(stream.bytes.begin(), stream.bytes.begin() + static_cast<std::ptrdiff_t>(given));
    if (given > 0) ring(from);
    return given;
  }
  template <class Watched>
  void wait(int rank, int64_t timeout_ns, Watched&& watched) {
    std::unique_lock lock(mutex_);
    Ring& mine = rings_[static_cast<size_t>(rank)];
    const auto over = [&] { return mine.rung || watched(*this); };
    if (timeout_ns < 0) {
      mine.changed.wait(lock, over);
    } else {
      mine.changed.wait_for(lock, std::chrono::nanoseconds(std::min<int64_t>(timeout_ns, 1'000'000'000'000)), over);
    }
    mine.rung = false;
  }
  void wake(int rank) {
    const std::lock_guard lock(mutex_);
    ring(rank);
  }
  // Both directions between two ranks.
  void cut(int a, int b) {
    const std::lock_guard lock(mutex_);
    sever(a, b);
  }
  // All at once: in between, the rank itself would tell those that it still reaches that another one has failed.
  void cut_all(int rank) {
    const std::lock_guard lock(mutex_);
    for (int peer = 0; peer < ranks_; ++peer)
      if (peer != rank) sever(rank, peer);
  }
  // With the mutex held, by wait's question.
  bool can_send(int from, int to) const { return broken(from, to) || streams_[at(from, to)].bytes.size() < room_; }
  bool can_receive(int from, int to) const { return broken(from, to) || !streams_[at(from, to)].bytes.empty(); }

 private:
  struct Stream {
    std::deque<char> bytes;
    bool broken = false;
  };
  struct Ring {
    std::condition_variable changed;
    bool rung = false;
  };
  size_t at(int a, int b) const { return static_cast<size_t>(a) * ranks_ + b; }
  bool broken(int from, int to) const { return streams_[at(from, to)].broken; }
  void ring(int rank) {
    rings_[static_cast<size_t>(rank)].rung = true;
    rings_[static_cast<size_t>(rank)].changed.notify_all();
  }
  void sever(int a, int b) {
    streams_[at(a, b)].broken = streams_[at(b, a)].broken = true;
    ring(a);
    ring(b);
  }
  static void check(const Stream& stream) {
    if (stream.broken) throw Error(Code::peer_failed, "its stream is broken");
  }

  const int ranks_;
  const size_t room_;
  std::mutex mutex_;
  std::vector<Stream> streams_;  // from, to
  std::vector<Ring> rings_;      // by rank
};

class MemoryMesh final : public Mesh {
 public:
  MemoryMesh(std::shared_ptr<MemoryNet> net, int rank) : Mesh(rank, net->ranks()), net_(std::move(net)) {}
  ~MemoryMesh() override { net_->cut_all(rank()); }

  size_t send(int peer, const void* data, size_t bytes) override {
    return net_->send(rank(), peer, static_cast<const char*>(data), bytes);
  }
  size_t receive(int peer, void* data, size_t bytes) override {
    return net_->receive(peer, rank(), static_cast<char*>(data), bytes);
  }
  void wait(const Watch* watches, int64_t timeout_ns) override {
    net_->wait(rank(), timeout_ns, [&](const MemoryNet& net) {
      for (int peer = 0; peer < size(); ++peer)
        if ((watches[peer].receive && net.can_receive(peer, rank())) || (watches[peer].send && net.can_send(rank(), peer)))
          return true;
      return false;
    });
  }
  void wake() noexcept override { net_->wake(rank()); }

 private:
  const std::shared_ptr<MemoryNet> net_;
};

}  // namespace onebit::test
