// SPDX-License-Identifier: Apache-2.0
// The communicator `nccl`, loaded as the plugin that it is, over the emulated CUDA runtime and a library that stands in for
// NCCL: the cases of every communicator, and what is its own: streams, bits, memory. What goes wrong is in
// nccl_failures_test.cpp.
#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <random>

#include "nccl_on_cpu/control.hpp"
#include "nccl_on_cpu/nccl_ranks.hpp"

namespace {

using namespace onebit;
using namespace onebit::test;
using conformance::Rank;
using conformance::require;
using conformance::Vector;

}  // namespace

#define ONEBIT_RUN(name)                                                     \
  TEST_CASE("nccl: " #name) {                                                \
    for (int ranks : {1, 2, 3, 5, 8}) run(ranks, onebit::conformance::name); \
    CHECK(nccl_on_cpu_alive() == 0);                                         \
  }
ONEBIT_COMMUNICATOR_CASES(ONEBIT_RUN)

TEST_CASE("nccl: all_reduce has the bits of the threads communicator") {
  constexpr int kRanks = 4;
  constexpr int64_t kCount = 10'007;
  LocalRendezvous on_device(kRanks), on_host(kRanks);
  const auto texts = outcomes(kRanks, [&](int rank) {
    Rank self = make(on_device.at(rank)), threads = make("threads", on_host.at(rank), "timeout = 20");
    for (ReduceOp op : {ReduceOp::sum, ReduceOp::avg, ReduceOp::min, ReduceOp::max}) {
      std::mt19937 random(static_cast<unsigned>(rank) + 1);
      std::vector<float> values(kCount);
      for (float& v : values) v = std::ldexp(static_cast<float>(random()) - 2e9f, static_cast<int>(random() % 60) - 60);
      Vector<float> there(values), here(values);
      self->wait(self->all_reduce(there.tensor, there.tensor, op, Call()));
      threads->wait(threads->all_reduce(here.tensor, here.tensor, op, Call()));
      const auto same_bits = [](float x, float y) { return std::bit_cast<uint32_t>(x) == std::bit_cast<uint32_t>(y); };
      require(std::equal(there.values.begin(), there.values.end(), here.values.begin(), same_bits), "other bits");
    }
  });
  for (const std::string& text : texts) CHECK(text == "");
}

TEST_CASE("nccl: wait holds up the stream, and not the host") {
  run(2, [](Rank& self) {
    Sum sum(self, 1000);
    Communicator& inner = device(self).inner();
    inner.wait(sum.post());  // now all know the signature
    Gate gate(device(self).stream_of());
    Request* request = sum.post();
    require(!inner.test(request), "done before its stream came to it");
    inner.wait(request);
    Request* next = sum.post();
    inner.wait(next);
    require(cudaStreamQuery(device(self).stream_of()) == cudaErrorNotReady, "the stream went on");
    gate.open();
    require(sum.is(12), "a sum came too early, or not at all");  // 1 + 2; 3 + 3; 6 + 6
  });
}

TEST_CASE("nccl: what was waited for is finished when the communicator goes") {
  LocalRendezvous rendezvous(3);
  const auto texts = outcomes(3, [&](int rank) {
    Rank self = make(rendezvous.at(rank));
    Sum sum(self, 100'000);
    Rank part = self->split(0, 0);
    DeviceRank& on = device(part);
    on.inner().wait(sum.post(on.inner()));
    if (rank == 1) std::this_thread::sleep_for(3ms);
    part.reset();
    require(sum.is(6), "bytes are missing");
  });
  for (const std::string& text : texts) CHECK(text == "");
}

TEST_CASE("nccl: a rank that runs far ahead is waited for, and nothing is lost") {
  constexpr int kAhead = 300;
  std::atomic<bool> posted{false};
  run(2, [&](Rank& self) {
    Sum sum(self, 10);
    Communicator& inner = device(self).inner();
    inner.wait(sum.post());
    while (self->rank() == 1 && !posted) std::this_thread::sleep_for(100us);
    std::vector<Request*> requests;
    for (int i = 0; i < kAhead; ++i) requests.push_back(sum.post());
    posted = true;
    for (Request* request : requests) follow(inner, request), inner.wait(request);
    require(sum.is(std::numeric_limits<float>::infinity()), "a sum is missing");
  });
}

TEST_CASE("nccl: a step makes no memory, stream or event of the device's") {
  LocalRendezvous rendezvous(3);
  std::atomic<int64_t> events{0}, streams{0}, blocks{0};
  const auto texts = outcomes(3, [&](int rank) {
    Rank self = make(rendezvous.at(rank));
    Sum sum(self, 10'000), small(self, 7);
    const auto step = [&] {
      Communicator& inner = device(self).inner();
      Request* requests[] = {sum.post(), small.post(), sum.post()};
      for (Request* request : requests) inner.wait(request);
      device(self).own_stream().finish();
      self->barrier(Call());
    };
    for (int i = 0; i < 5; ++i) step();
    const auto note = [&](int sign) {
      if (rank != 0) return;
      const cuda_on_cpu::Counters now = cuda_on_cpu::counters();
      events += sign * now.events, streams += sign * now.streams, blocks += sign * now.device_allocations;
    };
    note(-1);
    self->barrier(Call());
    for (int i = 0; i < 20; ++i) step();
    note(1);
    self->barrier(Call());
  });
  for (const std::string& text : texts) CHECK(text == "");
  CHECK(events == 0);
  CHECK(streams == 0);
  CHECK(blocks == 0);
}

TEST_CASE("nccl: equal parts are gathered by NCCL's own, others by sends") {
  run(3, [](Rank& self) {
    const int gathers = nccl_on_cpu_gathers(), sends = nccl_on_cpu_sends();
    conformance::check_gather(
        self, [](int) { return 64; }, false);
    self->barrier(Call());
    require(nccl_on_cpu_gathers() > gathers && nccl_on_cpu_sends() == sends, "equal parts were sent one by one");
    self->barrier(Call());
    conformance::check_gather(
        self, [](int rank) { return 64 + rank; }, false);
    self->barrier(Call());
    require(nccl_on_cpu_sends() > sends, "other parts were not sent one by one");
  });
}
