// SPDX-License-Identifier: Apache-2.0
#include "row.hpp"

#include <algorithm>
#include <vector>

namespace onebit::bench {
namespace {

constexpr int samples = 9;

const Triad& shared_triad() {
  static const Triad triad;
  return triad;
}

void measure(benchmark::State& state, const Row& row, const Maker& make) {
  const Triad& triad = shared_triad();
  const Work work = make();
  work();  // pages and caches are warm before the first sample
  std::vector<double> seconds, ratios;
  double before = triad.bandwidth(row.threads);
  while (state.KeepRunning()) {
    seconds.push_back(work());
    const double after = triad.bandwidth(row.threads);
    ratios.push_back(static_cast<double>(row.elements) * row.bytes / seconds.back() / ((before + after) / 2));
    before = after;
    state.SetIterationTime(seconds.back());
  }
  const double per_element = median(seconds) / static_cast<double>(row.elements) * 1e9;
  state.counters[counter::elements] = static_cast<double>(row.elements);
  state.counters[counter::bytes] = row.bytes;
  state.counters[counter::nanoseconds] = per_element;
  state.counters[counter::gigabytes] = row.bytes / per_element;
  state.counters[counter::ratio] = median(ratios);
  state.counters[counter::goal] = row.goal;
  state.SetLabel(row.terms);
}

}  // namespace

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

void add_row(const Row& row, const Maker& make) {
  benchmark::RegisterBenchmark(row.what.c_str(), [row, make](benchmark::State& state) { measure(state, row, make); })
      ->UseManualTime()
      ->Iterations(samples)
      ->Unit(benchmark::kMillisecond);
}

void add_overhead(const std::string& what, double most, int64_t calls, const Maker& direct, const Maker& crossing,
                  const std::string& label) {
  benchmark::RegisterBenchmark(what.c_str(),
                               [=](benchmark::State& state) {
                                 const Work without = direct(), with = crossing();
                                 std::vector<double> overheads;
                                 while (state.KeepRunning()) {
                                   const double seconds = with();
                                   overheads.push_back((seconds - without()) / static_cast<double>(calls) * 1e9);
                                   state.SetIterationTime(seconds);
                                 }
                                 state.counters[counter::elements] = static_cast<double>(calls);
                                 state.counters[counter::nanoseconds] = median(overheads);
                                 state.counters[counter::goal] = most;
                                 state.SetLabel(label);
                               })
      ->UseManualTime()
      ->Iterations(samples)
      ->Unit(benchmark::kMillisecond);
}

void add_triad_rows() {
  for (const int threads : {1, 2}) {
    const std::string name = threads == 1 ? "triad, one thread" : "triad, two threads";
    add_row({name, Triad::elements, Triad::bytes_per_element, "b 4, c 4, a 4 + 4", threads, 0}, [threads] {
      return [threads] { return Triad::elements * Triad::bytes_per_element / shared_triad().bandwidth(threads); };
    });
  }
}

}  // namespace onebit::bench
