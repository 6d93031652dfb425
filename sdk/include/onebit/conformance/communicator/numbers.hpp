// SPDX-License-Identifier: Apache-2.0
// Cases of all_reduce, for every size, type and operation, in the order of ranks.
#pragma once

#include "onebit/conformance/communicator/data.hpp"

namespace onebit::conformance {

inline void rank_and_size(Rank& self) {
  require(self->rank() >= 0 && self->rank() < self->size(), "rank is out of range");
  uint32_t mine = static_cast<uint32_t>(self->rank());
  std::vector<uint32_t> all(static_cast<size_t>(self->size()));
  Parts places(self->size(), [](int) { return 4; });
  for (int r = 0; r < self->size(); ++r) places.parts[static_cast<size_t>(r)].offset = 4 * r;
  finish(self, self->all_gather(&mine, all.data(), places.parts.data(), Call()));
  for (int r = 0; r < self->size(); ++r)
    require(all[static_cast<size_t>(r)] == static_cast<uint32_t>(r), "ranks are not 0 to n-1");
}

inline void all_reduce_sizes(Rank& self) {
  for (int64_t count : sizes()) check_reduction<float>(self, ReduceOp::sum, count, false);
}
template <class T>
void all_reduce_type(Rank& self) {
  for (ReduceOp op : {ReduceOp::sum, ReduceOp::avg, ReduceOp::min, ReduceOp::max})
    for (int64_t count : {0, 1, 7, 1000, 3001}) check_reduction<T>(self, op, count, false);
}
inline void all_reduce_types(Rank& self) {
  all_reduce_type<float>(self);
  all_reduce_type<double>(self);
  all_reduce_type<int32_t>(self);
  all_reduce_type<int64_t>(self);
  all_reduce_type<uint8_t>(self);
}
inline void all_reduce_in_place(Rank& self) {
  for (int64_t count : sizes()) check_reduction<float>(self, ReduceOp::avg, count, true);
}

// Large, small, minus large: only the order of ranks gives these bits.
inline void all_reduce_order(Rank& self) {
  const float by_rank[] = {1e8f, 1.0f, -1e8f, 3.0f, 1e-3f, 7e7f, -7e7f, 0.5f};
  const auto value = [&](int rank) { return by_rank[rank % 8]; };
  float expected = value(0);
  for (int rank = 1; rank < self->size(); ++rank) expected += value(rank);
  Vector<float> io(std::vector<float>(100, value(self->rank())));
  finish(self, self->all_reduce(io.tensor, io.tensor, ReduceOp::sum, Call()));
  for (float found : io.values) require(found == expected, "all_reduce did not add in the order of ranks");
}

}  // namespace onebit::conformance
