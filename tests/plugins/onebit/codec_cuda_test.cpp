// SPDX-License-Identifier: Apache-2.0
// The compressor `onebit` on CUDA, run by the emulation, against the one on the CPU: the same bits, in everything it writes.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "codec_inputs.hpp"
#include "cuda_on_cpu/control.hpp"
#include "cuda_on_cpu/emulated_component.hpp"
#include "cuda_on_cpu/emulated_device.hpp"
#include "support/component.hpp"

namespace onebit::test {
namespace {

using Floats = std::vector<float>;
using Bytes = std::vector<unsigned char>;

// The pieces of some tensors, as the exchange lays them out; with scale = "tensor" each tensor is a span.
struct Layout {
  Layout(const Compressor& codec, const std::vector<size_t>& tensors) {
    const Codec description = codec.describe();
    wide = description.span != ONEBIT_SPAN_BLOCK;
    for (const size_t count : tensors) {
      spans.push_back({static_cast<int64_t>(pieces.size()), 0});
      for (int64_t left = static_cast<int64_t>(count); left > 0; left -= description.block) {
        const int64_t n = std::min(description.block, left);
        pieces.push_back({elements, n, static_cast<int64_t>(bytes), static_cast<int64_t>(pieces.size()), 0});
        elements += n;
        bytes += codec.payload_size(n);
        ++spans.back().count;
      }
    }
    by_span = pieces;
    for (size_t s = 0; s < spans.size() && wide; ++s)
      for (int64_t i = 0; i < spans[s].count; ++i)
        by_span[static_cast<size_t>(spans[s].first + i)].statistic = static_cast<int64_t>(s);
  }
  std::vector<Piece> pieces, by_span;  // the latter for encode: each piece has its span's statistics
  std::vector<onebit_run> spans;
  int64_t elements = 0;
  size_t bytes = 0;
  bool wide = false;
};

struct Result {
  std::vector<double> statistics, spans;
  Bytes payload;
  Floats new_errors, decoded;
};

template <class T>
bool same(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

constexpr float weight = 0.3F;

Result on_cpu(const Compressor& codec, const Layout& layout, const Floats& values, const Floats& errors, const Floats& out) {
  Result result = {std::vector<double>(2 * layout.pieces.size()), std::vector<double>(2 * layout.spans.size()),
                   Bytes(layout.bytes), Floats(values.size()), out};
  Batch batch = {sizeof batch, layout.pieces.size(), layout.pieces.data(), nullptr, 1, 0, nullptr, nullptr};
  codec.measure(batch, values.data(), errors.data(), result.statistics.data());
  if (layout.wide)
    codec.fold({sizeof(Folding), layout.spans.size(), layout.spans.data(), nullptr, nullptr, nullptr}, result.statistics.data(),
               result.spans.data());
  batch.pieces = layout.by_span.data();
  codec.encode(batch, values.data(), errors.data(), result.new_errors.data(),
               layout.wide ? result.spans.data() : result.statistics.data(), result.payload.data());
  codec.decode(batch, result.payload.data(), weight, true, result.decoded.data());
  return result;
}

// The same on the device: everything is asked for at once and waited for at the end.
class OnCuda {
 public:
  OnCuda(const Compressor& codec, const Layout& layout, const Floats& values, const Floats& errors, const Floats& out)
      : codec_(codec),
        layout_(layout),
        pieces_(layout.pieces),
        by_span_(layout.by_span),
        runs_(layout.spans),
        skip_(std::vector<int32_t>{0}),
        values_(values, 1),
        errors_(errors, 3),
        decoded_(out, 2),
        statistics_(2 * layout.pieces.size()),
        spans_(2 * layout.spans.size()),
        payload_(layout.bytes, 4) {}

  void skip(int32_t flag) { skip_.set({flag}); }
  Result run(bool in_place) {
    DeviceArray<float> new_errors(values_.size(), 3);
    const onebit_stream stream = {sizeof stream, {ONEBIT_DEVICE_CUDA, 0}, static_cast<cudaStream_t>(stream_)};
    Batch batch = {sizeof batch, layout_.pieces.size(), nullptr, pieces_.data(), 1, 0, skip_.data(), &stream};
    codec_.measure(batch, values_.data(), errors_.data(), statistics_.data());
    if (layout_.wide)
      codec_.fold({sizeof(Folding), layout_.spans.size(), nullptr, runs_.data(), skip_.data(), &stream}, statistics_.data(),
                  spans_.data());
    batch.device_pieces = by_span_.data();
    const DeviceArray<float>& left = in_place ? errors_ : new_errors;
    codec_.encode(batch, values_.data(), errors_.data(), left.data(), layout_.wide ? spans_.data() : statistics_.data(),
                  payload_.data());
    codec_.decode(batch, payload_.data(), weight, true, decoded_.data());
    REQUIRE(cudaStreamSynchronize(stream_) == cudaSuccess);
    for (const bool intact : {values_.intact(), errors_.intact(), decoded_.intact(), statistics_.intact(), spans_.intact(),
                              payload_.intact(), new_errors.intact()})
      CHECK(intact);
    return {statistics_.get(), spans_.get(), payload_.get(), left.get(), decoded_.get()};
  }

 private:
  const Compressor& codec_;
  const Layout& layout_;
  const TestStream stream_;
  DeviceArray<Piece> pieces_, by_span_;
  DeviceArray<onebit_run> runs_;
  DeviceArray<int32_t> skip_;
  DeviceArray<float> values_, errors_, decoded_;
  DeviceArray<double> statistics_, spans_;
  DeviceArray<unsigned char> payload_;
};

void check_same(const std::string& lines, const std::vector<size_t>& tensors, const Floats& values, const Floats& errors) {
  CAPTURE(lines);
  CAPTURE(tensors.front());
  const auto cpu = make_compressor("onebit", lines), gpu = make_cuda_compressor("onebit", lines);
  const Layout layout(*cpu, tensors);
  const Floats out = normal(values.size(), 3);
  const Result expected = on_cpu(*cpu, layout, values, errors, out);
  for (const bool in_place : {false, true}) {
    const Result seen = OnCuda(*gpu, layout, values, errors, out).run(in_place);
    CHECK(same(seen.statistics, expected.statistics));
    if (layout.wide) CHECK(same(seen.spans, expected.spans));
    CHECK(same(seen.payload, expected.payload));
    CHECK(same(seen.new_errors, expected.new_errors));
    CHECK(same(seen.decoded, expected.decoded));
  }
}

void check_same(const std::string& lines, const std::vector<size_t>& tensors, float deviation) {
  size_t count = 0;
  for (const size_t tensor : tensors) count += tensor;
  check_same(lines, tensors, normal(count, 1, deviation), normal(count, 2, deviation / 4));
}

}  // namespace

TEST_CASE("onebit on CUDA describes itself as on the CPU, and refuses the same") {
  for (const std::string scale : {"block", "tensor", "bucket"}) {
    const auto cpu = make_compressor("onebit", options(scale, "l1", 64)),
               gpu = make_cuda_compressor("onebit", options(scale, "l1", 64));
    CHECK(gpu->describe().block == cpu->describe().block);
    CHECK(gpu->describe().span == cpu->describe().span);
    CHECK(gpu->describe().statistics == cpu->describe().statistics);
    CHECK(gpu->describe().feedback == cpu->describe().feedback);
    CHECK(gpu->payload_size(4097) == cpu->payload_size(4097));
  }
  CHECK_THROWS_WITH_AS((void)make_cuda_compressor("onebit", "block = 100"),
                       doctest::Contains("block is 100; it must be a multiple of 32 from 32 to 65536"), Error);
}

TEST_CASE("onebit on CUDA is not there without a device, or with an old driver, and says why") {
  const auto file = Registry::default_folder().parent_path() / "plugins_on_cpu" / "onebit_plugin_onebit_cuda.so";
  const auto reason = [&] {
    Registry registry;
    const std::string unavailable = registry.load(file).unavailable;
    if (!unavailable.empty())
      CHECK_THROWS_WITH_AS((void)registry.find(Kind::compressor, "onebit", ONEBIT_DEVICE_CUDA),
                           doctest::Contains(unavailable.c_str()), Error);
    return unavailable;
  };
  cuda_on_cpu::set_devices(0);
  CHECK(reason() == "no CUDA device can be used: no CUDA-capable device is detected");
  cuda_on_cpu::set_devices(1);
  cuda_on_cpu::set_driver(11040);
  CHECK(reason().find("the NVIDIA driver knows CUDA 11.4 and is too old for CUDA 13.0") != std::string::npos);
  cuda_on_cpu::set_driver(CUDART_VERSION);
  CHECK(reason().empty());
}

TEST_CASE("onebit on CUDA gives the CPU's bits for blocks of every size") {
  for (const size_t count : {1U, 7U, 31U, 32U, 33U, 255U, 257U, 1000U, 2047U, 2049U, 4095U, 4097U, 9000U})
    for (const std::string norm : {"l2", "l1"}) check_same(options("block", norm, count % 2 == 0 ? 64 : 4096), {count}, 1);
  check_same(options("block", "l2", 65536), {65536 + 77}, 1);
  check_same(options("block", "l1", 32), {100, 33, 5, 64}, 1);
}

TEST_CASE("onebit on CUDA gives the CPU's bits for spans of a tensor and of a bucket") {
  for (const std::string norm : {"l2", "l1"}) {
    check_same(options("tensor", norm, 64), {1, 64, 65, 3000, 7, 128, 2500, 12, 31, 33}, 1);  // up to 47 blocks a span
    check_same(options("bucket", norm, 32), {5000}, 1);
  }
}

TEST_CASE("onebit on CUDA adds the blocks of a span in their order") {
  std::mt19937 generator(1);
  std::uniform_real_distribution<double> exponent(-60, 60);
  std::vector<double> blocks(2 * 300);
  for (double& statistic : blocks) statistic = (generator() % 2 == 0 ? 1 : -1) * std::exp2(exponent(generator));
  const std::vector<onebit_run> runs = {{0, 1},    {1, 31},  {32, 32}, {64, 0}, {64, 33},
                                        {97, 200}, {297, 3}, {0, 300}, {5, 64}, {7, 65}};
  std::vector<double> expected(2 * runs.size()), backwards(2);
  const Folding folding = {sizeof folding, runs.size(), runs.data(), nullptr, nullptr, nullptr};
  make_compressor("onebit", options("tensor", "l2", 64))->fold(folding, blocks.data(), expected.data());
  for (size_t i = 300; i-- > 0;) backwards[0] += blocks[2 * i];
  CHECK(backwards[0] != expected[2 * 7]);  // so the order shows
  const TestStream stream;
  const onebit_stream named = {sizeof named, {ONEBIT_DEVICE_CUDA, 0}, static_cast<cudaStream_t>(stream)};
  const DeviceArray<double> in(blocks), out(2 * runs.size());
  const DeviceArray<onebit_run> device_runs(runs);
  make_cuda_compressor("onebit", options("tensor", "l2", 64))
      ->fold({sizeof folding, runs.size(), nullptr, device_runs.data(), nullptr, &named}, in.data(), out.data());
  REQUIRE(cudaStreamSynchronize(stream) == cudaSuccess);
  CHECK(same(out.get(), expected));
  CHECK(out.intact());
}

TEST_CASE("onebit on CUDA gives the CPU's bits among denormals, tiny and huge values") {
  for (const float deviation : {1e-42F, 1e-30F, 1e-20F, 1e-15F, 1e18F, 1e20F, 1e37F})
    for (const std::string norm : {"l2", "l1"}) {
      CAPTURE(deviation);
      check_same(options("block", norm, 4096), {5000}, deviation);
    }
}

TEST_CASE("onebit on CUDA gives the CPU's bits for zeros, infinities and what is not a number") {
  const float infinity = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  const float tiny = std::numeric_limits<float>::denorm_min();
  for (const std::string norm : {"l2", "l1"})
    for (const float odd : {0.0F, -0.0F, tiny, -tiny, infinity, -infinity, nan, std::numeric_limits<float>::max()}) {
      CAPTURE(odd);
      Floats values(100), errors(100);
      check_same(options("block", norm, 64), {100}, values, errors);
      for (size_t i = 0; i < 100; i += 3) values[i] = odd;
      check_same(options("block", norm, 64), {100}, values, errors);
    }
}

TEST_CASE("onebit on CUDA: the flag to skip leaves everything as it was") {
  for (const std::string scale : {"block", "tensor"})
    for (const std::string norm : {"l2", "l1"}) {
      const auto codec = make_cuda_compressor("onebit", options(scale, norm, 64));
      const Layout layout(*codec, {100, 50});
      const Floats values = normal(150, 1), errors = normal(150, 2), out = normal(150, 3);
      OnCuda on_cuda(*codec, layout, values, errors, out);
      on_cuda.skip(1);
      const Result seen = on_cuda.run(true);
      CHECK(same(seen.new_errors, errors));
      CHECK(same(seen.decoded, out));
      for (const double statistic : seen.statistics) CHECK(std::isnan(statistic));
      for (const double statistic : seen.spans) CHECK(std::isnan(statistic));
      CHECK(seen.payload == Bytes(layout.bytes, 0xFF));
    }
}

TEST_CASE("onebit on CUDA decodes without adding, whatever was there before") {
  const auto cpu = make_compressor("onebit"), gpu = make_cuda_compressor("onebit");
  const Layout layout(*cpu, {4096 + 45});
  const Floats values = normal(4096 + 45, 1), errors(values.size());
  const Result expected = on_cpu(*cpu, layout, values, errors, Floats(values.size()));
  Floats plain(values.size());
  Batch batch = {sizeof batch, layout.pieces.size(), layout.pieces.data(), nullptr, 1, 0, nullptr, nullptr};
  cpu->decode(batch, expected.payload.data(), weight, false, plain.data());
  const TestStream stream;
  const onebit_stream named = {sizeof named, {ONEBIT_DEVICE_CUDA, 0}, static_cast<cudaStream_t>(stream)};
  const DeviceArray<Piece> pieces(layout.pieces);
  const DeviceArray<unsigned char> payload(expected.payload);
  const DeviceArray<float> out(values.size(), 1);  // NaN
  batch = {sizeof batch, layout.pieces.size(), nullptr, pieces.data(), 1, 0, nullptr, &named};
  gpu->decode(batch, payload.data(), weight, false, out.data());
  REQUIRE(cudaStreamSynchronize(stream) == cudaSuccess);
  CHECK(same(out.get(), plain));
  CHECK(out.intact());
}

TEST_CASE("onebit on CUDA: one launch a call, none for no pieces, and no memory of its own") {
  const auto codec = make_cuda_compressor("onebit");
  const Layout layout(*codec, {9000});
  const Floats zeros(9000);
  OnCuda on_cuda(*codec, layout, zeros, zeros, zeros);
  const cuda_on_cpu::Counters before = cuda_on_cpu::counters();
  (void)on_cuda.run(false);
  const cuda_on_cpu::Counters after = cuda_on_cpu::counters();
  CHECK(after.launches - before.launches == 3);
  CHECK(after.device_allocations - before.device_allocations == 1);  // the test's own
  CHECK(after.pinned_allocations == before.pinned_allocations);
  const TestStream stream;
  const onebit_stream named = {sizeof named, {ONEBIT_DEVICE_CUDA, 0}, static_cast<cudaStream_t>(stream)};
  const Batch none = {sizeof none, 0, nullptr, nullptr, 1, 0, nullptr, &named};
  codec->measure(none, nullptr, nullptr, nullptr);
  codec->encode(none, nullptr, nullptr, nullptr, nullptr, nullptr);
  codec->decode(none, nullptr, 1, false, nullptr);
  CHECK(cuda_on_cpu::counters().launches == after.launches);
}

TEST_CASE("onebit on CUDA says what a call lacks, and what CUDA says") {
  const auto codec = make_cuda_compressor("onebit");
  const Layout layout(*codec, {100});
  const TestStream stream;
  const onebit_stream named = {sizeof named, {ONEBIT_DEVICE_CUDA, 0}, static_cast<cudaStream_t>(stream)};
  Batch batch = {sizeof batch, 1, layout.pieces.data(), nullptr, 1, 0, nullptr, &named};
  float value = 0;
  CHECK_THROWS_WITH_AS(codec->decode(batch, &value, 1, false, &value), doctest::Contains("without its blocks in device memory"),
                       Error);
  batch.device_pieces = layout.pieces.data();
  batch.stream = nullptr;
  CHECK_THROWS_WITH_AS(codec->decode(batch, &value, 1, false, &value), doctest::Contains("names no stream"), Error);
  batch.stream = &named;
  cuda_on_cpu::fail_next("cudaLaunchKernelExC", cudaErrorNoKernelImageForDevice);
  CHECK_THROWS_WITH_AS(codec->decode(batch, &value, 1, false, &value),
                       doctest::Contains("no kernel image is available for execution on the device"), Error);
}

}  // namespace onebit::test
