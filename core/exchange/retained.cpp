// SPDX-License-Identifier: Apache-2.0
#include "exchange/retained.hpp"

#include <utility>

namespace onebit {

void Retained::prepare(RoundKind kind) {
  Store& store = stores_[index(kind)];
  if (store.next.size() == layout_.buckets.size()) return;
  for (const Bucket& bucket : layout_.buckets) {
    const auto bytes = static_cast<size_t>((kind == RoundKind::dense ? bucket.dense : bucket.compressed).bytes);
    store.current.emplace_back(meter_, bytes);
    store.next.emplace_back(meter_, bytes);
  }
}

void Retained::commit(RoundKind kind) {
  if (kind_ && *kind_ != kind) stores_[index(*kind_)] = Store();
  Store& store = stores_[index(kind)];
  std::swap(store.current, store.next);
  kind_ = kind;
}

uint64_t Retained::bytes() const {
  uint64_t total = 0;
  for (const Store& store : stores_)
    for (const auto* buffers : {&store.current, &store.next})
      for (const Buffer& buffer : *buffers) total += buffer.size();
  return total;
}

}  // namespace onebit
