// SPDX-License-Identifier: Apache-2.0
// Error feedback: what a codec leaves out of a message is added to the next one. Errors are kept as fp32, in which they are
// exact, or as bf16 (exchange.error_dtype), rounded to nearest: they are converted tile by tile, in cache, so that codecs see
// fp32 only.
#include "dtypes/half_conversion.hpp"
#include "exchange/exchange.hpp"
#include "exchange/exchange_runs.hpp"

namespace onebit {

// Exempt tensors have none. A rank that speaks for a shard has the worker error of this shard only.
void Exchange::prepare_errors() {
  const auto [worker, server] = error_sizes();
  if (worker == 0 || worker_error_.size() > 0) return;
  worker_error_ = Buffer(meter_, worker);
  server_error_ = Buffer(meter_, server);
}

std::pair<size_t, size_t> Exchange::error_sizes() const {
  const int64_t own = inside_ == nullptr ? layout_.flat - layout_.flat_exempt : layout_.shard;
  if (!layout_.codes() || description_.feedback == 0 || own == 0) return {0, 0};
  return {static_cast<size_t>(own * element_bytes(error_type_)),
          static_cast<size_t>(layout_.served * element_bytes(error_type_))};
}

Exchange::Errors Exchange::worker_errors(const TileRange& coded) const {
  if (worker_error_.size() == 0) return {};
  const int64_t place = (coded.base - (inside_ == nullptr ? layout_.flat_exempt : 0)) * element_bytes(error_type_);
  return {worker_error_.bytes() + place, (ahead_ ? next_worker_error_ : worker_error_).bytes() + place};
}

Exchange::Errors Exchange::server_errors(const TileRange& coded) const {
  if (server_error_.size() == 0) return {};
  const int64_t place = coded.base * element_bytes(error_type_);
  return {server_error_.bytes() + place, (ahead_ ? next_server_error_ : server_error_).bytes() + place};
}

// In place if they are fp32. If not, and where absent pieces may be among them, on a device, in a copy.
void Exchange::encode(const Round& round, const std::vector<onebit_piece>& pieces, const TileRange& run, const float* values,
                      const Errors& errors, const Scratch& scratch, std::byte* payload) const {
  const Compressor& with = codec(round, run);
  const onebit_batch pieces_of = batch(pieces, run);
  const bool marks = device_ != nullptr && !begins(round) && may_be_absent(pieces, run);
  const bool copied = errors.now != nullptr && (marks || error_type_ != WireType::fp32);
  const float* const now = copied ? scratch.previous : reinterpret_cast<const float*>(errors.now);
  float* const next = copied ? scratch.previous : reinterpret_cast<float*>(errors.next);
  if (copied) read_errors(pieces, run, errors.now, scratch.previous);
  if (&with == compressor_ && !wide(round)) with.measure(pieces_of, values, now, scratch.statistics);
  with.encode(pieces_of, values, now, next, scratch.statistics, payload);
  if (copied) keep_errors(pieces, run, marks, next, errors.next);
}

// As a codec measures them; NULL where there are none.
const float* Exchange::seen_errors(const std::vector<onebit_piece>& pieces, const TileRange& run, const Errors& errors,
                                   const Scratch& scratch) const {
  if (errors.now == nullptr || error_type_ == WireType::fp32) return reinterpret_cast<const float*>(errors.now);
  read_errors(pieces, run, errors.now, scratch.previous);
  return scratch.previous;
}

// from: of the tile, the first element's.
void Exchange::read_errors(const std::vector<onebit_piece>& pieces, const TileRange& run, const std::byte* from,
                           float* to) const {
  if (device_ != nullptr && error_type_ == WireType::fp32)
    return device_->copy(to, from, static_cast<size_t>(run.extent) * sizeof(float));
  if (device_ != nullptr) return device_->widen(reinterpret_cast<const Bf16*>(from), to, run.extent, opening_.skip);
  const auto [first, count] = extent_of(pieces, run);
  widen(reinterpret_cast<const uint16_t*>(from) + first, count, to + first);
}

// marks: on a device, absent pieces' errors stay as they were.
void Exchange::keep_errors(const std::vector<onebit_piece>& pieces, const TileRange& run, bool marks, const float* from,
                           std::byte* to) const {
  if (device_ != nullptr) {
    MarkedPieces taken = marked(pieces, run);
    if (!marks) taken.blocks = nullptr;
    return device_->take_errors(error_type_, taken, from, to, opening_.skip);
  }
  const auto [first, count] = extent_of(pieces, run);
  narrow(from + first, count, reinterpret_cast<uint16_t*>(to) + first, ahead_);
}

}  // namespace onebit
