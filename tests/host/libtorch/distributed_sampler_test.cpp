// SPDX-License-Identifier: Apache-2.0
// DistributedSampler: every epoch is another permutation, of which ranks have parts, through a data loader that has a copy.
#include <algorithm>
#include <sstream>
#include <vector>

#include "doctest_beside_torch.hpp"
#include "launch/ranks.hpp"
#include "onebit/distributed_sampler.hpp"
#include "support/sessions.hpp"

namespace {

struct Numbers : torch::data::datasets::Dataset<Numbers> {
  explicit Numbers(size_t count) : count(count) {}
  torch::data::Example<> get(size_t index) override { return {torch::tensor(static_cast<int64_t>(index)), torch::Tensor()}; }
  decltype(std::declval<torch::data::datasets::Dataset<Numbers>>().size()) size() const override { return count; }
  size_t count;
};

// By rank, by epoch.
std::vector<std::vector<std::vector<int64_t>>> dealt(int ranks, size_t samples, size_t epochs) {
  std::vector<std::vector<std::vector<int64_t>>> all(static_cast<size_t>(ranks));
  onebit::test::run_sessions(ranks, "[optimizer]\nplugin = \"adam\"\n[communicator]\nplugin = \"threads\"\n", {{1.0F}},
                             [&](onebit::test::Rank rank) {
                               onebit::DistributedSampler sampler(samples, rank.session, 5);
                               const auto loader = torch::data::make_data_loader(Numbers(samples), sampler, 2);
                               auto& own = all[static_cast<size_t>(rank.number)];
                               for (size_t epoch = 0; epoch < epochs; ++epoch) {
                                 sampler.set_epoch(epoch);
                                 own.emplace_back();
                                 for (auto& batch : *loader)
                                   for (const auto& example : batch) own.back().push_back(example.data.item<int64_t>());
                               }
                             });
  return all;
}

}  // namespace

TEST_CASE("DistributedSampler: ranks share each epoch, and no two epochs are alike") {
  for (const int ranks : {1, 2, 3}) {
    CAPTURE(ranks);
    const auto all = dealt(ranks, 12, 3);
    for (size_t epoch = 0; epoch < 3; ++epoch) {
      std::vector<int64_t> together;
      for (const auto& own : all) together.insert(together.end(), own[epoch].begin(), own[epoch].end());
      std::sort(together.begin(), together.end());
      std::vector<int64_t> every(12);
      for (size_t i = 0; i < every.size(); ++i) every[i] = static_cast<int64_t>(i);
      CHECK(together == every);
      CHECK(all[0][epoch] != all[0][(epoch + 1) % 3]);
    }
  }
}

TEST_CASE("DistributedSampler: ranks have equally many samples, of which some come twice where they do not divide") {
  const auto all = dealt(3, 10, 1);
  std::vector<int> times(10, 0);
  for (const auto& own : all) {
    CHECK(own[0].size() == 4);
    for (const int64_t sample : own[0]) ++times[static_cast<size_t>(sample)];
  }
  CHECK(std::count(times.begin(), times.end(), 1) == 8);
  CHECK(std::count(times.begin(), times.end(), 2) == 2);
}

TEST_CASE("DistributedSampler: goes on from where it was saved") {
  onebit::test::run_sessions(1, "[optimizer]\nplugin = \"adam\"\n[communicator]\nplugin = \"threads\"\n", {{1.0F}},
                             [](onebit::test::Rank rank) {
                               onebit::DistributedSampler sampler(9, rank.session), other(9, rank.session);
                               sampler.set_epoch(3);
                               sampler.reset();
                               sampler.next(4);
                               std::stringstream file;
                               torch::save(sampler, file);
                               torch::load(other, file);
                               CHECK(other.epoch() == 3);
                               CHECK(*other.next(9) == *sampler.next(9));
                             });
}
