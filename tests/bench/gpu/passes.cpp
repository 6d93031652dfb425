// SPDX-License-Identifier: Apache-2.0
#include "passes.hpp"

#include "components.hpp"
#include "kernels.hpp"

namespace onebit::gpu_bench {

Passes::Passes(Bench& bench, int64_t elements, const std::string& name, const std::string& options, Calls calls, int steps)
    : bench_(bench),
      compressor_(make_onebit()),
      optimizer_(make_optimizer(name, options)),
      communicator_(make_mirror()),
      cut_(bench, *compressor_, elements, calls),
      parameters_(bench.meter(), static_cast<size_t>(elements) * sizeof(float)),
      gradients_(bench.meter(), static_cast<size_t>(elements) * sizeof(float)),
      messages_(bench.meter(), cut_.extent() * sizeof(float)),
      previous_(bench.meter(), cut_.extent() * sizeof(float)),
      shape_(elements),
      tensor_{parameters_.bytes(), bench.device().where(), 1, {ONEBIT_DTYPE_FLOAT, 32, 1}, &shape_, &stride_, 0},
      info_{sizeof(onebit_tensor_info), str("model"), &tensor_, 0, 0},
      state_(*optimizer_, {&info_}) {
  fill(parameters_.as<float>(), elements, 3, bench.stream());
  fill(gradients_.as<float>(), elements, 4, bench.stream());
  fill(previous_.as<float>(), static_cast<int64_t>(cut_.extent()), 5, bench.stream());
  for (onebit_block& block : cut_.layout.blocks) {
    block.parameter = parameters_.as<float>() + block.first;
    block.gradient = gradients_.as<float>() + block.first;
  }
  state_.allocate(cut_.layout, bench.meter());
  on_device_ = std::make_unique<DeviceStep>(bench.device(), cut_.layout, state_, communicator_, bench.meter(), groups_.size());
  for (int step = 0; step < steps; ++step) {
    begin();
    each_tile([&](const TileRange& range, const onebit_tile& tile) {
      write(range, tile);
      optimizer_->consume(now_, 0, tile);
    });
    finish();
  }
  begin();
  each_tile([&](const TileRange& range, const onebit_tile& tile) { write(range, tile); });
}

void Passes::begin() {
  now_ = {sizeof(Step), ++number_, 0, 2, 0, groups_.data(), groups_.size(), on_device_->update_groups(groups_),
          nullptr,      nullptr};
  plan_.clear();
  optimizer_->plan(now_, on_device_->host_totals(), plan_);
  for (const int32_t slot : plan_.acquires()) state_.acquire(slot, cut_.layout, bench_.meter());
  (void)open();
  state_.forget_partial_sums();
}

void Passes::finish() {
  optimizer_->combine(now_, on_device_->totals());
  if (plan_.apply) (void)apply();
  on_device_->report(nullptr);
  bench_.device().settle();
  for (const int32_t slot : plan_.releases()) state_.release(slot);
}

double Passes::open() {
  Ballot said;
  said.step = number_;
  const double seconds = stopwatch_.seconds(bench_.stream(), [&] { opening_ = on_device_->open(said, Terms(), {1}, nullptr); });
  int32_t skipped = 0;
  bench_.device().read(&skipped, opening_.skip, sizeof skipped);
  if (skipped != 0) throw Error(Code::internal, "the step is to be skipped: no pass of it does what is to be timed");
  return seconds;
}

double Passes::produce() {
  return stopwatch_.seconds(bench_.stream(),
                            [&] { each_tile([&](const TileRange& range, const onebit_tile& tile) { write(range, tile); }); });
}

double Passes::consume() {
  return stopwatch_.seconds(bench_.stream(), [&] {
    each_tile([&](const TileRange&, const onebit_tile& tile) { optimizer_->consume(now_, 0, tile); });
  });
}

double Passes::combine() {
  return stopwatch_.seconds(bench_.stream(), [&] { optimizer_->combine(now_, on_device_->totals()); });
}

double Passes::apply() {
  return stopwatch_.seconds(bench_.stream(), [&] {
    each_tile([&](const TileRange&, onebit_tile tile) {
      tile.mean = nullptr;
      optimizer_->apply(now_, tile);
    });
  });
}

void Passes::write(const TileRange& range, onebit_tile tile) const {
  tile.mean = nullptr;
  float* const message = cut_.at(messages_, range);
  if (plan_.rounds().begin()->of == Of::gradient) return bench_.device().scale_gradients(tile, message);
  tile.message = message;
  tile.previous = cut_.at(previous_, range);
  optimizer_->produce(now_, 0, tile);
}

onebit_tile Passes::tile_of(const Bucket& bucket, const TileRange& range) const {
  const int64_t first = bucket.first_block + range.first;
  return {sizeof(onebit_tile),
          static_cast<size_t>(range.count),
          cut_.layout.blocks.data() + first,
          on_device_->blocks() + first,
          nullptr,
          cut_.at(messages_, range),
          nullptr,
          state_.tile_slots(),
          opening_.gradient_scale,
          opening_.skip,
          bench_.device().stream()};
}

template <class F>
void Passes::each_tile(F&& f) const {
  cut_.each_tile([&](const Bucket& bucket, const TileRange& range) { f(range, tile_of(bucket, range)); });
}

}  // namespace onebit::gpu_bench
