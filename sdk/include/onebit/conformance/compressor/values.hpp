// SPDX-License-Identifier: Apache-2.0
// Cases of sizes and numbers at the edge, and of what codes come to over many steps.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "onebit/conformance/compressor/same_pieces.hpp"

namespace onebit::conformance {

// Protects from: scales that overflow or vanish: what is finite must stay finite, in blocks of every length.
inline void finite_stays_finite(const MakeCompressor& make) {
  const auto codec = make();
  const float largest = 1e30F;
  for (const int64_t n : block_lengths(codec->describe()))
    for (const float size : {0.0F, 1e-42F, 1e-30F, 1.0F, largest})
      for (const bool constant : {false, true}) {
        Coding coding(*codec, {n});
        constant ? coding.set(size) : coding.fill(19, size);
        coding.encode().decode();
        for (const Guarded<float>* array : {&coding.out, &coding.new_errors})
          for (const float x : coding.of(*array, coding.pieces[0]))
            if (!std::isfinite(x))
              throw Unmet(std::string(array == &coding.out ? "decode" : "the new error") + " gives " + text_of(x) + " for " +
                          std::to_string(n) + (constant ? " equal" : "") + " values of " + about(size));
      }
}

// Protects from: loops and searches that NaN leads astray, and one bad block that spoils its neighbours: other blocks, or with
// a wide scale other spans, keep their bits.
inline void nan_stays_in_its_block(const MakeCompressor& make) {
  const auto codec = make();
  const std::vector<int64_t> lengths = mixed_lengths(codec->describe());
  const auto prepared = [&] {
    Coding coding(*codec, lengths);
    if (coding.wide()) coding.spans = {{0, 3}, {3, static_cast<int64_t>(lengths.size()) - 3}};
    coding.fill(20).fill_errors(21, 0.5F);
    return coding;
  };
  Coding calm = prepared();
  calm.encode().decode();
  const float infinity = std::numeric_limits<float>::infinity();
  for (const float bad : {std::nanf(""), infinity, -infinity}) {
    for (const bool everywhere : {false, true}) {
      Coding disturbed = prepared();
      const Piece& hit = disturbed.pieces[2];
      std::fill_n(disturbed.values.data() + hit.first, everywhere ? hit.count : 1, bad);
      disturbed.encode().decode();
      for (size_t i = disturbed.wide() ? 3 : 0; i < lengths.size(); ++i) {
        const Piece& piece = disturbed.pieces[i];
        if (i == 2) continue;
        require(calm.payload_of(piece) == disturbed.payload_of(piece) &&
                    same_bits(calm.of(calm.new_errors, piece), disturbed.of(disturbed.new_errors, piece)) &&
                    same_bits(calm.of(calm.out, piece), disturbed.of(disturbed.out, piece)),
                text_of(bad) + " in block 2 changed " + block_text(i, piece));
      }
    }
  }
}

// The mean of what a constant vector decodes to over so many steps, and its standard deviation.
struct Average {
  std::vector<double> mean, deviation;
};
inline Average average_over(const Compressor& codec, const Floats& vector, uint64_t steps) {
  Coding coding(codec, {static_cast<int64_t>(vector.size())});
  std::copy(vector.begin(), vector.end(), coding.values.data());
  std::vector<double> sum(vector.size()), squares(vector.size());
  for (coding.step = 1; coding.step <= steps; ++coding.step) {
    coding.encode(true).decode();
    for (size_t i = 0; i < vector.size(); ++i) {
      sum[i] += static_cast<double>(coding.out[i]);
      squares[i] += static_cast<double>(coding.out[i]) * static_cast<double>(coding.out[i]);
    }
  }
  const auto n = static_cast<double>(steps);
  Average average;
  for (size_t i = 0; i < vector.size(); ++i) {
    average.mean.push_back(sum[i] / n);
    average.deviation.push_back(std::sqrt(std::max(0.0, squares[i] / n - average.mean[i] * average.mean[i])));
  }
  return average;
}

constexpr uint64_t average_steps = 2000;

inline void require_feedback_converges(const Average& average, const Floats& vector) {
  double away = 0, size = 0;
  for (size_t i = 0; i < vector.size(); ++i) {
    const double v = static_cast<double>(vector[i]);
    away += (average.mean[i] - v) * (average.mean[i] - v);
    size += v * v;
  }
  require(away < 0.04 * size,
          "with error feedback, the mean of what a constant vector decodes to should tend to that vector: "
          "after " +
              std::to_string(average_steps) + " steps it is away by " + text_of(std::sqrt(away / size)) +
              " of its length, expected less than 0.2");
}
// What an unbiased codec multiplies by: 1, where that is within the noise. A stochastic sign has the right direction alone, and
// leaves the length to the learning rate. uncertain: of the factor, where it was measured.
struct Length {
  double factor = 1, uncertain = 0;
};
inline Length length_of(const Average& average, const Floats& vector) {
  double product = 0, square = 0, variance = 0;
  for (size_t i = 0; i < vector.size(); ++i) {
    const double v = static_cast<double>(vector[i]);
    product += average.mean[i] * v;
    square += v * v;
    variance += v * v * average.deviation[i] * average.deviation[i] / static_cast<double>(average_steps);
  }
  const Length found = {product / square, 6 * std::sqrt(variance) / square};
  return std::fabs(found.factor - 1) <= found.uncertain ? Length() : found;
}
inline void require_unbiased(const Average& average, const Floats& vector) {
  const Length length = length_of(average, vector);
  require(length.factor > 0, "the mean of what a constant vector decodes to points away from it");
  for (size_t i = 0; i < vector.size(); ++i) {
    const double v = static_cast<double>(vector[i]), expected = length.factor * v;
    const double noise_left = 6 * average.deviation[i] / std::sqrt(static_cast<double>(average_steps));
    if (std::fabs(average.mean[i] - expected) > noise_left + std::fabs(v) * length.uncertain + 2e-4 * length.factor)
      throw Unmet("without error feedback, a codec that draws random numbers should be unbiased: the mean over " +
                  std::to_string(average_steps) + " steps of element " + std::to_string(i) + " is " + text_of(average.mean[i]) +
                  ", expected " + text_of(expected));
  }
}

// Protects from: information that never arrives. With error feedback what was not sent today comes later; without, noise must
// average out. A codec with neither, such as a majority vote or a plain rounding, promises nothing of the kind.
inline void nothing_is_lost_for_ever(const MakeCompressor& make) {
  const auto codec = make();
  const Codec about = codec->describe();
  const Floats vector = noises(22, static_cast<size_t>(std::min<int64_t>(about.block, 128)), 1);
  const bool stochastic = drawn(*codec, 5, 1, 8) != drawn(*codec, 6, 1, 8);
  if (about.feedback == 0 && !stochastic) throw NotApplicable("this codec neither feeds errors back nor draws random numbers");
  const Average average = average_over(*codec, vector, average_steps);
  about.feedback != 0 ? require_feedback_converges(average, vector) : require_unbiased(average, vector);
}

}  // namespace onebit::conformance
