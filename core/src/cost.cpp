#include "cost.hpp"

#include <algorithm>

#include "agreement.hpp"

namespace onebit {
namespace {

// All-to-all: everything but the own chunk. All-gather: the own chunk to everybody else.
uint64_t sent(const Wire& wire, size_t rank, uint64_t ranks) {
  const auto own = static_cast<uint64_t>(wire.parts[rank].bytes);
  return static_cast<uint64_t>(wire.bytes) - own + own * (ranks - 1);
}

uint64_t most_sent(const Layout& layout, Wire Bucket::*wire) {
  const auto ranks = static_cast<size_t>(layout.options().ranks);
  uint64_t most = 0;
  for (size_t rank = 0; rank < ranks; ++rank) {
    uint64_t bytes = 0;
    for (const Bucket& bucket : layout.buckets) bytes += sent(bucket.*wire, rank, ranks);
    most = std::max(most, bytes);
  }
  return most;
}

uint64_t most_served(const Layout& layout) {
  std::vector<uint64_t> served(static_cast<size_t>(layout.options().ranks));
  for (const Bucket& bucket : layout.buckets)
    for (size_t b = 0; b < bucket.owner.size(); ++b)
      served[static_cast<size_t>(bucket.owner[b])] +=
          static_cast<uint64_t>(layout.blocks[static_cast<size_t>(bucket.first_block) + b].count);
  return *std::max_element(served.begin(), served.end());
}

uint64_t payload(const Layout& layout) {
  uint64_t bytes = 0;
  for (const Bucket& bucket : layout.buckets) bytes += static_cast<uint64_t>(bucket.compressed.bytes);
  return bytes;
}

}  // namespace

Cost price(const Layout& layout, const Rehearsal& plans, const Compressor* compressor) {
  Cost cost;
  cost.parameters = layout.parameters;
  const double each = layout.parameters > 0 ? 1.0 / static_cast<double>(layout.parameters) : 0;
  const auto ranks = static_cast<uint64_t>(layout.options().ranks);
  uint64_t compressed = plans.compressed_state, peak = plans.dense_state;
  if (plans.first_compressed > 0) {
    uint64_t added = plans.retains ? 2 * payload(layout) : 0;
    if (ranks > 1 && compressor->describe().feedback != 0)
      added += sizeof(float) * (static_cast<uint64_t>(layout.flat) + most_served(layout));
    compressed += added;
    peak += added;
    cost.has_compressed_stage = true;
    cost.compressed_traffic = most_sent(layout, &Bucket::compressed);
  }
  cost.dense_state = static_cast<double>(plans.dense_state) * each;
  cost.compressed_state = static_cast<double>(compressed) * each;
  cost.peak_state = static_cast<double>(peak) * each;
  cost.dense_traffic = most_sent(layout, &Bucket::dense);
  cost.agreement_traffic = sizeof(Ballot) * (ranks - 1);
  return cost;
}

}  // namespace onebit
