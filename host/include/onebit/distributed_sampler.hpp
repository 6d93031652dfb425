// SPDX-License-Identifier: Apache-2.0
// A sampler for torch::data that gives each rank its own part of a data set, another one in every epoch, as PyTorch's
// DistributedSampler does in Python. libtorch's own DistributedRandomSampler repeats the first epoch for ever: a data loader
// copies its sampler, and set_epoch() does not reach the copy (pytorch issue 73141).
//
//   onebit::DistributedSampler sampler(set.size().value(), session);
//   auto loader = torch::data::make_data_loader(std::move(set), sampler, batch);
//   for (size_t epoch = 0; epoch < epochs; ++epoch) {
//     sampler.set_epoch(epoch);
//     for (auto& batch : *loader) ...
//   }
#pragma once

#include <torch/data/samplers/base.h>
#include <torch/serialize/archive.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "onebit/error.hpp"
#include "onebit/session.hpp"

namespace onebit {
namespace detail {

// What libtorch calls an optional number: of its own, later of the standard library.
template <class T>
T reset_takes(void (torch::data::samplers::Sampler<>::*)(T));
using OptionalSize = decltype(reset_takes(&torch::data::samplers::Sampler<>::reset));

}  // namespace detail

// Copies share the epoch. In an epoch each of n ranks gets every n-th sample of an order that all have in common, by seed and
// epoch alone; equally many of them: where the last round does not suffice for all ranks, the first samples come again.
class DistributedSampler : public torch::data::samplers::Sampler<> {
 public:
  // Throws Error(invalid_argument) where there is no sample.
  DistributedSampler(size_t samples, const Session& session, uint64_t seed = 0, bool shuffle = true)
      : samples_(samples),
        rank_(static_cast<size_t>(session.rank())),
        ranks_(static_cast<size_t>(session.size())),
        seed_(seed),
        shuffle_(shuffle) {
    if (samples == 0) throw Error(Code::invalid_argument, "a data set without samples can't be dealt to ranks");
    deal();
  }

  // From the next time on that a loader begins; the same on every rank. 0 at first.
  void set_epoch(size_t epoch) { *epoch_ = epoch; }
  size_t epoch() const { return *epoch_; }
  // Samples of a rank in an epoch.
  size_t size() const { return (samples_ + ranks_ - 1) / ranks_; }

  void reset(detail::OptionalSize samples = {}) override {
    if (samples) samples_ = *samples;
    deal();
  }
  decltype(std::declval<torch::data::samplers::Sampler<>&>().next(1)) next(size_t batch_size) override {
    const size_t count = std::min(batch_size, own_.size() - at_);
    if (count == 0) return {};
    const auto first = own_.begin() + static_cast<std::ptrdiff_t>(at_);
    at_ += count;
    return std::vector<size_t>(first, first + static_cast<std::ptrdiff_t>(count));
  }
  // The epoch, and the place in it.
  void save(torch::serialize::OutputArchive& archive) const override {
    archive.write("epoch", torch::tensor(static_cast<int64_t>(epoch())), true);
    archive.write("at", torch::tensor(static_cast<int64_t>(at_)), true);
  }
  void load(torch::serialize::InputArchive& archive) override {
    torch::Tensor epoch = torch::empty({1}, torch::kInt64), at = torch::empty({1}, torch::kInt64);
    archive.read("epoch", epoch, true);
    archive.read("at", at, true);
    set_epoch(static_cast<size_t>(epoch.item<int64_t>()));
    deal();
    at_ = std::min(static_cast<size_t>(at.item<int64_t>()), own_.size());
  }

 private:
  // Fisher and Yates, with a generator that gives the same numbers everywhere.
  void deal() {
    std::vector<size_t> order(samples_);
    for (size_t i = 0; i < samples_; ++i) order[i] = i;
    std::mt19937_64 random(seed_ + 0x9E3779B97F4A7C15U * (epoch() + 1));
    for (size_t i = samples_; shuffle_ && i > 1; --i) std::swap(order[i - 1], order[random() % i]);
    own_.clear();
    for (size_t i = rank_; own_.size() < size(); i += ranks_) own_.push_back(order[i % samples_]);
    at_ = 0;
  }

  size_t samples_, rank_, ranks_;
  uint64_t seed_;
  bool shuffle_;
  std::shared_ptr<std::atomic<size_t>> epoch_ = std::make_shared<std::atomic<size_t>>(0);
  std::vector<size_t> own_;  // of this epoch, in order
  size_t at_ = 0;
};

}  // namespace onebit
