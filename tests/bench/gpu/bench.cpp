// SPDX-License-Identifier: Apache-2.0
#include "bench.hpp"

#include <algorithm>
#include <exception>
#include <utility>

#include "components.hpp"

namespace onebit::gpu_bench {
namespace {

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace

uint64_t free_memory() {
  size_t free = 0, total = 0;
  cuda::check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
  return free;
}

int64_t fitting(int64_t elements, double bytes_per_element) {
  const double most = 0.9 * static_cast<double>(free_memory()) / bytes_per_element;
  while (elements > 1 && static_cast<double>(elements) > most) elements /= 2;
  return elements;
}

Bench::Bench(const Settings& settings, std::function<void(const Result&)> say)
    : settings_(settings),
      say_(std::move(say)),
      device_(make_device()),
      meter_(device_.get()),
      yardstick_(meter_, fitting(settings.elements, 4 * Yardstick::bytes_per_element), stream()) {}

void Bench::add_yardstick_rows() {
  for (const auto& [way, name] : {std::pair(Yardstick::Way::kernel, "copy, by a kernel"),
                                  std::pair(Yardstick::Way::memcpy, "copy, by cudaMemcpyAsync")}) {
    Result result = {{name, Yardstick::bytes_per_element, "from 4, to 4", 0, 0}, yardstick_.elements(), 0, 1, ""};
    std::vector<double> seconds;
    yardstick_.seconds(way);
    for (int sample = 0; sample < settings_.samples; ++sample) seconds.push_back(yardstick_.seconds(way));
    result.seconds = median(seconds);
    keep(result);
  }
  const size_t better = results_[0].seconds <= results_[1].seconds ? 0 : 1;
  yardstick_.choose(better == 0 ? Yardstick::Way::kernel : Yardstick::Way::memcpy);
}

void Bench::add(const Row& row, const Maker& make) {
  if (!wants(row.what)) return;
  Result result = {row, fitting(settings_.elements, row.memory), 0, 0, ""};
  try {
    measure(result, make);
  } catch (const std::exception& e) {
    result.failure = e.what();
  }
  keep(std::move(result));
}

void Bench::measure(Result& result, const Maker& make) {
  const Work work = make(result.elements);
  work();  // modules are loaded, and clocks are up
  std::vector<double> seconds, ratios;
  double before = yardstick_.bandwidth();
  for (int sample = 0; sample < settings_.samples; ++sample) {
    seconds.push_back(work());
    const double after = yardstick_.bandwidth();
    ratios.push_back(static_cast<double>(result.elements) * result.row.bytes / seconds.back() / ((before + after) / 2));
    before = after;
  }
  result.seconds = median(seconds);
  result.ratio = median(ratios);
}

void Bench::keep(Result result) {
  results_.push_back(std::move(result));
  say_(results_.back());
}

}  // namespace onebit::gpu_bench
