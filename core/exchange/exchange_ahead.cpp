// SPDX-License-Identifier: Apache-2.0
// A step that begins before its gradients are all there.
#include <algorithm>

#include "exchange/exchange.hpp"
#include "exchange/exchange_runs.hpp"

namespace onebit {

std::string Exchange::why_never_ahead(const Layout& layout) {
  if (layout.options().ranks == 1) return "a single rank sends nothing";
  if (layout.buckets.size() < 2) return "the whole model is one bucket (exchange.bucket_bytes)";
  if (layout.options().locals > 1) return "exchange.topology is \"hierarchical\"";
  if (layout.wide_spans() && layout.options().span != ONEBIT_SPAN_TENSOR) return "the compressor's scales are of whole buckets";
  return "";
}

// What a step does for the first time, it does not do ahead: what is kept would begin before ranks agree, and absent tensors
// take part in a mean that is kept for the first time.
bool Exchange::can_begin_ahead(const Plan& plan) const {
  if (!why_never_ahead().empty() || plan.rounds().size == 0 || plan.reset_error) return false;
  for (const Plan::Round& round : plan.rounds()) {
    if (begins({round.kind, round.of, round.retain, 0})) return false;
    if (round.kind == RoundKind::compressed && error_sizes().first > 0 && worker_error_.size() == 0) return false;
    // what vanishes of absent tensors would be counted
    if (round.kind == RoundKind::dense && round.of == Of::message && layout_.options().dense_type != WireType::fp32)
      return false;
  }
  return buckets_ahead(plan) > 0;
}

// How many may wait for the agreement. Compressed means are small, and retained ones have their place.
size_t Exchange::buckets_ahead(const Plan& plan) const {
  int64_t waiting = 0;  // dense means of a bucket
  for (const Plan::Round& round : plan.rounds()) waiting += !round.retain && round.kind == RoundKind::dense ? 1 : 0;
  if (waiting == 0) return layout_.buckets.size();
  size_t count = 0;
  for (int64_t left = ahead_bytes_ / waiting; count < order_.size(); ++count) {
    left -= layout_.buckets[order_[count]].dense.bytes;
    if (left < 0) break;
  }
  return count;
}

void Exchange::set_order(const std::vector<uint32_t>& order, const Plan& plan) {
  if (order == order_) return;
  order_ = order;
  for (size_t turn = 0; turn < order_.size(); ++turn) turns_[order_[turn]] = static_cast<uint32_t>(turn);
  for (auto& round : arrivals_)
    for (Arrival& arrival : round) arrival.payload = Buffer();
  early_ = buckets_ahead(plan);
  prepare_ahead();
}

bool Exchange::run_ahead(const Step& step, const Plan& plan, const Opening& opening, Arrivals& arrivals) {
  step_ = &step;
  opening_ = opening;
  ahead_ = true;
  prepare(plan);
  early_ = buckets_ahead(plan);
  prepare_ahead();
  counted_ = communicator_.bytes(stage_);
  uint64_t* const vanished = vanished_.as<uint64_t>();
  if (device_ != nullptr)
    device_->copy(vanished + 1, vanished, sizeof *vanished);
  else
    vanished[1] = vanished[0];
  scanning_ = true;
  spoilt_ = false;
  for (size_t turn = 0; turn < early_; ++turn) {
    current_bucket_ = static_cast<int64_t>(bucket_at(turn));
    arrivals.wait_for(bucket_at(turn));
    send(bucket_at(turn));
    if (turn == 0) continue;
    current_bucket_ = static_cast<int64_t>(bucket_at(turn - 1));
    serve(bucket_at(turn - 1));
  }
  scanning_ = false;
  spoilt_ = false;
  current_bucket_ = -1;
  const Opening* const agreed = arrivals.agree(early_);
  if (agreed == nullptr) {
    drain();
    return false;
  }
  opening_ = *agreed;
  if (device_ != nullptr) device_->restore(opening_.skip, vanished + 1, vanished);
  run_from(early_);
  return true;
}

// Allocates what it needs the first time, and nothing after.
void Exchange::prepare_ahead() {
  for (size_t r = 0; r < round_count_; ++r)
    for (size_t turn = 0; turn < early_ && !rounds_[r].retain; ++turn) {
      const auto bytes = static_cast<size_t>(wire(rounds_[r], layout_.buckets[bucket_at(turn)]).bytes);
      Buffer& payload = arrival(rounds_[r], bucket_at(turn)).payload;
      if (payload.size() < bytes) payload = Buffer(meter_, bytes);
    }
  if (stage_ != Stage::compressed) return;
  if (next_worker_error_.size() < worker_error_.size()) next_worker_error_ = Buffer(meter_, worker_error_.size());
  if (next_server_error_.size() < server_error_.size()) next_server_error_ = Buffer(meter_, server_error_.size());
}

// Of a step that is skipped: what is under way ends, and is read by nobody.
void Exchange::drain() {
  vanished_.as<uint64_t>()[0] = vanished_.as<uint64_t>()[1];
  for (size_t turn = 0; turn < early_; ++turn)
    for (size_t r = 0; r < round_count_; ++r) {
      const size_t b = bucket_at(turn);
      wait(communicator_, turn + 1 < early_ ? arrival(rounds_[r], b).pending : flight(rounds_[r], b).pending, b);
    }
  communicator_.recount(stage_, Stage::other, communicator_.bytes(stage_) - counted_);
}

// Where a gradient can't be used, the step will be skipped.
void Exchange::scan_tile(size_t b, const TileRange& tile, int worker) {
  for (int64_t k = 0; k < tile.count; ++k)
    if (!scanner_->scan(worker, layout_.buckets[b].first_block + tile.first + k, *opening_.gradient_scale)) spoilt_ = true;
}

void Exchange::scan_bucket(size_t b) {
  const std::vector<TileRange>& tiles = layout_.buckets[b].tiles;
  workers_.run(static_cast<int64_t>(tiles.size()),
               [&](int worker, int64_t t) { scan_tile(b, tiles[static_cast<size_t>(t)], worker); });
}

// Absent tensors of a bucket have travelled as zeros, or not at all.
void Exchange::put_back(size_t b) {
  const Bucket& bucket = layout_.buckets[b];
  for (size_t r = 0; r < round_count_; ++r) {
    const Round& round = rounds_[r];
    if (begins(round)) continue;
    const Wire& on_wire = wire(round, bucket);
    const std::byte* const before = kept(round, b);
    for (const TileRange& tile : bucket.tiles) {
      const bool coded = &codec(round, tile) == compressor_;
      if (coded) put_back(on_wire.pieces, tile, worker_errors(tile));
      if (device_ != nullptr && before != nullptr) put_back_payload(round, b, tile, before);
      for_runs(on_wire.pieces, tile, [&](const TileRange& run, bool absent) {
        if (absent && before != nullptr) fill(round, on_wire.pieces, run, before, gathered(round, b));
      });
    }
    for (const TileRange& tile : bucket.served_tiles)
      if (&codec(round, tile) == compressor_) put_back(on_wire.served, tile, server_errors(tile));
  }
}

// On a device. Payloads of one chunk follow each other.
void Exchange::put_back_payload(const Round& round, size_t b, const TileRange& tile, const std::byte* before) {
  const Bucket& bucket = layout_.buckets[b];
  const std::vector<onebit_piece>& pieces = wire(round, bucket).pieces;
  const auto owner = [&](int64_t piece) { return bucket.owner[static_cast<size_t>(piece)]; };
  for (int64_t first = tile.first, end = first; first < tile.first + tile.count; first = end) {
    while (end < tile.first + tile.count && owner(end) == owner(first)) ++end;
    TileRange run = tile;
    run.first = first;
    run.count = end - first;
    if (!may_be_absent(pieces, run)) continue;
    const onebit_piece& last = pieces[static_cast<size_t>(end - 1)];
    const auto bytes = last.payload + static_cast<int64_t>(codec(round, tile).payload_size(last.count));
    device_->keep_payload(marked(pieces, run), end, bytes, before, gathered(round, b), opening_.skip);
  }
}

void Exchange::put_back(const std::vector<onebit_piece>& pieces, const TileRange& tile, const Errors& errors) const {
  if (errors.now == nullptr || !may_be_absent(pieces, tile)) return;
  if (device_ != nullptr)
    return device_->put_back_errors(error_type_, marked(pieces, tile), errors.now, errors.next, opening_.skip);
  for (int64_t k = tile.first; k < tile.first + tile.count; ++k) {
    const onebit_piece& piece = pieces[static_cast<size_t>(k)];
    const int64_t each = element_bytes(error_type_), place = piece.first * each;
    if (may_be_absent(piece)) std::copy_n(errors.now + place, piece.count * each, errors.next + place);
  }
}

}  // namespace onebit
