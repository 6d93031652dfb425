// SPDX-License-Identifier: Apache-2.0
// MeshCommunicator and ranks that take their time, stall, or are silent.
#include <doctest/doctest.h>

#include <atomic>
#include <chrono>

#include "memory_mesh.hpp"
#include "onebit/mesh_communicator.hpp"
#include "support/rank_threads.hpp"

namespace {

using namespace onebit;
using namespace std::chrono_literals;
using conformance::error_of;
using conformance::Rank;
using conformance::require;
using conformance::require_text;
using test::check_none;
using test::Gather;
using test::MemoryMesh;
using test::MemoryNet;
using test::outcomes;

// Streams through which a rank moves few bytes at a time, or none, as if its process were stopped.
class SlowMesh final : public Mesh {
 public:
  SlowMesh(std::shared_ptr<MemoryNet> net, int rank, std::chrono::milliseconds pause, const std::atomic<bool>& stopped)
      : Mesh(rank, net->ranks()), inner_(std::move(net), rank), pause_(pause), stopped_(stopped) {}
  size_t send(int peer, const void* data, size_t bytes) override {
    const size_t now = stopped_ ? 0 : some(bytes);
    return now == 0 ? 0 : inner_.send(peer, data, now);
  }
  size_t receive(int peer, void* data, size_t bytes) override { return stopped_ ? 0 : inner_.receive(peer, data, bytes); }
  void wait(const Watch* watches, int64_t timeout_ns) override {
    if (!stopped_ && pause_ == 0ms) return inner_.wait(watches, timeout_ns);
    std::this_thread::sleep_for(1ms);
  }
  void wake() noexcept override { inner_.wake(); }

 private:
  // What may be sent now: a little in each pause.
  size_t some(size_t bytes) {
    const auto now = std::chrono::steady_clock::now();
    if (pause_ > 0ms && now < next_) return 0;
    next_ = now + pause_;
    return pause_ > 0ms ? std::min<size_t>(bytes, 1000) : bytes;
  }
  MemoryMesh inner_;
  const std::chrono::milliseconds pause_;
  const std::atomic<bool>& stopped_;
  std::chrono::steady_clock::time_point next_{};
};

Rank slow_rank(const std::shared_ptr<MemoryNet>& net, int rank, Limits limits, std::chrono::milliseconds pause = 0ms,
               const std::atomic<bool>* stopped = nullptr) {
  static const std::atomic<bool> no{false};
  return std::make_unique<MeshCommunicator>("memory", Services(nullptr), limits,
                                            std::make_unique<SlowMesh>(net, rank, pause, stopped == nullptr ? no : *stopped));
}

constexpr int64_t kSecond = 1'000'000'000;

}  // namespace

TEST_CASE("mesh: a rank that lives may compute for longer than the timeout, and while nothing is under way") {
  const auto net = std::make_shared<MemoryNet>(3);
  check_none(outcomes(3, [&](int rank) {
    Rank self = slow_rank(net, rank, {2 * kSecond});
    Gather gather(*self, 100'000), more(*self, 100'000);
    self->wait(gather.post(*self));
    std::this_thread::sleep_for(rank == 1 ? 5s : 1s);
    self->wait(more.post(*self));
    more.check();
  }));
}

// 4 s for 800 kB, of which the receiver has a little at any time.
TEST_CASE("mesh: a transfer may take longer than the timeout and the stall, as long as bytes flow") {
  const auto net = std::make_shared<MemoryNet>(2);
  check_none(outcomes(2, [&](int rank) {
    Rank self = slow_rank(net, rank, {2 * kSecond, 2 * kSecond}, rank == 1 ? 5ms : 0ms);
    Gather gather(*self, 800'000, 1);
    const auto begin = std::chrono::steady_clock::now();
    self->wait(gather.post(*self));
    gather.check();
    require(std::chrono::steady_clock::now() - begin > 2500ms, "the transfer was too fast to say anything");
    self->barrier(Call());
  }));
}

TEST_CASE("mesh: a rank that lives but does not come is given up after the stall, which the error names") {
  const auto net = std::make_shared<MemoryNet>(2);
  std::atomic<bool> told{false};
  check_none(outcomes(2, [&](int rank) {
    Rank self = slow_rank(net, rank, {60 * kSecond, kSecond / 2});
    self->barrier(Call());
    while (rank == 1 && !told) std::this_thread::sleep_for(1ms);
    const Error e = error_of("a rank that does not come", [&] { self->barrier(Call()); });
    told = true;
    require(e.code() == Code::timeout, e.what());
    require_text(e, "barrier (operation 2): waited 0.5 s for rank 1, which did not come, though alive");
    require_text(e, "communicator.stall");
  }));
}

TEST_CASE("mesh: with stall = 0 a rank that lives may take any time, and a call's own limit stays what it was") {
  const auto net = std::make_shared<MemoryNet>(2);
  check_none(outcomes(2, [&](int rank) {
    Rank self = slow_rank(net, rank, {60 * kSecond, 0});
    if (rank == 1) std::this_thread::sleep_for(1s);
    self->barrier(Call());
    if (rank == 1) std::this_thread::sleep_for(1s);
    const Error e = error_of("a rank that does not come", [&] { self->barrier(Call(0, rank == 0 ? kSecond / 10 : -1)); });
    require_text(e, "waited 0.1 s for rank 1");
  }));
}

// Its streams are whole, and take what is sent to it, but nothing comes.
TEST_CASE("mesh: a process that is silent is given up within the timeout, while others wait and in the middle of payload") {
  for (const int64_t bytes : {int64_t{0}, int64_t{5'000'000}}) {
    const auto net = std::make_shared<MemoryNet>(3);
    std::atomic<bool> stopped{false};
    std::atomic<int> ready{0}, told{0};
    check_none(outcomes(3, [&](int rank) {
      Rank self = slow_rank(net, rank, {3 * kSecond, 60 * kSecond}, 0ms, rank == 1 ? &stopped : nullptr);
      self->barrier(Call());
      ++ready;
      if (rank == 1) {
        while (ready < 3) std::this_thread::sleep_for(1ms);
        stopped = true;
        while (told < 2) std::this_thread::sleep_for(1ms);
        stopped = false;
        return;
      }
      while (!stopped) std::this_thread::sleep_for(1ms);
      Gather gather(*self, bytes);
      const auto begin = std::chrono::steady_clock::now();
      const Error e = error_of("a silent process", [&] { self->wait(gather.post(*self)); });
      const auto took = std::chrono::steady_clock::now() - begin;
      ++told;
      require(e.code() == Code::timeout, e.what());
      require_text(e, "all_gather (operation 2): waited for rank 1, of which nothing was heard for 3 s");
      require_text(e, "communicator.timeout");
      require(took < 30s, "too late");
    }));
  }
}
