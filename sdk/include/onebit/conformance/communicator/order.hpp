// SPDX-License-Identifier: Apache-2.0
// Cases of many collectives in flight, and of ranks that come at different times.
#pragma once

#include <chrono>
#include <random>
#include <thread>
#include <utility>

#include "onebit/conformance/communicator/data.hpp"

namespace onebit::conformance {

// Forty collectives of three kinds posted at once, and waited for in another order on each rank.
inline void many_in_flight(Rank& self) {
  constexpr int kCount = 40;
  const int me = self->rank(), ranks = self->size();
  const auto size = [](int i) { return [i](int) { return int64_t{i} * 50; }; };
  std::vector<Parts> in, out;
  std::vector<std::unique_ptr<Vector<float>>> vectors;
  for (int i = 0; i < kCount; ++i) {
    in.emplace_back(ranks, size(i));
    out.emplace_back(ranks, size(i));
    for (int rank = 0; rank < ranks; ++rank) in.back().fill(rank, pattern(me, rank + i));
    vectors.push_back(std::make_unique<Vector<float>>(elements<float>(me, i * 20)));
  }
  const GoFirst guard(self);
  std::vector<Request*> requests;
  for (size_t i = 0; i < kCount; ++i) {
    const Call call(i);
    if (i % 3 == 0)
      requests.push_back(
          self->all_to_all(in[i].bytes.data(), in[i].parts.data(), out[i].bytes.data(), out[i].parts.data(), call));
    if (i % 3 == 1) requests.push_back(self->all_gather(in[i].at(0), out[i].bytes.data(), out[i].parts.data(), call));
    if (i % 3 == 2) requests.push_back(self->all_reduce(vectors[i]->tensor, vectors[i]->tensor, ReduceOp::sum, call));
  }
  std::vector<size_t> order(kCount);
  for (size_t i = 0; i < kCount; ++i) order[i] = i;
  std::shuffle(order.begin(), order.end(), std::mt19937(static_cast<unsigned>(me) + 5));
  for (size_t i : order) {
    self->wait(requests[i]);
    const int shift = static_cast<int>(i);
    for (int rank = 0; rank < ranks; ++rank) {
      if (i % 3 == 0) out[i].check(rank, pattern(rank, me + shift), "all_to_all in flight");
      if (i % 3 == 1) out[i].check(rank, pattern(rank, shift), "all_gather in flight");
    }
    if (i % 3 == 2) require(vectors[i]->values == reduced<float>(ReduceOp::sum, ranks, shift * 20), "all_reduce in flight");
  }
}

// Ranks that compute for a while, each at another time, between posting and waiting or before posting.
inline void racing_ranks(Rank& self) {
  std::mt19937 random(static_cast<unsigned>(self->rank()) * 7919 + 1);
  const auto dawdle = [&] {
    if (random() % 4 == 0) std::this_thread::sleep_for(std::chrono::microseconds(random() % 300));
  };
  const int me = self->rank(), ranks = self->size();
  for (int round = 0; round < 100; ++round) {
    const auto size = [round](int source, int destination) { return int64_t{(source + 2 * destination + round) % 97}; };
    Parts in(ranks, [&](int destination) { return size(me, destination); });
    Parts out(ranks, [&](int source) { return size(source, me); });
    Parts all(ranks, [&](int rank) { return int64_t{rank + round}; });
    for (int rank = 0; rank < ranks; ++rank) in.fill(rank, pattern(me, rank + round));
    all.fill(me, pattern(me, round));
    const GoFirst guard(self);
    dawdle();
    Request* first = self->all_to_all(in.bytes.data(), in.parts.data(), out.bytes.data(), out.parts.data(), Call());
    dawdle();
    Request* second = self->all_gather(all.at(me), all.bytes.data(), all.parts.data(), Call());
    dawdle();
    self->wait(random() % 2 == 0 ? std::exchange(first, second) : second);
    dawdle();
    self->wait(first);
    for (int rank = 0; rank < ranks; ++rank) {
      out.check(rank, pattern(rank, me + round), "all_to_all of racing ranks");
      all.check(rank, pattern(rank, round), "all_gather of racing ranks");
    }
  }
}

}  // namespace onebit::conformance
