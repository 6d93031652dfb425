// SPDX-License-Identifier: Apache-2.0
// The same configuration gives the same bits: whatever the worker threads, the bucket size, the instruction set, the caller's
// floating-point mode; on every rank, and in every run.
#include <doctest/doctest.h>
#include <hwy/targets.h>

#include <xmmintrin.h>

#include <cstring>
#include <set>

#include "support/gradients.hpp"
#include "support/sessions.hpp"

using namespace onebit;
using namespace onebit::test;

namespace {

const Tensors large_model = {std::vector<float>(30'000, 0.5F), std::vector<float>(17, -1.0F), std::vector<float>(),
                             std::vector<float>(9001, 2.0F)};

std::vector<Tensors> train_onebit_adam(int ranks, const std::string& tables, const std::string& scale = "block") {
  const std::string toml =
      "[optimizer]\nplugin = \"onebit_adam\"\nfreeze_step = 4\nweight_decay = 0.01\n[compressor]\nplugin = \"onebit\"\nscale = "
      "\"" +
      scale + "\"\n[communicator]\nplugin = \"threads\"\n" + tables;
  return run_sessions(ranks, toml, large_model, [](Rank rank) {
    for (int64_t step = 1; step <= 9; ++step) rank.session.step(pointers(noisy(large_model, step, rank.number)));
  });
}

bool same_bits(const std::vector<Tensors>& a, const std::vector<Tensors>& b) {
  for (size_t r = 0; r < a.size(); ++r)
    for (size_t k = 0; k < a[r].size(); ++k)
      if (!a[r][k].empty() && std::memcmp(a[r][k].data(), b[r][k].data(), a[r][k].size() * sizeof(float)) != 0) return false;
  return true;
}

}  // namespace

TEST_CASE("worker threads, bucket size and a second run change no bit") {
  for (const int ranks : {1, 2, 3}) {
    const std::vector<Tensors> expected = train_onebit_adam(ranks, "");
    for (const std::string tables :
         {"", "[session]\nthreads = 2\n", "[session]\nthreads = 4\n", "[exchange]\nbucket_bytes = 20000\n",
          "[exchange]\nbucket_bytes = 4096\n[session]\nthreads = 2\n", "[session]\nclip_norm = 1e20\n"}) {
      CAPTURE(ranks);
      CAPTURE(tables);
      CHECK(same_bits(train_onebit_adam(ranks, tables), expected));
    }
  }
  CHECK_FALSE(
      same_bits(train_onebit_adam(2, "[session]\nclip_norm = 0.5\n"), train_onebit_adam(2, "")));  // the comparison can fail
}

TEST_CASE("with wider scales, worker threads and a second run change no bit") {
  for (const std::string scale : {"tensor", "bucket"})
    CHECK(same_bits(train_onebit_adam(3, "[session]\nthreads = 3\n", scale), train_onebit_adam(3, "", scale)));
}

TEST_CASE("every instruction set gives the same bits") {
  const std::vector<Tensors> expected = train_onebit_adam(2, "[session]\nclip_norm = 50\n");
  const std::vector<int64_t> targets = hwy::SupportedAndGeneratedTargets();
  REQUIRE(targets.size() > 1);
  for (const int64_t target : targets) {
    hwy::SetSupportedTargetsForTest(target);
    const std::vector<Tensors> found = train_onebit_adam(2, "[session]\nclip_norm = 50\n");
    hwy::SetSupportedTargetsForTest(0);
    CAPTURE(hwy::TargetName(target));
    CHECK(same_bits(found, expected));
  }
}

TEST_CASE("the caller's flush-to-zero mode is set aside during a step, and given back") {
  const auto train_tiny = [](bool flush) {
    return run_sessions(2, onebit_adam("freeze_step = 3\nlr = 1e-40\n"), large_model, [&](Rank rank) {
      const unsigned mode = _mm_getcsr();
      if (flush) _mm_setcsr(mode | 0x8040U);
      for (float& p : rank.parameters[0]) p = 1e-39F;
      for (int64_t step = 1; step <= 6; ++step) rank.session.step(pointers(noisy(large_model, step, rank.number)));
      if (flush && (_mm_getcsr() & 0x8040U) != 0x8040U) throw std::runtime_error("the caller's mode was lost");
      _mm_setcsr(mode);
    });
  };
  const std::vector<Tensors> expected = train_tiny(false);
  CHECK(expected[0][0][5] != 1e-39F);  // denormal parameters did move
  CHECK(same_bits(train_tiny(true), expected));
}

TEST_CASE("all ranks hold identical parameters after every step") {
  for (const int ranks : {2, 4}) {
    std::vector<std::vector<uint64_t>> hashes(static_cast<size_t>(ranks));
    run_sessions(ranks, onebit_adam("freeze_step = 3\n"), large_model, [&](Rank rank) {
      for (int64_t step = 1; step <= 8; ++step) {
        rank.session.step(pointers(noisy(large_model, step, rank.number)));
        hashes[static_cast<size_t>(rank.number)].push_back(rank.session.parameter_hash());
      }
    });
    for (const auto& own : hashes) CHECK(own == hashes[0]);
    CHECK(std::set<uint64_t>(hashes[0].begin(), hashes[0].end()).size() == 8);  // and each step changed them
  }
}
