// SPDX-License-Identifier: Apache-2.0
// MeshCommunicator on a mesh in memory: the cases of every communicator, and what is its own - progress while ranks compute,
// streams that break or bring nonsense, failures in the middle of payload, and memory.
#include <doctest/doctest.h>
#include <malloc.h>

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
using conformance::Vector;
using test::Gather;
using test::MemoryMesh;
using test::MemoryNet;
using test::outcomes;

Rank memory_rank(const std::shared_ptr<MemoryNet>& net, int rank, double timeout_s = 20) {
  return std::make_unique<MeshCommunicator>("memory", Services(nullptr), timeout_s, std::make_unique<MemoryMesh>(net, rank));
}

// Runs one case on all ranks of a net.
void run_in_memory(const std::shared_ptr<MemoryNet>& net, const std::function<void(Rank&)>& f) {
  const std::vector<std::string> texts = outcomes(net->ranks(), [&](int rank) {
    Rank self = memory_rank(net, rank);
    f(self);
  });
  for (int rank = 0; rank < net->ranks(); ++rank) {
    INFO("rank ", rank, " of ", net->ranks());
    CHECK(texts[static_cast<size_t>(rank)] == "");
  }
}
void run_in_memory(int ranks, const std::function<void(Rank&)>& f) { run_in_memory(std::make_shared<MemoryNet>(ranks), f); }

void wait_until(const std::function<bool()>& so) {
  while (!so()) std::this_thread::sleep_for(100us);
}

// Large against the room of a stream: it is under way for a while.
constexpr int64_t kLong = 8'000'000;

}  // namespace

#define ONEBIT_RUN_IN_MEMORY(name)                                                            \
  TEST_CASE("mesh: " #name) {                                                                 \
    for (int ranks = 1; ranks <= 4; ++ranks) run_in_memory(ranks, onebit::conformance::name); \
  }
ONEBIT_COMMUNICATOR_CASES(ONEBIT_RUN_IN_MEMORY)

TEST_CASE("mesh: streams that give and take a byte at a time") {
  const auto net = std::make_shared<MemoryNet>(3, 1);
  run_in_memory(net, [](Rank& self) {
    Gather gather(*self, 9'000);
    Vector<float> io(conformance::elements<float>(self->rank(), 100));
    Request* first = gather.post(*self);
    Request* second = self->all_reduce(io.tensor, io.tensor, ReduceOp::sum, Call());
    self->wait(second);
    self->wait(first);
    gather.check();
    require(io.values == conformance::reduced<float>(ReduceOp::sum, 3, 100), "other sums");
  });
}

TEST_CASE("mesh: a rank is not held up by a peer that computes before it waits") {
  std::atomic<bool> posted{false}, done{false};
  run_in_memory(2, [&](Rank& self) {
    Gather large(*self, 3'000'000), small(*self, 32);
    Request* first = large.post(*self);
    Request* second = small.post(*self);
    if (self->rank() == 0) {
      posted = true;
      wait_until([&] { return done.load(); });  // rank 0 computes until rank 1 has everything
    } else {
      wait_until([&] { return posted.load(); });
    }
    self->wait(first);
    self->wait(second);
    done = true;
    large.check();
    small.check();
  });
}

TEST_CASE("mesh: hundreds in flight, waited for from the last to the first") {
  run_in_memory(3, [](Rank& self) {
    std::vector<Gather> gathers;
    for (int i = 0; i < 300; ++i) gathers.emplace_back(*self, i % 3 == 0 ? 20'000 : 40);
    std::vector<Request*> requests;
    for (Gather& gather : gathers) requests.push_back(gather.post(*self));
    for (size_t i = gathers.size(); i-- > 0;) {
      self->wait(requests[i]);
      gathers[i].check();
    }
  });
}

// The failed child's payload is cut off in the middle of pieces; the parent's goes over the same streams, before and after.
TEST_CASE("mesh: an abort in the middle of payload leaves the streams whole, and no buffer in use") {
  for (int round = 0; round < 10; ++round) {
    std::atomic<int> posted{0};
    run_in_memory(3, [&](Rank& self) {
      Rank child = self->split(0, 0);
      Gather before(*self, 500'000), after(*self, 500'000);
      auto lost = std::make_unique<Gather>(*child, kLong);
      Request* first = before.post(*self);
      Request* failing = lost->post(*child);
      Request* second = after.post(*self);
      ++posted;
      std::thread other([&] {
        if (self->rank() != 1) return;
        wait_until([&] { return posted == 3; });
        std::this_thread::sleep_for(std::chrono::microseconds(round * 300));
        child->abort("enough");
      });
      std::string text;
      try {
        child->wait(failing);
      } catch (const Error& e) {
        if (e.code() != Code::aborted) text = e.what();
      }
      lost.reset();
      self->wait(second);
      self->wait(first);
      other.join();
      require(text.empty(), text);
      before.check();
      after.check();
    });
  }
}

// Rank 0 comes when rank 1 has left; rank 2 may have all from rank 1 by then.
TEST_CASE("mesh: a communicator may be destroyed with requests in flight, and its buffers with it") {
  std::atomic<bool> left{false};
  run_in_memory(3, [&](Rank& self) {
    Rank child = self->split(0, 0);
    auto gather = std::make_unique<Gather>(*child, kLong);
    if (self->rank() == 1) {
      gather->post(*child);
    } else {
      if (self->rank() == 0) wait_until([&] { return left.load(); });
      const Error e = error_of("a peer that left", [&] { child->wait(gather->post(*child)); });
      require(e.code() == Code::peer_failed, e.what());
      require_text(e, "rank 1 has destroyed its communicator");
    }
    if (self->rank() == 1) child.reset();
    if (self->rank() == 1) left = true;
    gather.reset();
    Gather whole(*self, 500'000);
    self->wait(whole.post(*self));
    whole.check();
  });
}

// Rank 2 has all that it gets from rank 1, but not what it gets from rank 0, which gives up because rank 1 has left.
TEST_CASE("mesh: a rank that misses nothing from the one that left is told, too") {
  for (int round = 0; round < 10; ++round)
    run_in_memory(3, [&](Rank& self) {
      Rank child = self->split(0, 0);
      const int me = self->rank();
      const auto size = [](int from, int to) { return from + to == 3 ? int64_t{100} : kLong; };
      conformance::Parts in(3, [&](int to) { return size(me, to); }), out(3, [&](int from) { return size(from, me); });
      const auto post = [&] {
        return child->all_to_all(in.bytes.data(), in.parts.data(), out.bytes.data(), out.parts.data(), Call(0, 2'000'000'000));
      };
      if (me == 1) {
        post();
      } else {
        try {
          child->wait(post());  // may be complete before rank 1 leaves
        } catch (const Error& e) {
          require(e.code() == Code::peer_failed, e.what());
        }
      }
      child.reset();
    });
}

TEST_CASE("mesh: a rank whose streams break is named on all ranks, in the middle of payload, and later") {
  const auto net = std::make_shared<MemoryNet>(4);
  std::atomic<int> posted{0};
  run_in_memory(net, [&](Rank& self) {
    Gather gather(*self, kLong);
    Request* request = gather.post(*self);
    if (++posted == 4) net->cut_all(2);
    const Error e = error_of("a broken stream", [&] { self->wait(request); });
    require(e.code() == Code::peer_failed, e.what());
    if (self->rank() != 2) require_text(e, "rank 2 failed: its stream is broken");
    const Error again = error_of("a broken stream", [&] { self->barrier(Call()); });
    require(again.code() == Code::peer_failed, again.what());
  });
}

// Only two of the ranks notice; the others would wait for them.
TEST_CASE("mesh: ranks that have lost each other tell the others") {
  const auto net = std::make_shared<MemoryNet>(4);
  run_in_memory(net, [&](Rank& self) {
    const Error e = error_of("a cut", [&] {
      for (int round = 0;; ++round) {
        self->barrier(Call());
        if (self->rank() == 0 && round == 3) net->cut(0, 3);
      }
    });
    require(e.code() == Code::peer_failed, e.what());
    require_text(e, " failed: its stream is broken");
  });
}

TEST_CASE("mesh: what is complete stays complete when a peer has gone") {
  std::atomic<bool> gone{false};
  run_in_memory(2, [&](Rank& self) {
    Gather gather(*self, 100'000);
    Request* request = gather.post(*self);
    if (self->rank() == 1) {
      self->wait(request);
      self.reset();
      gone = true;
    } else {
      wait_until([&] { return gone.load(); });
      self->wait(request);
      gather.check();
    }
  });
}

TEST_CASE("mesh: a mismatch ends its operation, not the communicator, even where payload is under way already") {
  run_in_memory(3, [](Rank& self) {
    const auto part = [&](int of) { return Part{of * kLong, self->rank() == 2 && of == 2 ? kLong - 1 : kLong}; };
    const std::vector<Part> parts = {part(0), part(1), part(2)};
    std::vector<char> in(kLong), out(3 * kLong);
    const Error e =
        error_of("another size", [&] { self->wait(self->all_gather(in.data(), out.data(), parts.data(), Call())); });
    require(e.code() == Code::state_mismatch, e.what());
    require_text(e, "rank 2");
    Gather gather(*self, 100'000);
    self->wait(gather.post(*self));
    gather.check();
  });
}

TEST_CASE("mesh: a slow rank is not a late one") {
  run_in_memory(2, [](Rank& self) {
    Gather gather(*self, 64);
    for (int i = 0; i < 3; ++i) {
      if (self->rank() == 1) std::this_thread::sleep_for(60ms);
      self->wait(gather.post(*self, 1'000'000'000));
    }
    Request* request = self->rank() == 0 ? gather.post(*self) : nullptr;
    if (self->rank() == 0) {
      const auto begin = std::chrono::steady_clock::now();
      const Error e = error_of("a late rank", [&] { self->wait(request, 50'000'000); });
      require(e.code() == Code::timeout, e.what());
      require_text(e, "all_gather (operation 4): waited 0.05 s for rank 1");
      require(std::chrono::steady_clock::now() - begin >= 50ms, "too early");
    } else {
      std::this_thread::sleep_for(200ms);
      const Error e = error_of("coming late", [&] { self->wait(gather.post(*self)); });
      require(e.code() == Code::timeout, e.what());
      require_text(e, "rank 0 gave up: all_gather (operation 4): waited 0.05 s for rank 1");
    }
  });
}

TEST_CASE("mesh: requests that are not, or no longer, this communicator's are refused") {
  run_in_memory(2, [](Rank& self) {
    Rank other = self->split(0, 0);
    Gather gather(*self, 64);
    Request* request = gather.post(*self);
    require_text(error_of("foreign", [&] { other->wait(request); }), "not one of this communicator");
    require_text(error_of("none", [&] { self->test(nullptr); }), "not one of this communicator");
    self->wait(request);
    require_text(error_of("twice", [&] { self->wait(request); }), "given back already");
  });
}

TEST_CASE("mesh: nonsense on a stream ends the communicator, with the name of its rank") {
  const auto net = std::make_shared<MemoryNet>(2);
  const std::string nonsense(1000, 'x');
  net->send(1, 0, nonsense.data(), nonsense.size());
  Rank self = memory_rank(net, 0);
  const Error e = error_of("nonsense", [&] { self->barrier(Call()); });
  CHECK(e.code() == Code::state_mismatch);
  require_text(e, "rank 1 failed: it speaks another version of this communicator");
}

namespace {

struct BrokenMesh final : Mesh {
  BrokenMesh() : Mesh(0, 2) {}
  size_t send(int, const void*, size_t bytes) override { return bytes; }
  size_t receive(int, void*, size_t) override { return 0; }
  void wait(const Watch*, int64_t) override { throw Error(Code::unavailable, "the network card is gone"); }
  void wake() noexcept override {}
};

}  // namespace

TEST_CASE("mesh: a mesh that can't wait is the end, with its reason") {
  MeshCommunicator self("broken", Services(nullptr), 20, std::make_unique<BrokenMesh>());
  for (int again = 0; again < 2; ++again)
    require_text(error_of("a broken mesh", [&] { self.barrier(Call()); }), "the network card is gone");
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST_CASE("mesh: memory is steady, over steps and over communicators that come and go") {
  constexpr int kRanks = 3;
  ::mallopt(M_ARENA_MAX, 1);  // mallinfo2 tells of the main one
  std::atomic<size_t> early{0}, late{0};
  run_in_memory(kRanks, [&](Rank& self) {
    const auto step = [&] {
      Rank child = self->split(0, 0);
      Gather large(*self, 30'000), small(*child, 32);
      Vector<float> io(std::vector<float>(7'000, 1));
      Request* requests[] = {large.post(*self), self->all_reduce(io.tensor, io.tensor, ReduceOp::avg, Call())};
      child->wait(small.post(*child));
      for (Request* request : requests) self->wait(request);
    };
    const auto used_after = [&](int steps) {
      for (int i = 0; i < steps; ++i) step();
      self->barrier(Call());
      const size_t used = ::mallinfo2().uordblks;
      self->barrier(Call());
      return used;
    };
    const size_t first = used_after(100), second = used_after(400);
    if (self->rank() == 0) {
      early = first;
      late = second;
    }
  });
  CHECK(late.load() < early.load() + 30'000);
}
#endif
