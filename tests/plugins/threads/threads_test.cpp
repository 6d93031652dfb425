// SPDX-License-Identifier: Apache-2.0
// The communicator `threads`, loaded as the plugin that it is: the cases of every communicator, and what is its own - progress
// without the peer's help, memory, meeting, and the words of its errors.
#include <doctest/doctest.h>

#include <atomic>
#include <functional>
#include <thread>

#include "onebit/conformance/communicator.hpp"
#include "onebit/manifest.hpp"
#include "onebit/registry.hpp"
#include "onebit/rendezvous.hpp"
#include "support/allocation_counter.hpp"

namespace {

using namespace onebit;
using conformance::Rank;
using conformance::Vector;
using namespace std::chrono_literals;

const Registry& registry() {
  static Registry loaded;
  static const PluginInfo& plugin =
      loaded.load(std::string(ONEBIT_BINARY_DIR) + "/lib/onebit/plugins/onebit_plugin_threads.so");
  (void)plugin;
  return loaded;
}

Rank make_with(const onebit_rendezvous& rendezvous, const std::string& options) {
  const ComponentInfo& threads = registry().find(Kind::communicator, "threads");
  const Manifest manifest = Manifest::parse("[communicator]\nplugin = \"threads\"\n" + options, "test.toml", ".");
  return registry().make_communicator(threads, ResolvedTable(manifest, "communicator", threads.options, true), rendezvous);
}

Rank make(const onebit_rendezvous& rendezvous, double timeout = 20) {
  return make_with(rendezvous, "timeout = " + std::to_string(timeout));
}

// Runs f(rank) in a thread for each rank; answers what each threw, "" where none did.
std::vector<std::string> outcomes(int ranks, const std::function<void(int)>& f) {
  registry();
  std::vector<std::string> texts(static_cast<size_t>(ranks));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank)
    threads.emplace_back([&, rank] {
      try {
        f(rank);
      } catch (const std::exception& e) {
        texts[static_cast<size_t>(rank)] = e.what();
      }
    });
  for (std::thread& thread : threads) thread.join();
  return texts;
}

// Runs one case on so many ranks of one new group.
void run(int ranks, const std::function<void(Rank&)>& f) {
  LocalRendezvous rendezvous(ranks);
  const std::vector<std::string> texts = outcomes(ranks, [&](int rank) {
    Rank self = make(rendezvous.at(rank));
    f(self);
  });
  for (int rank = 0; rank < ranks; ++rank) {
    INFO("rank ", rank, " of ", ranks);
    CHECK(texts[static_cast<size_t>(rank)] == "");
  }
}

void wait_for(const std::atomic<bool>& flag) {
  while (!flag) std::this_thread::sleep_for(100us);
}

// An all_gather that a case can post and wait for on its own; `only`: the one rank that brings bytes.
struct Gather {
  Gather(Rank& self, int64_t bytes, int only = -1)
      : parts(self->size(), [&](int rank) { return only < 0 || rank == only ? bytes : 0; }),
        in(static_cast<size_t>(parts.size(self->rank())), static_cast<uint8_t>(self->rank() + 1)) {}
  Request* post(Rank& self, int64_t timeout_ns = -1) {
    return self->all_gather(in.data(), parts.bytes.data(), parts.parts.data(), Call(0, timeout_ns));
  }
  bool filled() {
    for (size_t rank = 0; rank < parts.parts.size(); ++rank)
      for (int64_t i = 0; i < parts.parts[rank].bytes; ++i)
        if (parts.at(static_cast<int>(rank))[i] != rank + 1) return false;
    return true;
  }
  conformance::Parts parts;
  std::vector<uint8_t> in;
};

}  // namespace

#define ONEBIT_RUN(name)                                                            \
  TEST_CASE("threads: " #name) {                                                    \
    for (int ranks = 1; ranks <= 8; ++ranks) run(ranks, onebit::conformance::name); \
  }
ONEBIT_COMMUNICATOR_CASES(ONEBIT_RUN)

TEST_CASE("threads: a rank is not held up by a peer that computes before it waits") {
  std::atomic<bool> posted{false}, done{false};
  run(2, [&](Rank& self) {
    Gather large(self, 3'000'000), small(self, 32);
    Request* first = large.post(self);
    Request* second = small.post(self);
    if (self->rank() == 0) {
      posted = true;
      wait_for(done);  // rank 0 computes until rank 1 has everything
    } else {
      wait_for(posted);
    }
    self->wait(first);
    self->wait(second);
    done = true;
    conformance::require(large.filled() && small.filled(), "bytes are missing");
  });
}

TEST_CASE("threads: a step allocates nothing" * doctest::skip(!test::allocations_are_counted)) {
  constexpr int kRanks = 3;
  std::atomic<int64_t> before{0}, after{-1};
  const int64_t at_start = test::allocations();
  run(kRanks, [&](Rank& self) {
    Gather large(self, 100'000), small(self, 32);
    conformance::Parts in(kRanks, [](int) { return 50'000; }), out(kRanks, [](int) { return 50'000; });
    Vector<float> io(std::vector<float>(70'000, 1));
    const auto step = [&] {
      Request* requests[12];
      for (int i = 0; i < 12; i += 4) {
        requests[i] = large.post(self);
        requests[i + 1] = self->all_to_all(in.bytes.data(), in.parts.data(), out.bytes.data(), out.parts.data(), Call());
        requests[i + 2] = small.post(self);
        requests[i + 3] = self->all_reduce(io.tensor, io.tensor, ReduceOp::avg, Call());
      }
      for (Request* request : requests) self->wait(request);
      self->barrier(Call());
    };
    for (int i = 0; i < 3; ++i) step();
    before = test::allocations();
    self->barrier(Call());
    for (int i = 0; i < 20; ++i) step();
    self->barrier(Call());
    if (self->rank() == 0) after = test::allocations();
    self->barrier(Call());
  });
  CHECK(before > at_start);  // the counter sees what the plugin allocates
  CHECK(after - before == 0);
}

TEST_CASE("threads: a rank that runs far ahead makes more operations, and none is lost") {
  constexpr size_t kAhead = 100;
  std::atomic<bool> posted{false};
  run(3, [&](Rank& self) {
    std::vector<Gather> gathers(kAhead, Gather(self, 40));
    std::vector<Request*> requests;
    if (self->rank() == 2) wait_for(posted);
    for (Gather& gather : gathers) requests.push_back(gather.post(self));
    posted = true;
    for (size_t i = kAhead; i-- > 0;) {
      self->wait(requests[i]);
      conformance::require(gathers[i].filled(), "bytes are missing");
    }
  });
}

// Long enough to copy that a rank which goes, or aborts, does so in the middle of it; and when freed, unmapped: a late copy
// crashes.
constexpr int64_t kLong = 16'000'000;

TEST_CASE("threads: a rank may go with requests in flight, and its buffers with it") {
  for (int round = 0; round < 10; ++round) {
    std::atomic<int> posted{0};
    run(3, [&](Rank& self) {
      auto gather = std::make_unique<Gather>(self, kLong, 1);
      if (self->rank() == 1) {
        gather->post(self);
        while (posted < 2) std::this_thread::yield();
        std::this_thread::sleep_for(std::chrono::microseconds(round * 200));
        self.reset();
        gather.reset();
        return;
      }
      try {
        Request* request = gather->post(self);
        ++posted;
        self->wait(request);
        conformance::require(gather->filled(), "complete, but bytes are missing");
      } catch (const Error& e) {
        conformance::require(e.code() == Code::peer_failed, e.what());
      }
    });
  }
}

TEST_CASE("threads: a rank may abort while copies run, and all buffers go at once") {
  for (int round = 0; round < 10; ++round) {
    std::atomic<int> posted{0};
    run(3, [&](Rank& self) {
      auto gather = std::make_unique<Gather>(self, kLong, 1);
      Request* request = gather->post(self);
      ++posted;
      std::thread other([&] {
        if (self->rank() != 1) return;
        while (posted < 3) std::this_thread::yield();
        std::this_thread::sleep_for(std::chrono::microseconds(round * 200));
        self->abort("enough");
      });
      std::string text;
      try {
        self->wait(request);
      } catch (const Error& e) {
        if (e.code() != Code::aborted) text = e.what();
      }
      gather.reset();
      other.join();
      conformance::require(text.empty(), text);
    });
  }
}

TEST_CASE("threads: what is complete stays complete when a peer has gone") {
  std::atomic<bool> gone{false};
  run(2, [&](Rank& self) {
    Gather gather(self, 100'000);
    Request* request = gather.post(self);
    if (self->rank() == 1) {
      self->wait(request);
      self.reset();
      gone = true;
    } else {
      wait_for(gone);
      self->wait(request);
      conformance::require(gather.filled(), "bytes are missing");
    }
  });
}

TEST_CASE("threads: a mismatch ends its operation, not the communicator") {
  run(3, [](Rank& self) {
    conformance::error_of("another tag", [&] { self->barrier(Call(self->rank() == 1 ? 5 : 4)); });
    Gather gather(self, 64);
    self->wait(gather.post(self));
    conformance::require(gather.filled(), "bytes are missing");
  });
}

TEST_CASE("threads: the words of its errors") {
  LocalRendezvous rendezvous(3);
  std::string mismatch, timeout, late, aborted, destroyed;
  const std::vector<std::string> texts = outcomes(3, [&](int rank) {
    Rank self = make(rendezvous.at(rank));
    const auto part = [&](auto&& f) {
      Rank split = self->split(0, rank);
      f(split);
      self->barrier(Call());
    };
    part([&](Rank& ranks) {
      const Error e = conformance::error_of("tags", [&] {
        ranks->barrier(Call());
        ranks->barrier(Call(rank == 0 ? 1 : 2));
      });
      if (rank == 0) mismatch = e.what();
    });
    part([&](Rank& ranks) {
      Gather gather(ranks, 8);
      if (rank == 0) timeout = conformance::error_of("timeout", [&] { ranks->wait(gather.post(ranks, 20'000'000)); }).what();
      self->barrier(Call());
      if (rank == 1) late = conformance::error_of("late", [&] { ranks->barrier(Call()); }).what();
    });
    part([&](Rank& ranks) {
      if (rank == 2) ranks->abort("no more data");
      const Error e = conformance::error_of("abort", [&] { ranks->barrier(Call()); });
      if (rank == 0) aborted = e.what();
    });
    part([&](Rank& ranks) {
      if (rank == 2) return ranks.reset();
      const Error e = conformance::error_of("destroy", [&] { ranks->barrier(Call()); });
      if (rank == 1) destroyed = e.what();
    });
  });
  for (const std::string& text : texts) CHECK(text == "");
  const std::string who = "communicator 'threads': ";
  CHECK(mismatch.find(who + "barrier (operation 2) on rank 0 of 3: rank ") == 0);
  CHECK(mismatch.find("every rank must issue the same collectives, in the same order and with matching sizes") !=
        mismatch.npos);
  const std::string waited = "rank 0 waited 0.02 s in all_gather (operation 1) for ranks 1, 2, which did not arrive";
  CHECK(timeout == who + "all_gather (operation 1) on rank 0 of 3: " + waited);
  CHECK(late == who + "barrier (operation 1) on rank 1 of 3: " + waited);
  CHECK(aborted.find(" on rank 0 of 3: aborted by rank 2: no more data") != aborted.npos);
  CHECK(destroyed.find(" on rank 1 of 3: rank 2 has destroyed its communicator") != destroyed.npos);
}

TEST_CASE("threads: arguments that can't be right are refused") {
  run(1, [](Rank& self) {
    std::vector<uint8_t> buffer(64);
    const auto refused = [&](const char* expected, const std::function<Request*()>& f) {
      const Error e = conformance::error_of(expected, [&] { self->wait(f()); });
      conformance::require(e.code() == Code::invalid_argument, e.what());
      conformance::require_text(e, expected);
    };
    const Part far = {INT64_MAX, 1}, whole = {0, 16}, shifted = {8, 16};
    refused("ends beyond all memory", [&] { return self->all_gather(buffer.data(), buffer.data(), &far, Call()); });
    refused("the buffer is NULL", [&] { return self->all_gather(buffer.data(), nullptr, &whole, Call()); });
    refused("in is NULL", [&] { return self->all_gather(nullptr, buffer.data(), &whole, Call()); });
    refused("in overlaps out_parts[0]", [&] { return self->all_gather(buffer.data() + 4, buffer.data(), &whole, Call()); });
    refused("in_parts[0] and out_parts[0] overlap",
            [&] { return self->all_to_all(buffer.data(), &whole, buffer.data(), &shifted, Call()); });
    Vector<float> a(std::vector<float>(8)), b(std::vector<float>(9));
    refused("in has 8 elements", [&] { return self->all_reduce(a.tensor, b.tensor, ReduceOp::sum, Call()); });
    refused("root is 1", [&] { return self->broadcast(a.tensor, 1, Call()); });
    a.stride = 2;
    refused("not contiguous", [&] { return self->broadcast(a.tensor, 0, Call()); });
    b.extent = -1;
    refused("negative extent", [&] { return self->broadcast(b.tensor, 0, Call()); });
    refused("not one of this communicator", []() -> Request* { return nullptr; });
    Gather gather(self, 8);
    Request* request = gather.post(self);
    self->wait(request);
    refused("given back already", [&] { return request; });
  });
}

TEST_CASE("threads: parts that overlap are refused") {
  run(2, [](Rank& self) {
    std::vector<uint8_t> in(16), out(64);
    const Part parts[] = {{8, 16}, {0, 16}};
    const Error e =
        conformance::error_of("overlap", [&] { self->wait(self->all_gather(in.data(), out.data(), parts, Call())); });
    conformance::require_text(e, "out_parts[0] and out_parts[1] overlap");
  });
}

TEST_CASE("threads: integer sums wrap, averages are exact, NaN is not lost") {
  run(3, [](Rank& self) {
    const int rank = self->rank();
    Vector<uint8_t> bytes({250, 250});
    self->wait(self->all_reduce(bytes.tensor, bytes.tensor, ReduceOp::avg, Call()));
    conformance::require(bytes.values[0] == 250, "the average of bytes overflowed");
    Vector<int64_t> wide({INT64_MAX, INT64_MIN + rank});
    self->wait(self->all_reduce(wide.tensor, wide.tensor, ReduceOp::sum, Call()));
    conformance::require(wide.values[0] == INT64_MAX - 2, "sums of 64 bits don't wrap");
    for (ReduceOp op : {ReduceOp::min, ReduceOp::max}) {
      Vector<float> real(std::vector<float>(3, 1.0f));
      real.values[static_cast<size_t>(rank)] = std::numeric_limits<float>::quiet_NaN();
      self->wait(self->all_reduce(real.tensor, real.tensor, op, Call()));
      for (float v : real.values) conformance::require(std::isnan(v), "a NaN was lost");
    }
  });
}

TEST_CASE("threads: create names the ranks that did not come") {
  LocalRendezvous rendezvous(4), headless(2);
  std::vector<std::string> texts = outcomes(2, [&](int rank) { make(rendezvous.at(rank), 0.5); });
  for (const std::string& text : texts) {
    CHECK(text.find("communicator 'threads': create on rank ") == 0);
    CHECK(text.find("ranks 2, 3, which did not arrive") != text.npos);
  }
  texts = outcomes(1, [&](int) { make(headless.at(1), 0.05); });
  CHECK(texts[0] ==
        "communicator 'threads': create on rank 1 of 2: waited 0.05 s for rank 0, which did not arrive (if it may take longer, "
        "raise communicator.timeout)");
}

TEST_CASE("threads: ranks that expect other numbers of ranks do not form a group") {
  LocalRendezvous rendezvous(3);
  onebit_rendezvous fewer = rendezvous.at(1);
  fewer.size = 2;
  const std::vector<std::string> texts = outcomes(2, [&](int rank) { make(rank == 0 ? rendezvous.at(0) : fewer, 0.5); });
  CHECK(texts[0].find("ranks 1, 2, which did not arrive") != texts[0].npos);
  CHECK(texts[1] == "communicator 'threads': create on rank 1: rank 0 expects 3 ranks, this one 2");
}

TEST_CASE("threads: many groups at once, and one rendezvous again and again") {
  constexpr int kGroups = 6, kRanks = 3;
  std::vector<std::unique_ptr<LocalRendezvous>> groups;
  for (int i = 0; i < kGroups; ++i) groups.push_back(std::make_unique<LocalRendezvous>(kRanks));
  const std::vector<std::string> texts = outcomes(kGroups * kRanks, [&](int thread) {
    const int group = thread / kRanks, rank = thread % kRanks;
    for (int again = 0; again < 30; ++again) {
      Rank self = make(groups[static_cast<size_t>(group)]->at(rank));
      Vector<int32_t> io({group * 1000 + again});
      self->wait(self->all_reduce(io.tensor, io.tensor, ReduceOp::sum, Call()));
      conformance::require(io.values[0] == kRanks * (group * 1000 + again), "groups were mixed");
    }
  });
  for (const std::string& text : texts) CHECK(text == "");
}

TEST_CASE("threads: a rendezvous that keeps nothing for them is of processes, and the error says what to select") {
  for (const int rank : {0, 1}) {
    const onebit_rendezvous of_processes = {sizeof(onebit_rendezvous),
                                            rank,
                                            2,
                                            rank,
                                            2,
                                            nullptr,
                                            [](void*, onebit_str, const void*, size_t, onebit_error* err) {
                                              return detail::fill(err, ONEBIT_UNSUPPORTED, "no store");
                                            },
                                            [](void*, onebit_str, void*, size_t, size_t*, int64_t, onebit_error* err) {
                                              return detail::fill(err, ONEBIT_UNSUPPORTED, "no store");
                                            }};
    const std::string said = outcomes(1, [&](int) { make(of_processes); })[0];
    CHECK_MESSAGE(said.find("\"mpi\"; 2 threads of one process take an onebit::LocalRendezvous") != std::string::npos, said);
  }
}

TEST_CASE("threads: a rank that lives may take longer than the timeout, but not than the stall, which the error names") {
  LocalRendezvous rendezvous(2);
  std::atomic<bool> told{false};
  const std::vector<std::string> texts = outcomes(2, [&](int rank) {
    Rank self = make_with(rendezvous.at(rank), "timeout = 10\nstall = 0.3");
    const auto wait_for_rank_0 = [&] {
      while (rank == 1 && !told) std::this_thread::sleep_for(1ms);
    };
    wait_for_rank_0();
    std::string text;
    try {
      self->barrier(Call());
    } catch (const Error& e) {
      text = e.what();
    }
    told = true;
    conformance::require(
        text.find("rank 0 waited 0.3 s in barrier (operation 1) for rank 1, which did not arrive, though alive "
                  "(if it may take longer, raise communicator.stall; 0: no limit)") != text.npos,
        "other words: " + text);
  });
  for (const std::string& text : texts) CHECK(text == "");
  LocalRendezvous patient(2);
  for (const std::string& text : outcomes(2, [&](int rank) {
         Rank self = make_with(patient.at(rank), "timeout = 3\nstall = 0");
         if (rank == 1) std::this_thread::sleep_for(5s);
         self->barrier(Call());
       }))
    CHECK(text == "");
}
