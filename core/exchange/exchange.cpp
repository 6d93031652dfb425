// SPDX-License-Identifier: Apache-2.0
// The order of a step: preparation, the pipeline over buckets, the second pass, the commit. The roles are in
// exchange_worker.cpp (send, receive), exchange_server.cpp (serve) and exchange_machine.cpp (share, pass on).
#include "exchange/exchange.hpp"
#include "exchange/exchange_runs.hpp"

#include "dtypes/dense_codec.hpp"

#include <algorithm>
#include <string>

namespace onebit {
namespace {

std::unique_ptr<Compressor> dense_codec(const Device* device, WireType type, uint64_t* vanished) {
  if (device != nullptr) return device->dense_codec(type, vanished);
  return std::make_unique<DenseCodec>(type, vanished);
}

}  // namespace

Exchange::Exchange(const ExchangeParts& parts)
    : layout_(parts.layout),
      state_(parts.state),
      optimizer_(parts.optimizer),
      compressor_(parts.compressor),
      communicator_(parts.communicator),
      inside_(parts.inside),
      trace_(parts.trace),
      workers_(parts.workers),
      meter_(parts.meter),
      device_(parts.device),
      device_blocks_(parts.device_blocks),
      scanner_(parts.scanner),
      ahead_bytes_(parts.ahead_bytes),
      error_type_(parts.error_type),
      masters_(parts.masters),
      vanished_(parts.meter, 2 * sizeof(uint64_t)),  // and before a step that begins ahead
      dense_codec_(dense_codec(parts.device, parts.layout.options().dense_type, vanished_.as<uint64_t>())),
      raw_codec_(dense_codec(parts.device, WireType::fp32, nullptr)),
      retained_(parts.layout, parts.meter),
      carried_(parts.layout, parts.meter) {
  if (compressor_ != nullptr) description_ = compressor_->describe();
  for (std::vector<Arrival>& round : arrivals_) round.resize(layout_.buckets.size());
  for (size_t turn = 0; turn < layout_.buckets.size(); ++turn)
    order_.push_back(static_cast<uint32_t>(layout_.buckets.size() - 1 - turn));
  turns_ = order_;
  const auto tile = static_cast<size_t>(layout_.largest_tile + 15) / 16 * 16;
  const size_t statistics = layout_.most_tile_blocks * static_cast<size_t>(std::max<int64_t>(description_.statistics, 1));
  for (int w = 0; w < workers_.count(); ++w) {
    Scratch scratch;
    scratch.memory = Buffer(meter_, 3 * tile * sizeof(float) + statistics * sizeof(double));
    scratch.message = scratch.memory.as<float>();
    scratch.mean = scratch.message + tile;
    scratch.previous = scratch.mean + tile;
    scratch.statistics = reinterpret_cast<double*>(scratch.previous + tile);
    scratch_.push_back(std::move(scratch));
  }
  if (device_ != nullptr) mirror_layout();
}

void Exchange::mirror_layout() {
  for (const Bucket& bucket : layout_.buckets) {
    for (const Wire* wire : {&bucket.dense, &bucket.compressed, &bucket.local})
      for (const auto* pieces : {&wire->pieces, &wire->served, &wire->sharded}) mirror_.add(*pieces);
    for (const Spans* spans : {&bucket.worker_spans, &bucket.server_spans}) {
      mirror_.add(spans->ranges);
      mirror_.add(spans->of_block);
    }
  }
  mirror_.upload(meter_);
}

uint64_t Exchange::buffer_bytes() const {
  uint64_t total = block_statistics_.size() + span_statistics_.size() + mirror_.bytes() + vanished_.size();
  for (const Scratch& scratch : scratch_) total += scratch.memory.size();
  for (const auto& round : flights_)
    for (const Flight& flight : round) total += flight.payload.size() + flight.incoming.size();
  for (const auto& round : arrivals_)
    for (const Arrival& arrival : round) total += arrival.payload.size();
  for (const auto& round : passages_)
    for (const Passage& passage : round) total += passage.messages.size() + passage.arrivals.size();
  return total;
}

void Exchange::run(const Step& step, const Plan& plan, const Opening& opening) {
  step_ = &step;
  opening_ = opening;
  ahead_ = false;
  early_ = 0;
  prepare(plan);
  if (round_count_ == 0) return local_step();
  run_from(0);
}

// At every turn each role has the bucket after the one that it had before; the last catches up with what was sent ahead.
void Exchange::run_from(size_t turn) {
  using Role = void (Exchange::*)(size_t);
  static constexpr Role flat[] = {&Exchange::send, &Exchange::serve, &Exchange::receive};
  static constexpr Role machines[] = {&Exchange::share, &Exchange::send, &Exchange::serve, &Exchange::pass_on,
                                      &Exchange::receive};
  const Role* roles = inside_ == nullptr ? flat : machines;
  const size_t last = (inside_ == nullptr ? std::size(flat) : std::size(machines)) - 1, buckets = layout_.buckets.size();
  const auto play = [&](size_t role, size_t at) {
    current_bucket_ = static_cast<int64_t>(bucket_at(at));
    (this->*roles[role])(bucket_at(at));
  };
  for (size_t received = 0; turn < buckets + last; ++turn) {
    for (size_t role = 0; role < last && role <= turn; ++role)
      if (turn - role < buckets) play(role, turn - role);
    for (; received + last <= turn && received < buckets; ++received) play(last, received);
  }
  current_bucket_ = -1;
}

void Exchange::prepare(const Plan& plan) {
  round_count_ = 0;
  stage_ = Stage::dense;
  previous_in_consume_ = plan.previous_in_consume;
  rounds_in_consume_ = masters_ != nullptr && !plan.apply;
  freezes_ = plan.freezes;
  for (const Plan::Round& round : plan.rounds()) {
    rounds_[round_count_] = {round.kind, round.of, round.retain, static_cast<int>(round_count_)};
    prepare_flights(rounds_[round_count_]);
    if (round.kind == RoundKind::compressed) stage_ = Stage::compressed;
    if (round.retain) retained_.prepare(round.kind);
    ++round_count_;
  }
  if (plan.reset_error) {
    worker_error_.zero();
    server_error_.zero();
    carried_.forget();
  }
}

// Allocates what a round needs the first time it is planned, and nothing after.
void Exchange::prepare_flights(const Round& round) {
  int64_t payload = 0, own = 0;
  for (const Bucket& bucket : layout_.buckets) {
    payload = std::max(payload, wire(round, bucket).bytes);
    own = std::max(own, wire(round, bucket).parts[static_cast<size_t>(layout_.options().rank)].bytes);
  }
  const bool alone = layout_.options().ranks == 1;
  const size_t incoming = alone ? 0 : static_cast<size_t>(own * layout_.machines());
  for (size_t i = 0; i < std::min(under_way(), layout_.buckets.size()); ++i) {
    Flight& flight = flights_[static_cast<size_t>(round.index)][i];
    if (flight.payload.size() < static_cast<size_t>(payload)) flight.payload = Buffer(meter_, static_cast<size_t>(payload));
    if (flight.incoming.size() < incoming) flight.incoming = Buffer(meter_, incoming);
  }
  if (inside_ != nullptr) prepare_passages(round);
  if (round.kind == RoundKind::dense || alone) return;
  if (compressor_ == nullptr)
    throw Error(Code::invalid_argument,
                "the optimizer plans a compressed round, but no compressor is configured: add [compressor]");
  prepare_errors();
  if (layout_.wide_spans() && block_statistics_.size() == 0) prepare_spans();
}

void Exchange::prepare_spans() {
  size_t blocks = 0, spans = 0;
  for (const Bucket& bucket : layout_.buckets) {
    blocks = std::max(blocks, static_cast<size_t>(bucket.worker_spans.coded));
    spans = std::max({spans, bucket.worker_spans.ranges.size(), bucket.server_spans.ranges.size()});
  }
  const size_t width = static_cast<size_t>(description_.statistics) * sizeof(double);
  block_statistics_ = Buffer(meter_, blocks * width);
  span_statistics_ = Buffer(meter_, spans * width);
}

const Wire& Exchange::wire(const Round& round, const Bucket& bucket) const {
  return round.kind == RoundKind::dense ? bucket.dense : bucket.compressed;
}

const Compressor& Exchange::codec(const Round& round, const TileRange& tile) const {
  if (round.kind == RoundKind::dense) return *dense_codec_;
  return tile.raw ? *raw_codec_ : *compressor_;
}

std::byte* Exchange::gathered(const Round& round, size_t bucket) {
  if (round.retain) return retained_.next(round.kind, bucket);
  return (goes_ahead(bucket) ? arrival(round, bucket).payload : flight(round, bucket).payload).bytes();
}

onebit_batch Exchange::batch(const std::vector<onebit_piece>& pieces, const TileRange& tile) const {
  const onebit_piece* const on_device = mirror_.of(pieces);
  return {sizeof(onebit_batch),
          static_cast<size_t>(tile.count),
          pieces.data() + tile.first,
          on_device == nullptr ? nullptr : on_device + tile.first,
          static_cast<uint64_t>(step_->number),
          static_cast<uint64_t>(step_->rank),
          opening_.skip,
          device_ == nullptr ? nullptr : device_->stream()};
}

onebit_tile Exchange::tile_of(const Bucket& bucket, const TileRange& tile, bool with_absent) const {
  const bool masked = opening_.present_blocks != nullptr && !with_absent;
  const onebit_block* const on_device = masked ? opening_.present_blocks : device_blocks_;
  static const onebit_stream cpu = {sizeof(onebit_stream), {ONEBIT_DEVICE_CPU, 0}, nullptr};
  return {sizeof(onebit_tile),
          static_cast<size_t>(tile.count),
          layout_.blocks.data() + bucket.first_block + tile.first,
          device_ == nullptr ? nullptr : on_device + bucket.first_block + tile.first,
          nullptr,
          nullptr,
          nullptr,
          state_.tile_slots(),
          opening_.gradient_scale,
          opening_.skip,
          device_ == nullptr ? &cpu : device_->stream()};
}

Call Exchange::call(size_t bucket) const {
  Call made(bucket);
  if (device_ != nullptr) made.stream = device_->stream();
  return made;
}

void Exchange::apply(const Plan& plan) {
  const Lap lap(timings_.receive, {trace_, "apply"});
  const Round* kept = nullptr;
  for (size_t r = 0; r < round_count_ && plan.mean_in_apply; ++r)
    if (rounds_[r].retain) kept = &rounds_[r];
  if (plan.mean_in_apply && kept == nullptr)
    throw Error(Code::invalid_argument, "the optimizer plans to read the mean in apply, but retains no round of this step");
  for (size_t b = 0; b < layout_.buckets.size(); ++b)
    workers_.run(static_cast<int64_t>(layout_.buckets[b].tiles.size()), [&](int worker, int64_t t) {
      apply_tile(b, layout_.buckets[b].tiles[static_cast<size_t>(t)], kept, scratch_[static_cast<size_t>(worker)]);
    });
}

void Exchange::apply_tile(size_t b, const TileRange& range, const Round* kept, const Scratch& scratch) {
  const Bucket& bucket = layout_.buckets[b];
  for_runs(bucket.dense.pieces, range, [&](const TileRange& run, bool absent) {
    if (absent && !freezes_) return;
    onebit_tile tile = tile_of(bucket, run, freezes_);
    if (kept != nullptr) {
      codec(*kept, run).decode(batch(wire(*kept, bucket).pieces, run), gathered(*kept, b), 1.0F, false, scratch.mean);
      tile.mean = scratch.mean;
    }
    optimizer_.apply(*step_, tile);
    if (masters_ != nullptr) round_masters(tile);
  });
}

void Exchange::round_masters(const onebit_tile& tile) const {
  for (size_t k = 0; k < tile.block_count; ++k) masters_->round(tile.blocks[k]);
}

void Exchange::commit(const Plan& plan, const uint64_t* absent) {
  if (ahead_ && stage_ == Stage::compressed) {
    std::swap(worker_error_, next_worker_error_);
    std::swap(server_error_, next_server_error_);
  }
  for (const Plan::Round& round : plan.rounds()) {
    const bool all_took_part = begins({round.kind, round.of, round.retain, 0});
    if (round.kind == RoundKind::compressed) carried_.spend(all_took_part ? nullptr : absent);
    if (round.retain) retained_.commit(round.kind);
  }
}

void Exchange::begin_anew() {
  for (Buffer* errors : {&worker_error_, &server_error_, &next_worker_error_, &next_server_error_}) *errors = Buffer();
  retained_.forget();
  carried_.forget();
}

void Exchange::local_step() {
  const Lap lap(timings_.receive, {trace_, "local step"});
  for (size_t b = 0; b < layout_.buckets.size(); ++b)
    workers_.run(static_cast<int64_t>(layout_.buckets[b].tiles.size()), [&](int worker, int64_t t) {
      const Scratch& scratch = scratch_[static_cast<size_t>(worker)];
      const Bucket& bucket = layout_.buckets[b];
      for_runs(bucket.dense.pieces, bucket.tiles[static_cast<size_t>(t)], [&](const TileRange& run, bool absent) {
        if (absent && !freezes_) return;
        onebit_tile tile = tile_of(bucket, run, freezes_);
        if (previous_in_consume_) tile.previous = decode_previous(b, run, scratch);
        optimizer_.consume(*step_, 0, tile);
        if (rounds_in_consume_) round_masters(tile);
      });
    });
}

void Exchange::wait(MeteredCommunicator& communicator, Request*& pending, size_t b) {
  const Lap lap(timings_.wait, mark("wait", b));
  communicator.wait(pending, -1);
  pending = nullptr;
}

}  // namespace onebit
