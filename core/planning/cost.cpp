// SPDX-License-Identifier: Apache-2.0
#include "onebit/cost.hpp"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "device/verdict.hpp"
#include "exchange/exchange.hpp"
#include "planning/rehearsal.hpp"
#include "planning/setup.hpp"
#include "process/float_environment.hpp"

namespace onebit {
namespace {

// All-to-all: everything but the own part. All-gather: the own part to everybody else.
uint64_t sent(const onebit_part* parts, size_t count, size_t mine) {
  uint64_t bytes = 0;
  for (size_t p = 0; p < count; ++p)
    if (p != mine) bytes += static_cast<uint64_t>(parts[p].bytes + parts[mine].bytes);
  return bytes;
}

uint64_t most_sent(const Layout& layout, Wire Bucket::*wire) {
  const auto ranks = static_cast<size_t>(layout.options().ranks), machines = static_cast<size_t>(layout.machines());
  uint64_t most = 0;
  for (size_t rank = 0; rank < ranks; ++rank) {
    uint64_t bytes = 0;
    for (const Bucket& bucket : layout.buckets)
      bytes += sent((bucket.*wire).parts.data() + rank / machines * machines, machines, rank % machines);
    most = std::max(most, bytes);
  }
  return most;
}

// Inside a machine, shards go out as fp32, and come back as they were between machines.
uint64_t most_local(const Layout& layout, Wire Bucket::*wire) {
  const auto locals = static_cast<size_t>(layout.options().locals);
  uint64_t most = 0;
  for (size_t local = 0; local < locals && locals > 1; ++local) {
    uint64_t bytes = 0;
    for (const Bucket& bucket : layout.buckets) {
      bytes += static_cast<uint64_t>(bucket.local.bytes - bucket.local.shards[local].bytes);
      bytes += static_cast<uint64_t>((bucket.*wire).shards[local].bytes) * (locals - 1);
    }
    most = std::max(most, bytes);
  }
  return most;
}

// Of the richest among runs of so many neighbouring chunks.
uint64_t most_elements(const Layout& layout, int chunks) {
  std::vector<uint64_t> elements(static_cast<size_t>(layout.options().ranks / chunks));
  for (const Bucket& bucket : layout.buckets)
    for (size_t b = 0; b < bucket.owner.size(); ++b)
      elements[static_cast<size_t>(bucket.owner[b] / chunks)] +=
          static_cast<uint64_t>(layout.blocks[static_cast<size_t>(bucket.first_block) + b].count);
  return *std::max_element(elements.begin(), elements.end());
}

uint64_t errors(const Layout& layout, WireType type) {
  const bool sharded = layout.options().locals > 1;
  const auto coded = static_cast<uint64_t>(layout.flat - layout.flat_exempt);
  if (coded == 0 && !sharded) return 0;
  return static_cast<uint64_t>(element_bytes(type)) *
         ((sharded ? most_elements(layout, layout.machines()) : coded) + most_elements(layout, 1));
}

uint64_t payload(const Layout& layout) {
  uint64_t bytes = 0;
  for (const Bucket& bucket : layout.buckets) bytes += static_cast<uint64_t>(bucket.compressed.bytes);
  return bytes;
}

// Dense means, as many as there is room for: of which buckets depends on the order in which gradients come.
uint64_t waiting(const Layout& layout, int64_t ahead_bytes) {
  int64_t whole = 0;
  for (const Bucket& bucket : layout.buckets) whole += bucket.dense.bytes;
  return static_cast<uint64_t>(std::clamp<int64_t>(ahead_bytes, 0, whole));
}

// A checkpoint of one stage, in which a rank holds so many bytes of state, `local` of them for itself, and of errors.
void weigh(Cost& cost, const Layout& layout, const Rehearsal& plans, uint64_t state, uint64_t local, uint64_t fed_back,
           WireType type, bool later) {
  const auto ranks = static_cast<uint64_t>(layout.options().ranks);
  const uint64_t flat = sizeof(float) * static_cast<uint64_t>(layout.flat);
  const auto each = static_cast<uint64_t>(element_bytes(type));  // of errors
  const uint64_t served = fed_back > 0 ? each * most_elements(layout, 1) : 0;
  const uint64_t anchor = plans.has_anchor ? flat : 0;  // is the model, beside which ranks then have parameters of their own
  const uint64_t retained = later && plans.retains ? payload(layout) : 0;
  const uint64_t shared = sizeof(float) * static_cast<uint64_t>(layout.parameters) + state - local - anchor + retained;
  const uint64_t own = local + fed_back - served + (later ? anchor : 0);
  const uint64_t served_by_all = fed_back > 0 ? each * static_cast<uint64_t>(layout.coded) : 0;
  cost.checkpoint = std::max(cost.checkpoint, shared + ranks * own + served_by_all);
  cost.checkpoint_of_rank = std::max(cost.checkpoint_of_rank, (shared + ranks - 1) / ranks + own + served);
}

// ahead_bytes: of dense means that wait where steps begin ahead of their gradients; -1: none does.
Cost price(const Layout& layout, const Rehearsal& plans, const Compressor* compressor, const Place& place, int64_t ahead_bytes,
           WireType error_type) {
  Cost cost;
  cost.parameters = layout.parameters;
  cost.compressed_parameters = layout.coded;
  const double each = layout.parameters > 0 ? 1.0 / static_cast<double>(layout.parameters) : 0;
  const auto ranks = static_cast<uint64_t>(layout.options().ranks);
  uint64_t compressed = plans.compressed_state, peak = plans.most_dense;
  uint64_t overlap = waiting(layout, ahead_bytes);  // more, where steps begin ahead
  weigh(cost, layout, plans, plans.dense_state, plans.dense_local, 0, error_type, false);
  if (plans.first_compressed > 0) {
    const uint64_t fed_back = layout.codes() && compressor->describe().feedback != 0 ? errors(layout, error_type) : 0;
    weigh(cost, layout, plans, plans.compressed_state, plans.compressed_local, fed_back, error_type, true);
    const uint64_t added = fed_back + (plans.retains ? 2 * payload(layout) : 0);
    compressed += added;
    peak = std::max(peak, plans.most_compressed + added);
    overlap += fed_back + (plans.retains ? 0 : payload(layout));
    cost.has_compressed_stage = true;
    cost.compressed_traffic = most_sent(layout, &Bucket::compressed);
    cost.compressed_local_traffic = most_local(layout, &Bucket::compressed);
  }
  cost.dense_state = static_cast<double>(plans.dense_state) * each;
  cost.compressed_state = static_cast<double>(compressed) * each;
  cost.peak_state = static_cast<double>(peak) * each;
  cost.overlap_state = ahead_bytes >= 0 ? static_cast<double>(overlap) * each : 0;
  cost.dense_traffic = most_sent(layout, &Bucket::dense);
  cost.dense_local_traffic = most_local(layout, &Bucket::dense);
  if (place.alone()) {  // the rounds themselves run inside the only machine
    std::swap(cost.dense_traffic, cost.dense_local_traffic);
    std::swap(cost.compressed_traffic, cost.compressed_local_traffic);
  }
  const Ballots ballots = {nullptr, 0, words_of(static_cast<int64_t>(layout.elements.size()))};
  cost.agreement_traffic = static_cast<uint64_t>(ballots.stride()) * (ranks - 1);
  return cost;
}

}  // namespace

Cost cost_of(const Registry& registry, const Configuration& configuration, const std::vector<Parameter>& parameters, int ranks,
             int machines) {
  const FloatEnvironment environment;
  if (ranks < 1) throw Error(Code::invalid_argument, "a cost is of at least 1 rank, found " + std::to_string(ranks));
  if (machines == 0 || !hierarchical(configuration)) machines = ranks;
  if (machines < 0 || ranks % machines != 0)
    throw Error(Code::invalid_argument, "a cost is of equally many ranks on every machine, found " + std::to_string(ranks) +
                                            " ranks on " + std::to_string(machines) + " machines");
  const Place place = {0, machines, 0, ranks / machines};
  std::vector<int64_t> elements;
  for (const Parameter& parameter : parameters) {
    elements.push_back(1);
    for (const int64_t extent : parameter.shape) elements.back() *= extent;
  }
  const std::unique_ptr<Optimizer> optimizer = make_optimizer(registry, configuration);
  const std::unique_ptr<Compressor> compressor = make_compressor(registry, configuration);
  const std::vector<TensorRole> roles = roles_of(configuration, parameters);
  const StateStore state(*optimizer, TensorInfos(parameters, roles, nullptr).pointers());
  const Layout layout(elements, layout_options(configuration, compressor.get(), state.whole_tensors(), roles, place, nullptr));
  const Rehearsal plans = rehearse(registry, configuration, layout, true);
  const Options& session = configuration.session.options();
  const bool overlaps =
      session.boolean("overlap") && !(session.real("clip_norm") > 0) && Exchange::why_never_ahead(layout).empty();
  Cost cost = price(layout, plans, compressor.get(), place, overlaps ? ahead_bytes(configuration, layout) : -1,
                    wire_type_of(configuration.exchange.options().text("error_dtype")));
  int64_t halves = 0;
  for (size_t t = 0; t < parameters.size(); ++t) halves += parameters[t].half != nullptr ? elements[t] : 0;
  const double masters = cost.parameters > 0 ? 4.0 * static_cast<double>(halves) / static_cast<double>(cost.parameters) : 0;
  cost.dense_state += masters;
  cost.peak_state += masters;
  if (cost.has_compressed_stage) cost.compressed_state += masters;
  return cost;
}

}  // namespace onebit
