// SPDX-License-Identifier: Apache-2.0
// What the plugin boundary costs: calls that do nothing, through core's adapter and the plugin's table, against the same
// virtual call on an object of this program.
#include "clock.hpp"
#include "components.hpp"
#include "row.hpp"

namespace onebit::bench {
namespace {

constexpr int64_t calls = 10 * mega;
constexpr double most_nanoseconds = 5;

// Does as much as the plugin's for a batch without blocks.
class Idle final : public BlockCompressor {
 public:
  Codec describe() const override { return {sizeof(Codec), 4096, 2, ONEBIT_SPAN_BLOCK, 1}; }
  size_t payload_size(int64_t count) const override { return static_cast<size_t>((count + 31) / 32 * 4 + 4); }
  void measure_block(const float*, const float*, int64_t, double*) const override {}
  void encode_block(const float*, const float*, float*, int64_t, const double*, std::byte*) const override {}
  void decode_block(const std::byte*, int64_t, float, bool, float*) const override {}
};

Work payload_sizes(std::shared_ptr<const Compressor> compressor) {
  return [compressor] {
    return seconds_of([&] {
      for (int64_t i = 0; i < calls; ++i) benchmark::DoNotOptimize(compressor->payload_size(i & 4095));
    });
  };
}

Work empty_batches(std::shared_ptr<const Compressor> compressor) {
  return [compressor] {
    const onebit_batch batch = {sizeof batch, 0, nullptr, nullptr, 1, 0, nullptr, nullptr};
    double statistics[8] = {};
    return seconds_of([&] {
      for (int64_t i = 0; i < calls; ++i) {
        compressor->measure(batch, nullptr, nullptr, statistics);
        benchmark::ClobberMemory();
      }
    });
  };
}

template <class F>
void add(const std::string& what, F&& work) {
  add_overhead(
      what, most_nanoseconds, calls, [work] { return work(std::make_shared<Idle>()); }, [work] { return work(make_onebit()); });
}

}  // namespace

void add_call_rows() {
  add("call of a plugin: payload_size", payload_sizes);
  add("call of a plugin: measure, no block", empty_batches);
}

}  // namespace onebit::bench
