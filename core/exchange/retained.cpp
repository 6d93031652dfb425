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
  restored_ = Buffer();
}

void Retained::forget() {
  for (Store& store : stores_) store = Store();
  kind_.reset();
  restored_ = Buffer();
}

void Retained::begin_with(RoundKind kind) {
  forget();
  prepare(kind);
  kind_ = kind;
}

float* Retained::begin_restored() {
  forget();
  restored_ = Buffer(meter_, static_cast<size_t>(layout_.flat) * sizeof(float));
  return restored();
}

uint64_t Retained::bytes() const {
  uint64_t total = restored_.size();
  for (const Store& store : stores_)
    for (const auto* buffers : {&store.current, &store.next})
      for (const Buffer& buffer : *buffers) total += buffer.size();
  return total;
}

}  // namespace onebit
