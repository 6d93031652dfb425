// SPDX-License-Identifier: Apache-2.0
// The pass before the agreement: what it refuses, and that its sum has the same bits on every instruction set.
#include <doctest/doctest.h>

#include <hwy/targets.h>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "device/gradient_scan.hpp"

using namespace onebit;

namespace {

// The order of sums, written down plainly: 32 lanes, halved.
float lane_sum(const std::vector<float>& values) {
  float lane[32] = {};
  for (size_t i = 0; i < values.size(); ++i) lane[i % 32] += values[i] * values[i];
  for (int half = 16; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) lane[i] += lane[i + half];
  return lane[0];
}

}  // namespace

TEST_CASE("not finite or too large is found at every place") {
  for (const float bad : {NAN, -INFINITY, INFINITY, std::nextafter(largest_gradient, INFINITY), -3e38F}) {
    for (const size_t size : {1U, 31U, 32U, 33U, 100U}) {
      std::vector<float> values(size, largest_gradient);
      CHECK(scan_gradient(values.data(), static_cast<int64_t>(size), false).finite);
      for (size_t at = 0; at < size; ++at) {
        std::vector<float> one = values;
        one[at] = bad;
        REQUIRE_FALSE(scan_gradient(one.data(), static_cast<int64_t>(size), at % 2 == 0).finite);
      }
    }
  }
}

TEST_CASE("the largest gradients do not overflow the sum of the largest block") {
  const std::vector<float> values(65'536, largest_gradient);
  CHECK(std::isfinite(scan_gradient(values.data(), 65'536, true).squares));
}

TEST_CASE("the sum of squares has the same bits on every target") {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  for (const size_t size : {0U, 1U, 7U, 64U, 1000U, 4096U, 4097U}) {
    std::vector<float> values(size);
    for (float& v : values) v = normal(random);
    const float expected = lane_sum(values);
    for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
      hwy::SetSupportedTargetsForTest(target);
      REQUIRE(scan_gradient(values.data(), static_cast<int64_t>(size), true).squares == static_cast<double>(expected));
      hwy::SetSupportedTargetsForTest(0);
    }
  }
}

TEST_CASE("the squares of small gradients do not vanish") {
  for (const float small : {1e-15F, 1e-20F, 1e-25F, 1e-38F, 1e-44F}) {
    const std::vector<float> values(1000, small);
    const double squares = scan_gradient(values.data(), 1000, true).squares, each = static_cast<double>(small);
    CHECK(squares == doctest::Approx(1000 * each * each).epsilon(1e-5).scale(0));
  }
  const std::vector<float> zeros(1000);
  CHECK(scan_gradient(zeros.data(), 1000, true).squares == 0);
}
