// SPDX-License-Identifier: Apache-2.0
// Steps that begin before their gradients are there, where these are in device memory: the bits of steps on the CPU that had
// all of them at once.
#include <doctest/doctest.h>

#include <algorithm>
#include <barrier>
#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>

#include "cuda_on_cpu/control.hpp"
#include "device_cases.hpp"
#include "device_sessions.hpp"
#include "nccl_on_cpu/control.hpp"

namespace onebit::test {
namespace {

// Tensor 1: no rank in some steps, rank 0 alone in others; tensor 3: sometimes the last rank alone.
bool gives(int step, int rank, size_t tensor) {
  if (tensor == 1) return step % 7 != 1 && (step % 7 != 2 || rank == 0);
  return tensor != 3 || step % 5 != 2 || rank != 0;
}

struct Outcome : DeviceOutcome {
  uint64_t agreement_bytes = 0;  // of rank 0
};

Outcome at_once_on_cpu(const DeviceCase& run) {
  Outcome outcome;
  outcome.parameters = run_sessions(run.ranks, run.manifest("cpu"), initial_of(run), [&](Rank rank) {
    for (int step = 0; step < run.steps; ++step) {
      const Tensors gradients = gradients_of(run, step, rank.number);
      std::vector<const float*> given = pointers(gradients);
      for (size_t t = 0; t < given.size(); ++t)
        if (!gives(step, rank.number, t)) given[t] = nullptr;
      const StepReport report = rank.session.step(given);
      if (rank.number == 0) outcome.reports.push_back(report);
    }
    if (rank.number == 0) outcome.agreement_bytes = rank.session.traffic().agreement_bytes;
  });
  return outcome;
}

DeviceCase small_buckets(const std::string& keys, const std::string& session) {
  return {
      "",
      2,
      "[optimizer]\nplugin = \"onebit_adam\"\n" + keys + "[compressor]\nplugin = \"onebit\"\n[exchange]\nbucket_bytes = 4096\n",
      session,
      0,
      -1,
      true};
}

// Gradients come last to first, in two streams in turn, in which they are still on their way when they are announced.
Outcome early_on_device(const DeviceCase& run) {
  Outcome outcome;
  outcome.parameters = run_device_sessions(run.ranks, run.manifest("cuda"), initial_of(run), [&](DeviceRank rank) {
    const TestStream first, second;
    const cudaStream_t streams[] = {first, second};
    std::vector<Tensors> values;
    for (int step = 0; step < run.steps; ++step) values.push_back(gradients_of(run, step, rank.number));
    for (int step = 0; step < run.steps; ++step) {
      rank.session.begin(rank.stream);
      for (size_t k = initial_of(run).size(); k-- > 0;) {
        const size_t t = step % 3 == 1 ? initial_of(run).size() - 1 - k : k;
        if (!gives(step, rank.number, t)) continue;
        const std::vector<float>& from = values[static_cast<size_t>(step)][t];
        const float* const to = rank.gradients.pointers()[t];
        const cudaStream_t stream = streams[t % 2];
        if (cudaMemcpyAsync(const_cast<float*>(to), from.data(), from.size() * sizeof(float), cudaMemcpyHostToDevice, stream) !=
            cudaSuccess)
          throw std::runtime_error("no copy");
        rank.session.ready(t, to, nullptr, stream);
      }
      rank.session.step();
      const StepReport report = rank.session.settle();  // gradients may change again
      if (rank.number == 0) outcome.reports.push_back(report);
    }
    if (!rank.parameters.intact()) throw std::runtime_error("written beyond a tensor");
    if (rank.number == 0) outcome.agreement_bytes = rank.session.traffic().agreement_bytes;
  });
  return outcome;
}

}  // namespace

TEST_CASE("cuda session: steps that begin before their gradients are there have the bits of the CPU") {
  for (const DeviceCase& run : early_cases()) {
#ifdef ONEBIT_SANITIZED  // four ranks take the same paths
    if (run.ranks > 2) continue;
#endif
    CAPTURE(run.name);
    const Outcome cpu = at_once_on_cpu(run), cuda = early_on_device(run);
    const bool begins = run.ranks > 1 && run.session.find("clip_norm") == std::string::npos &&
                        run.tables.find("scale = \"bucket\"") == std::string::npos;
    CHECK((cuda.agreement_bytes > cpu.agreement_bytes) == begins);
    REQUIRE(cpu.reports.size() == cuda.reports.size());
    for (size_t step = 0; step < cpu.reports.size(); ++step) {
      CAPTURE(step);
      CHECK(same(cpu.reports[step], cuda.reports[step]));
      CHECK(cpu.reports[step].absent == cuda.reports[step].absent);
    }
    if (run.broken >= 0 && cpu.count(&StepReport::local) == 0) CHECK(cuda.count(&StepReport::skipped) == 1);
    for (size_t rank = 0; rank < cpu.parameters.size(); ++rank) CHECK(same(cpu.parameters[rank], cuda.parameters[rank]));
  }
}

TEST_CASE("cuda session: the first bucket is sent while the last gradient is still to come, and only with overlap") {
  for (const bool overlap : {true, false}) {
    const DeviceCase run = small_buckets("freeze_step = 1\n", overlap ? "" : "overlap = false\n");
    std::barrier<> meeting(2);
    run_device_sessions(2, run.manifest("cuda"), initial_of(run), [&](DeviceRank rank) {
      for (int step = 0; step < 3; ++step) rank.session.step(rank.gradients.pointers(), rank.stream);
      rank.session.settle();
      meeting.arrive_and_wait();
      const int before = nccl_on_cpu_sends();
      meeting.arrive_and_wait();
      const std::vector<const float*> gradients = rank.gradients.pointers();
      rank.session.begin(rank.stream);
      for (size_t t = gradients.size(); t-- > 1;) rank.session.ready(t, gradients[t]);
      const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(overlap ? 60'000 : 200);
      while (nccl_on_cpu_sends() == before && std::chrono::steady_clock::now() < end)
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      const bool was_sent = nccl_on_cpu_sends() > before;
      meeting.arrive_and_wait();
      CHECK(was_sent == overlap);
      rank.session.ready(0, gradients[0]);
      rank.session.step();
      rank.session.settle();
    });
  }
}

TEST_CASE("cuda session: one rank that begins a step, and one that has all gradients at once, are told so") {
  const DeviceCase run = small_buckets("freeze_step = 1\n", "");
  std::vector<std::string> told(2);
  CHECK_THROWS(run_device_sessions(2, run.manifest("cuda"), initial_of(run), [&](DeviceRank rank) {
    const std::vector<const float*> gradients = rank.gradients.pointers();
    try {
      for (int step = 0; step < 3; ++step) rank.session.step(gradients, rank.stream);
      if (rank.number == 1) {
        rank.session.step(gradients, rank.stream);
      } else {
        rank.session.begin(rank.stream);
        for (size_t t = gradients.size(); t-- > 0;) rank.session.ready(t, gradients[t]);
        rank.session.step();
      }
      rank.session.settle();
    } catch (const Error& e) {
      told[static_cast<size_t>(rank.number)] = e.what();
      throw;
    }
  }));
  for (const std::string& text : told)
    CHECK_MESSAGE(
        text.find("step 4 was begun by begin() on rank 0, and by step() with gradients on rank 1") != std::string::npos, text);
}

TEST_CASE("cuda session: steps that begin early allocate nothing, once both stages were seen") {
  const DeviceCase run = small_buckets("freeze_step = 4\n", "");
  run_device_sessions(2, run.manifest("cuda"), initial_of(run), [&](DeviceRank rank) {
    const std::vector<const float*> gradients = rank.gradients.pointers();
    rank.gradients.set(gradients_of(run, 0, rank.number));
    const auto take_step = [&] {
      rank.session.begin(rank.stream);
      for (size_t t = gradients.size(); t-- > 0;) rank.session.ready(t, gradients[t]);
      rank.session.step();
      rank.session.settle();
    };
    for (int step = 0; step < 8; ++step) take_step();
    rank.session.communicator().barrier(Call());
    const cuda_on_cpu::Counters before = cuda_on_cpu::counters();
    rank.session.communicator().barrier(Call());
    take_step();
    rank.session.communicator().barrier(Call());
    const cuda_on_cpu::Counters after = cuda_on_cpu::counters();
    rank.session.communicator().barrier(Call());
    CHECK(after.device_allocations == before.device_allocations);
    CHECK(after.pinned_allocations == before.pinned_allocations);
    CHECK(after.events == before.events);
    CHECK(after.streams == before.streams);
  });
}

}  // namespace onebit::test
