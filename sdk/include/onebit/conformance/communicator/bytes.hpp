// SPDX-License-Identifier: Apache-2.0
// Cases of what moves bytes: all_gather, all_to_all, broadcast; and of barrier and test.
#pragma once

#include <chrono>
#include <thread>

#include "onebit/conformance/communicator/data.hpp"

namespace onebit::conformance {

template <class Size>
void check_gather(Rank& self, Size size, bool in_place) {
  const int me = self->rank();
  Parts out(self->size(), size);
  std::vector<uint8_t> apart(pattern(me, 0), pattern(me, 0) + size(me));
  if (in_place) out.fill(me, pattern(me, 0));
  finish(self, self->all_gather(in_place ? out.at(me) : apart.data(), out.bytes.data(), out.parts.data(), Call()));
  for (int rank = 0; rank < self->size(); ++rank) out.check(rank, pattern(rank, 0), "all_gather");
  out.check_gaps("all_gather");
}
inline int64_t uneven(int source, int destination) {
  return (source * 977 + destination * 3001) % 4 == 0 ? 0 : 100 * source + destination * 7 + 1;
}

inline void all_gather_sizes(Rank& self) {
  for (int64_t size : sizes())
    check_gather(
        self, [size](int) { return size; }, false);
}
inline void all_gather_uneven(Rank& self) {
  check_gather(
      self, [](int rank) { return uneven(rank, 3); }, false);
  check_gather(
      self, [](int rank) { return rank == 0 ? int64_t{2'500'000} / 4 : int64_t{0}; }, false);
}
inline void all_gather_in_place(Rank& self) {
  for (int64_t size : sizes())
    check_gather(
        self, [size](int) { return size; }, true);
  check_gather(
      self, [](int rank) { return uneven(rank, 1); }, true);
}

template <class Size>
void check_exchange(Rank& self, Size size) {
  const int me = self->rank();
  Parts in(self->size(), [&](int destination) { return size(me, destination); });
  Parts out(self->size(), [&](int source) { return size(source, me); });
  for (int destination = 0; destination < self->size(); ++destination) in.fill(destination, pattern(me, destination));
  finish(self, self->all_to_all(in.bytes.data(), in.parts.data(), out.bytes.data(), out.parts.data(), Call()));
  for (int source = 0; source < self->size(); ++source) out.check(source, pattern(source, me), "all_to_all");
  out.check_gaps("all_to_all");
  for (int destination = 0; destination < self->size(); ++destination)
    in.check(destination, pattern(me, destination), "the input of all_to_all");
}
inline void all_to_all_sizes(Rank& self) {
  for (int64_t size : sizes()) check_exchange(self, [size](int, int) { return size; });
}
inline void all_to_all_uneven(Rank& self) {
  check_exchange(self, uneven);
  check_exchange(self,
                 [](int source, int destination) { return source == 0 && destination > 0 ? int64_t{70'001} : int64_t{0}; });
}

inline void broadcast_every_root(Rank& self) {
  for (int root = 0; root < self->size(); ++root)
    for (int64_t count : sizes()) {
      if (count > 1000 && root != self->size() - 1) continue;
      Vector<float> io(self->rank() == root ? elements<float>(root, count)
                                            : std::vector<float>(static_cast<size_t>(count), -5));
      finish(self, self->broadcast(io.tensor, root, Call()));
      require(io.values == elements<float>(root, count),
              "broadcast of " + std::to_string(count) + " elements has other values");
    }
}

// Of one clock for all ranks of a machine.
inline int64_t clock_now() { return std::chrono::steady_clock::now().time_since_epoch().count(); }

// Two times of every rank, to every rank.
inline std::vector<int64_t> times_of_all(Rank& self, const int64_t (&own)[2]) {
  Parts places(self->size(), [](int) { return 16; });
  for (int r = 0; r < self->size(); ++r) places.parts[static_cast<size_t>(r)].offset = 16 * r;
  std::vector<int64_t> all(static_cast<size_t>(self->size()) * 2);
  finish(self, self->all_gather(own, all.data(), places.parts.data(), Call()));
  return all;
}
// None of the second times is before one of the first.
inline void require_order(const std::vector<int64_t>& times, const char* unmet) {
  for (size_t a = 0; a < times.size(); a += 2)
    for (size_t b = 1; b < times.size(); b += 2) require(times[a] <= times[b], unmet);
}

// No rank leaves a barrier before the last has come to it.
inline void barrier_holds(Rank& self) {
  for (int round = 0; round < 3; ++round) {
    if ((self->rank() + round) % 3 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
    int64_t times[2] = {clock_now(), 0};
    self->barrier(Call(static_cast<uint64_t>(round)));
    times[1] = clock_now();
    require_order(times_of_all(self, times), "a rank left the barrier before another came");
  }
}

// A sum is not done before the last rank has brought its part.
inline void test_until_done(Rank& self) {
  Vector<float> io(elements<float>(self->rank(), 1000));
  const GoFirst guard(self);
  if (self->rank() == self->size() - 1) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  int64_t times[2] = {clock_now(), 0};
  Request* request = self->all_reduce(io.tensor, io.tensor, ReduceOp::sum, Call());
  while (!self->test(request)) std::this_thread::yield();
  times[1] = clock_now();
  require(self->test(request), "a request that was done is not done any more");
  self->wait(request);
  require(io.values == reduced<float>(ReduceOp::sum, self->size(), 1000), "test answered true, and the sum is another");
  require_order(times_of_all(self, times), "test answered true before another rank had brought its part");
}

}  // namespace onebit::conformance
