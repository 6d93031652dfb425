// SPDX-License-Identifier: Apache-2.0
// Cases of blocks that must come to the same bits, however they are handed over.
#pragma once

#include <algorithm>
#include <string>
#include <thread>
#include <vector>

#include "onebit/conformance/compressor/coding.hpp"

namespace onebit::conformance {

inline void require_same_coding(const Coding& one, const Coding& other, const std::string& unmet) {
  for (size_t i = 0; i < one.pieces.size(); ++i) {
    const Piece& piece = one.pieces[i];
    require(one.payload_of(piece) == other.payload_of(piece), unmet + ": another payload of " + block_text(i, piece));
    require(same_bits(one.of(one.new_errors, piece), other.of(other.new_errors, piece)),
            unmet + ": other new errors of " + block_text(i, piece) + ", " +
                first_difference(one.of(one.new_errors, piece), other.of(other.new_errors, piece)));
    require(same_bits(one.of(one.out, piece), other.of(other.out, piece)),
            unmet + ": another result of decode of " + block_text(i, piece) + ", " +
                first_difference(one.of(one.out, piece), other.of(other.out, piece)));
  }
}
inline Coding coded(const Compressor& codec) {
  Coding coding(codec, mixed_lengths(codec.describe()));
  coding.fill(15).fill_errors(16, 0.5F).encode().decode();
  return coding;
}

// Protects from: state in the codec, uninitialised memory, and random numbers that are not drawn from step, rank and key.
inline void codes_the_same_again(const MakeCompressor& make) {
  const auto codec = make(), other = make();
  const Coding first = coded(*codec);
  require_same_coding(first, coded(*codec), "the same blocks, coded again by the same object, differ");
  require_same_coding(first, coded(*other), "the same blocks, coded by another object, differ");
}

// Protects from: results that depend on how the host cuts blocks into tiles, which is another on every machine.
inline void batches_do_not_matter(const MakeCompressor& make) {
  const auto codec = make();
  const Coding together = coded(*codec);
  Coding single(*codec, mixed_lengths(codec->describe()));
  single.fill(15).fill_errors(16, 0.5F);
  if (single.wide()) single.measure();
  for (size_t i = single.pieces.size(); i-- > 0;) {
    if (!single.wide()) single.measure(&single.pieces[i], 1);
    single.run(&single.pieces[i], 1);
    codec->decode(single.batch(&single.pieces[i], 1), single.payload.data(), 1, false, single.out.data());
  }
  require_same_coding(together, single, "many batches of one block, the last first, are not one batch of many");
}

// Protects from: calls that share something: members that they write, buffers of the object. For ThreadSanitizer, too.
inline void batches_at_once_do_not_matter(const MakeCompressor& make) {
  const auto codec = make();
  const Coding together = coded(*codec);
  for (int again = 0; again < 20; ++again) {
    Coding shared(*codec, mixed_lengths(codec->describe()));
    shared.fill(15).fill_errors(16, 0.5F).measure();
    std::vector<std::thread> threads;
    for (size_t worker = 0; worker < 3; ++worker)
      threads.emplace_back([&, worker] {
        for (size_t i = worker; i < shared.pieces.size(); i += 3) {
          shared.run(&shared.pieces[i], 1);
          codec->decode(shared.batch(&shared.pieces[i], 1), shared.payload.data(), 1, false, shared.out.data());
        }
      });
    for (std::thread& thread : threads) thread.join();
    require_same_coding(together, shared, "blocks coded on several threads at once differ");
  }
}

// The payload of one block of random values, for a step, a rank and a key.
inline std::vector<unsigned char> drawn(const Compressor& codec, uint64_t step, uint64_t rank, uint64_t key) {
  Coding coding(codec, {std::min<int64_t>(codec.describe().block, 1024)}, key);
  coding.step = step;
  coding.rank = rank;
  const Floats values = noises(17, static_cast<size_t>(coding.pieces[0].count), 1);
  std::copy(values.begin(), values.end(), coding.values.data());
  return coding.encode().payload_of(coding.pieces[0]);
}

// Protects from: noise that does not average out, for two ranks, steps, blocks, or a worker and its server, draw the same.
inline void draws_from_step_rank_and_key(const MakeCompressor& make) {
  const auto codec = make();
  const auto first = drawn(*codec, 5, 1, 8);
  const bool by_step = drawn(*codec, 6, 1, 8) != first, by_rank = drawn(*codec, 5, 2, 8) != first;
  const bool by_block = drawn(*codec, 5, 1, 10) != first, by_role = drawn(*codec, 5, 1, 9) != first;
  if (!by_step && !by_rank && !by_block && !by_role) throw NotApplicable("this codec draws no random numbers");
  const std::string text = "this codec draws random numbers, but the same ones ";
  require(by_step, text + "in every step");
  require(by_rank, text + "on every rank");
  require(by_block, text + "for every block (piece.key 8 and 10)");
  require(by_role, text + "as a worker and as a server (piece.key 8 and 9)");
}

// The statistics of nine blocks, one of them ten times as large as the others.
constexpr int64_t folded_blocks = 9;
inline Guarded<double> statistics_with(const Compressor& codec, int64_t large) {
  Coding coding(codec, std::vector<int64_t>(folded_blocks, 32));
  coding.fill(18);
  const Piece& piece = coding.pieces[static_cast<size_t>(large)];
  for (int64_t i = piece.first; i < piece.first + piece.count; ++i) coding.values[static_cast<size_t>(i)] *= 10;
  Guarded<double> blocks(coding.statistics.size());
  codec.measure(coding.batch(coding.pieces.data(), coding.pieces.size()), coding.values.data(),
                coding.feeds_back() ? coding.errors.data() : nullptr, blocks.data());
  return blocks;
}
inline std::vector<double> folded(const Compressor& codec, const std::vector<double>& blocks,
                                  const std::vector<onebit_run>& spans) {
  Guarded<double> result(spans.size() * static_cast<size_t>(codec.describe().statistics));
  const Folding folding = {sizeof folding, spans.size(), spans.data(), nullptr, nullptr, nullptr};
  codec.fold(folding, blocks.data(), result.data());
  require(result.intact(), "fold wrote beside its statistics");
  return result.values();
}

// Protects from: wide scales that come out otherwise on each rank, for the sums of their blocks were added in another order.
inline void folds_in_block_order(const MakeCompressor& make) {
  const auto codec = make();
  const Codec about = codec->describe();
  if (about.span == ONEBIT_SPAN_BLOCK) throw NotApplicable("the span of this codec is a block");
  const auto width = static_cast<std::ptrdiff_t>(about.statistics);
  for (int64_t large = 0; large < folded_blocks; ++large) {
    const std::vector<double> blocks = statistics_with(*codec, large).values();
    std::vector<double> so_far(blocks.begin(), blocks.begin() + width);
    for (int64_t block = 1; block < folded_blocks; ++block) {
      so_far.insert(so_far.end(), blocks.begin() + block * width, blocks.begin() + (block + 1) * width);
      so_far = folded(*codec, so_far, {{0, 2}});
    }
    require(so_far == folded(*codec, blocks, {{0, folded_blocks}}),
            "folding nine blocks is not folding them one after another, in their order");
    const std::vector<double> parts = folded(*codec, blocks, {{0, 4}, {4, 5}}), second = folded(*codec, blocks, {{4, 5}});
    require(std::equal(second.begin(), second.end(), parts.begin() + width),
            "folding two spans in one call is not folding each by itself");
  }
}

}  // namespace onebit::conformance
