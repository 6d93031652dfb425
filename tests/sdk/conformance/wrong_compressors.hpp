// SPDX-License-Identifier: Apache-2.0
// A codec of one byte an element, in few lines, that can be told to do one thing wrong: x is sent as round(x / scale), scale is
// the greatest magnitude of a block, or of a span, over 127; with noise in place of error feedback where it is stochastic.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstring>
#include <thread>

#include "onebit/compressor.hpp"
#include "onebit/conformance/fixtures/noise.hpp"

namespace onebit::test {

enum class Flaw {
  none,
  describes_another,
  odd_block,
  odd_size,
  payload_off_by_4,
  padding_unwritten,
  error_beyond_end,
  decodes_beyond_end,
  reads_beyond_end,
  values_changed,
  trusts_payload,
  error_shrinks,
  errors_overwritten,
  add_ignored,
  weight_ignored,
  state_in_codec,
  scale_of_batch,
  shared_member,
  noise_of_key_alone,
  fold_forgets,
  scale_overflows,
  biased,
};
struct Form {
  bool stochastic = false, wide = false;
};

class Bytes final : public Compressor {
 public:
  explicit Bytes(Flaw flaw, Form form = {}) : flaw_(flaw), form_(form) {}

  Codec describe() const override {
    const int64_t block = is(Flaw::odd_block) ? 100 : is(Flaw::describes_another) && encoded_ > 0 ? 128 : 256;
    return {sizeof(Codec), block, 1, form_.wide ? ONEBIT_SPAN_TENSOR : ONEBIT_SPAN_BLOCK, form_.stochastic ? 0 : 1};
  }
  size_t payload_size(int64_t count) const override {
    return 4 + static_cast<size_t>(is(Flaw::odd_size) ? count : (count + 3) / 4 * 4);
  }

  void measure(const Batch& batch, const float* values, const float* errors, double* statistics) const override {
    float over_batch = 0;
    for (const Piece& piece : pieces(batch)) {
      float most = 0;
      const int64_t count = piece.count + (is(Flaw::reads_beyond_end) ? 1 : 0);
      for (int64_t i = piece.first; i < piece.first + count; ++i) most = greater(most, std::fabs(sum(values, errors, i)));
      if (is(Flaw::scale_overflows)) most = std::sqrt(most * most);
      over_batch = greater(over_batch, most);
      statistics[piece.statistic] = static_cast<double>(is(Flaw::scale_of_batch) ? over_batch : most);
    }
  }
  void fold(const Folding& folding, const double* blocks, double* spans) const override {
    for (size_t s = 0; s < folding.span_count; ++s) {
      const onebit_run& run = folding.spans[s];
      const int64_t first = run.first + (is(Flaw::fold_forgets) && run.count > 2 ? 1 : 0);
      spans[s] = *std::max_element(blocks + first, blocks + run.first + run.count);
    }
  }
  void encode(const Batch& batch, const float* values, const float* errors, float* new_errors, const double* statistics,
              void* payload) const override {
    for (const Piece& piece : pieces(batch)) {
      if (is(Flaw::shared_member)) enter(piece);
      auto* const bytes = static_cast<unsigned char*>(payload) + piece.payload;
      const float scale = static_cast<float>(statistics[piece.statistic]) / 127 * (shared() ? 2 : 1);
      std::memcpy(bytes, &scale, sizeof scale);
      if (is(Flaw::errors_overwritten)) std::fill_n(new_errors + piece.first, piece.count, 0.0F);
      for (int64_t i = 0; i < piece.count; ++i) encode_one(batch, piece, i, scale, values, errors, new_errors, bytes + 4);
      for (int64_t i = piece.count; i % 4 != 0 && !is(Flaw::padding_unwritten) && !is(Flaw::odd_size); ++i) bytes[4 + i] = 0;
      if (is(Flaw::payload_off_by_4)) std::memset(bytes + payload_size(piece.count), 0, 4);
      if (is(Flaw::error_beyond_end) && new_errors != nullptr) new_errors[piece.first + piece.count] = 0;
      if (is(Flaw::values_changed)) const_cast<float*>(values)[piece.first] = 0;
      ++encoded_;
    }
  }
  void decode(const Batch& batch, const void* payload, float weight, bool add, float* out) const override {
    for (const Piece& piece : pieces(batch)) {
      const auto* const bytes = static_cast<const unsigned char*>(payload) + piece.payload;
      uint32_t head;
      float scale;
      std::memcpy(&head, bytes, sizeof head);
      std::memcpy(&scale, bytes, sizeof scale);
      for (int64_t i = 0; i < piece.count; ++i) {
        const float x = decoded(bytes[4 + i], scale) * (is(Flaw::weight_ignored) ? 1 : weight);
        float& to = out[piece.first + i];
        to = add && !is(Flaw::add_ignored) ? to + x : x;
      }
      if (is(Flaw::decodes_beyond_end)) out[piece.first + piece.count] = 0;
      if (is(Flaw::trusts_payload) && head == 0xFFFFFFFF) out[piece.first + piece.count + bytes[4] % 16] = 0;
    }
  }

 private:
  bool is(Flaw flaw) const { return flaw_ == flaw; }
  static Slice<const Piece> pieces(const Batch& batch) { return {batch.pieces, batch.piece_count}; }
  static float sum(const float* values, const float* errors, int64_t i) {
    return errors != nullptr ? values[i] + errors[i] : values[i];
  }
  static float greater(float a, float b) { return b > a || std::isnan(b) ? b : a; }
  static float decoded(unsigned char byte, float scale) { return static_cast<float>(static_cast<int>(byte) - 128) * scale; }

  void encode_one(const Batch& batch, const Piece& piece, int64_t i, float scale, const float* values, const float* errors,
                  float* new_errors, unsigned char* bytes) const {
    const float x = sum(values, errors, piece.first + i);
    const float steps = scale > 0 ? x / scale : 0;
    float shift = 0.5F;
    if (form_.stochastic) shift = 0.5F + 0.5F * drawn(batch, piece, i);
    if (is(Flaw::biased)) shift *= 0.5F;
    const float rounded = std::floor(steps + shift);
    bytes[i] = static_cast<unsigned char>(rounded > -128 && rounded < 128 ? static_cast<int>(rounded) + 128 : 128);
    if (is(Flaw::state_in_codec)) bytes[i] = static_cast<unsigned char>(bytes[i] ^ (encoded_ % 7 == 0 ? 1 : 0));
    if (new_errors != nullptr)
      new_errors[piece.first + i] = (x - decoded(bytes[i], scale)) * (is(Flaw::error_shrinks) ? 0.99F : 1);
  }
  float drawn(const Batch& batch, const Piece& piece, int64_t i) const {
    const uint64_t sequence = is(Flaw::noise_of_key_alone) ? 0 : batch.step * 1'000'003 + batch.rank * 7919;
    return conformance::noise(sequence * 65'537 + piece.key, static_cast<uint64_t>(i));
  }
  // One buffer for all calls: another thread's is in it before it is read. Atomic, so that it is wrong and no race.
  void enter(const Piece& piece) const {
    inside_ = piece.statistic;
    std::this_thread::sleep_for(std::chrono::microseconds(100));  // yield() takes milliseconds on a busy machine
    mixed_ = inside_ != piece.statistic;
  }
  bool shared() const { return is(Flaw::shared_member) && mixed_; }

  const Flaw flaw_;
  const Form form_;
  mutable std::atomic<int> encoded_{0};
  mutable std::atomic<int64_t> inside_{0};
  mutable std::atomic<bool> mixed_{false};
};

// The sign of each element, as a majority vote sends it: nothing to feed back, nothing drawn.
class Vote final : public BlockCompressor {
 public:
  Codec describe() const override { return {sizeof(Codec), 1024, 0, ONEBIT_SPAN_BLOCK, 0}; }
  size_t payload_size(int64_t count) const override { return static_cast<size_t>((count + 3) / 4 * 4); }
  void measure_block(const float*, const float*, int64_t, double*) const override {}
  void encode_block(const float* values, const float*, float*, int64_t count, const double*,
                    std::byte* payload) const override {
    for (size_t i = 0; i < payload_size(count); ++i)
      payload[i] = static_cast<std::byte>(static_cast<int64_t>(i) < count && values[i] < 0);
  }
  void decode_block(const std::byte* payload, int64_t count, float weight, bool add, float* out) const override {
    for (int64_t i = 0; i < count; ++i) out[i] = (add ? out[i] : 0) + (payload[i] == std::byte{0} ? weight : -weight);
  }
};

}  // namespace onebit::test
