// SPDX-License-Identifier: Apache-2.0
// The compressor `onebit`: what its payload says, that nothing is lost (error feedback), and that every target gives the same
// bits.
#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <string>

#include "codec_inputs.hpp"
#include "onebit/conformance/fixtures/guarded.hpp"
#include "support/component.hpp"

namespace onebit::test {

using conformance::Guarded;
namespace {

using GuardedFloats = Guarded<float>;
using GuardedBytes = Guarded<unsigned char>;

// What the exchange does around a codec: pieces, statistics of blocks or spans, payload.
class Coder {
 public:
  Coder(const Compressor& compressor, size_t count) : compressor_(compressor), codec_(compressor.describe()) {
    for (int64_t first = 0; first < static_cast<int64_t>(count); first += codec_.block) {
      const int64_t n = std::min(codec_.block, static_cast<int64_t>(count) - first);
      pieces_.push_back({first, n, static_cast<int64_t>(bytes_), static_cast<int64_t>(pieces_.size()), 0});
      bytes_ += compressor.payload_size(n);
    }
    batch_ = {sizeof batch_, pieces_.size(), pieces_.data(), nullptr, 1, 0, nullptr, nullptr};
  }

  size_t bytes() const { return bytes_; }
  const std::vector<Piece>& pieces() const { return pieces_; }
  float scale(const GuardedBytes& payload, size_t block) const {
    float scale = 0;
    std::memcpy(&scale, payload.data() + pieces_[block].payload, sizeof scale);
    return scale;
  }

  void encode(const GuardedFloats& values, const GuardedFloats& errors, GuardedFloats& new_errors,
              GuardedBytes& payload) const {
    Guarded<double> statistics(2 * pieces_.size());
    compressor_.measure(batch_, values.data(), errors.data(), statistics.data());
    if (codec_.span != ONEBIT_SPAN_BLOCK) {
      double span[2];
      const onebit_run all = {0, static_cast<int64_t>(pieces_.size())};
      compressor_.fold({sizeof(Folding), 1, &all, nullptr, nullptr, nullptr}, statistics.data(), span);
      for (size_t i = 0; i < pieces_.size(); ++i) std::copy_n(span, 2, statistics.data() + 2 * i);
    }
    compressor_.encode(batch_, values.data(), errors.data(), new_errors.data(), statistics.data(), payload.data());
    CHECK(statistics.intact());
  }
  void decode(const GuardedBytes& payload, float weight, bool add, GuardedFloats& out) const {
    compressor_.decode(batch_, payload.data(), weight, add, out.data());
  }

 private:
  const Compressor& compressor_;
  const Codec codec_;
  std::vector<Piece> pieces_;
  size_t bytes_ = 0;
  Batch batch_{};
};

// The order of sums as it is written down, by hand: what every target must give, to the bit.
float sum_by_hand(const float* values, const float* errors, int64_t count, bool squares) {
  float lanes[32] = {};
  for (int64_t i = 0; i < count; ++i) {
    const float x = values[i] + errors[i];
    lanes[i % 32] += squares ? x * x : std::fabs(x);
  }
  for (int width = 16; width > 0; width /= 2)
    for (int j = 0; j < width; ++j) lanes[j] += lanes[j + width];
  return lanes[0];
}

void check_identity(const Coder& coder, const GuardedFloats& values, const GuardedFloats& errors,
                    const GuardedFloats& new_errors, const GuardedFloats& decoded, const GuardedBytes& payload) {
  double worst = 0;
  for (size_t b = 0; b < coder.pieces().size(); ++b) {
    const Piece& piece = coder.pieces()[b];
    const double scale = coder.scale(payload, b);
    for (auto i = static_cast<size_t>(piece.first); i < static_cast<size_t>(piece.first + piece.count); ++i) {
      const double x = static_cast<double>(values[i]) + errors[i];
      const double lost = std::fabs(static_cast<double>(decoded[i]) + new_errors[i] - x);
      const double allowed = std::ldexp(std::fabs(x) + scale, -23);
      if (lost > 0) worst = std::max(worst, lost / allowed);
    }
  }
  CHECK(worst <= 1);
}

// Five calls with error feedback, each checked: identity, canaries, inputs, in place or not.
void check_calls(const Compressor& compressor, size_t count, float deviation, size_t shift) {
  const Coder coder(compressor, count);
  GuardedFloats errors(count, shift), new_errors(count, shift), decoded(count, shift);
  GuardedBytes payload(coder.bytes()), again(coder.bytes());
  for (uint32_t call = 0; call < 5; ++call) {
    const GuardedFloats fresh(normal(count, call + 1, deviation), shift), kept_errors = errors;
    GuardedFloats values = fresh;
    coder.encode(values, errors, new_errors, payload);
    CHECK(values == fresh);
    CHECK(errors == kept_errors);
    coder.decode(payload, 1, false, decoded);
    check_identity(coder, values, errors, new_errors, decoded, payload);
    coder.encode(values, errors, errors, again);
    CHECK(again == payload);
    CHECK(errors == new_errors);
    CHECK(values.intact());
    CHECK(errors.intact());
    CHECK(new_errors.intact());
    CHECK(decoded.intact());
    CHECK(payload.intact());
  }
}

}  // namespace

TEST_CASE("describe and payload_size") {
  const auto codec = make_compressor("onebit");
  CHECK(codec->describe().block == 4096);
  CHECK(codec->describe().statistics == 2);
  CHECK(codec->describe().span == ONEBIT_SPAN_BLOCK);
  CHECK(codec->describe().feedback == 1);
  CHECK(codec->payload_size(1) == 8);
  CHECK(codec->payload_size(32) == 8);
  CHECK(codec->payload_size(33) == 12);
  CHECK(codec->payload_size(4096) == 516);
  CHECK(make_compressor("onebit", options("tensor", "l1", 32))->describe().span == ONEBIT_SPAN_TENSOR);
  CHECK(make_compressor("onebit", options("bucket", "l2", 65536))->describe().span == ONEBIT_SPAN_BUCKET);
}

TEST_CASE("a block that is not a multiple of 32 is refused") {
  CHECK_THROWS_WITH_AS((void)make_compressor("onebit", "block = 100"),
                       doctest::Contains("block is 100; it must be a multiple of 32 from 32 to 65536"), Error);
}

TEST_CASE("nothing is lost: decoded + new error = value + error, at every call") {
  for (const size_t count : {1U, 7U, 31U, 32U, 33U, 64U, 1000U, 4095U, 4097U})
    for (const int block : {32, 64, 4096, 65536})
      for (const std::string scale : {"block", "tensor"})
        for (const std::string norm : {"l2", "l1"}) {
          CAPTURE(count);
          CAPTURE(block);
          CAPTURE(scale);
          CAPTURE(norm);
          check_calls(*make_compressor("onebit", options(scale, norm, block)), count, 1, count % 4);
        }
}

TEST_CASE("nothing is lost in large arrays") {
  for (const int block : {4096, 65536})
    check_calls(*make_compressor("onebit", options("block", "l2", block)), (1U << 20U) + 3, 1, 1);
}

TEST_CASE("nothing is lost among denormals, tiny and huge values") {
  for (const float deviation : {1e-42F, 1e-30F, 1e-20F, 1e18F})
    for (const std::string norm : {"l2", "l1"}) {
      CAPTURE(deviation);
      check_calls(*make_compressor("onebit", options("block", norm, 4096)), 5000, deviation, 0);
    }
}

TEST_CASE("the payload, byte for byte") {
  const auto codec = make_compressor("onebit", options("block", "l1", 64));
  const Coder coder(*codec, 35);
  GuardedFloats values(35), errors(35);
  for (size_t i = 0; i < 35; ++i) values[i] = 0.5F;
  for (const size_t i : {1U, 8U, 31U, 33U}) values[i] = -0.5F;
  GuardedBytes payload(coder.bytes());
  coder.encode(values, errors, errors, payload);
  const unsigned char expected[] = {0, 0, 0, 0x3F, 0xFD, 0xFE, 0xFF, 0x7F, 0x05, 0, 0, 0};  // 0.5; least significant bit first
  REQUIRE(payload.size() == sizeof expected);
  CHECK(std::memcmp(payload.data(), expected, sizeof expected) == 0);
}

TEST_CASE("signs: only what is below zero is negative, and a zero block stays zero") {
  const auto codec = make_compressor("onebit", options("block", "l2", 32));
  const Coder coder(*codec, 5);
  const GuardedFloats errors(5);
  GuardedFloats values(std::vector<float>{0.0F, -0.0F, -std::numeric_limits<float>::denorm_min(), 1, -1}), left(5), decoded(5);
  GuardedBytes payload(coder.bytes());
  coder.encode(values, errors, left, payload);
  CHECK(payload[4] == 0b01011);
  values = GuardedFloats(5);
  coder.encode(values, errors, left, payload);
  coder.decode(payload, 1, false, decoded);
  CHECK(coder.scale(payload, 0) == 0);
  for (size_t i = 0; i < 5; ++i) {
    CHECK(left[i] == 0);
    CHECK(decoded[i] == 0);
  }
}

TEST_CASE("the scale is the root mean square, or the mean magnitude, of value + error") {
  for (const float deviation : {1e-42F, 1e-36F, 1e-25F, 1e-3F, 1.0F, 1e5F, 1e18F})
    for (const std::string norm : {"l2", "l1"})
      for (const size_t count : {1U, 33U, 3000U, 4096U}) {
        CAPTURE(deviation);
        CAPTURE(norm);
        CAPTURE(count);
        const auto codec = make_compressor("onebit", options("block", norm, 4096));
        const Coder coder(*codec, count);
        const GuardedFloats values(normal(count, 5, deviation)), errors(normal(count, 6, deviation));
        GuardedFloats left(count);
        GuardedBytes payload(coder.bytes());
        coder.encode(values, errors, left, payload);
        double squares = 0, magnitudes = 0;
        for (size_t i = 0; i < count; ++i) {
          const double x = static_cast<double>(values[i] + errors[i]);
          squares += x * x;
          magnitudes += std::fabs(x);
        }
        const double n = static_cast<double>(count);
        const double expected = norm == "l2" ? std::sqrt(squares / n) : magnitudes / n;
        const double slack = std::max(expected * 1e-6, std::ldexp(1.0, -149));
        CHECK(std::fabs(static_cast<double>(coder.scale(payload, 0)) - expected) <= slack);
      }
}

TEST_CASE("squares that would overflow a float still have a scale") {
  const auto codec = make_compressor("onebit");
  const Coder coder(*codec, 4096);
  GuardedFloats values(4096), left(4096);
  for (size_t i = 0; i < 4096; ++i) values[i] = i % 2 == 0 ? 0x1p60F : -0x1p60F;
  const GuardedFloats errors = values;
  GuardedBytes payload(coder.bytes());
  coder.encode(values, errors, left, payload);
  CHECK(coder.scale(payload, 0) == 0x1p61F);
  for (size_t i = 0; i < 4096; ++i) CHECK(left[i] == 0);
}

TEST_CASE("spans: fold adds blocks in order, in double, and every block carries its span's scale") {
  const auto codec = make_compressor("onebit", options("tensor", "l2", 64));
  const double blocks[] = {1e16, 64, 1, 64, -1e16, 2, 3, 1};
  double span[2] = {7, 7};
  const onebit_run all = {0, 4};
  codec->fold({sizeof(Folding), 1, &all, nullptr, nullptr, nullptr}, blocks, span);
  CHECK(span[0] == ((1e16 + 1) - 1e16) + 3);
  CHECK(span[1] == 131);
  const size_t count = 150;
  const Coder coder(*codec, count);
  const GuardedFloats values(normal(count, 9)), errors(count);
  GuardedFloats left(count);
  GuardedBytes payload(coder.bytes());
  coder.encode(values, errors, left, payload);
  double squares = 0;
  for (size_t i = 0; i < count; ++i) squares += static_cast<double>(values[i]) * values[i];
  CHECK(coder.scale(payload, 0) == doctest::Approx(std::sqrt(squares / static_cast<double>(count))).epsilon(1e-6));
  CHECK(coder.scale(payload, 1) == coder.scale(payload, 0));
  CHECK(coder.scale(payload, 2) == coder.scale(payload, 0));
}

TEST_CASE("decode multiplies by a weight, and adds") {
  const size_t count = 4096 + 45;
  const auto codec = make_compressor("onebit");
  const Coder coder(*codec, count);
  const GuardedFloats values(normal(count, 3)), errors(count);
  GuardedFloats left(count), plain(count), weighted(count), added(normal(count, 4));
  const GuardedFloats before = added;
  GuardedBytes payload(coder.bytes());
  coder.encode(values, errors, left, payload);
  coder.decode(payload, 1, false, plain);
  coder.decode(payload, 0.25F, false, weighted);
  coder.decode(payload, 0.25F, true, added);
  for (size_t i = 0; i < count; ++i) {
    REQUIRE(std::fabs(plain[i]) == coder.scale(payload, i / 4096));
    REQUIRE((plain[i] < 0) == (values[i] < 0));
    REQUIRE(weighted[i] == plain[i] * 0.25F);
    REQUIRE(added[i] == before[i] + weighted[i]);
  }
  CHECK(added.intact());
}

TEST_CASE("codec: every SIMD target gives the bits of the order of sums that is written down") {
  const size_t count = 3 * 4096 + 77;
  for (const std::string norm : {"l2", "l1"}) {
    const auto codec = make_compressor("onebit", options("block", norm, 4096));
    const Coder coder(*codec, count);
    const GuardedFloats values(normal(count, 1), 1), errors(normal(count, 2, 0.1F), 1);
    GuardedFloats expected_left(count), expected_sum(normal(count, 3));
    GuardedBytes expected_payload(coder.bytes());
    size_t seen = 0;
    for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
      CAPTURE(hwy::TargetName(target));
      const OnTarget on(target);
      GuardedFloats left(count), sum(normal(count, 3));
      GuardedBytes payload(coder.bytes());
      coder.encode(values, errors, left, payload);
      coder.decode(payload, 0.3F, true, sum);
      for (size_t b = 0; b < coder.pieces().size(); ++b) {
        const Piece& piece = coder.pieces()[b];
        const double total = sum_by_hand(values.data() + piece.first, errors.data() + piece.first, piece.count, norm == "l2");
        const double mean = total / static_cast<double>(piece.count);
        CHECK(coder.scale(payload, b) == static_cast<float>(norm == "l2" ? std::sqrt(mean) : mean));
      }
      if (seen++ == 0) {
        expected_left = left;
        expected_sum = sum;
        expected_payload = payload;
      }
      CHECK(left == expected_left);
      CHECK(sum == expected_sum);
      CHECK(payload == expected_payload);
    }
    MESSAGE(seen << " targets compared");
  }
}

}  // namespace onebit::test
