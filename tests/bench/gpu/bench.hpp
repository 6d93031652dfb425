// SPDX-License-Identifier: Apache-2.0
// A row of the table: work whose speed is limited by the device's memory, told as a share of the yardstick's bandwidth. Each
// sample lies between two runs of the yardstick, and the row quotes the median of the samples.
//
// Google Benchmark, which ../row.hpp stands on, is not to be had on every machine with a GPU; this needs no library for it.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "device/buffer.hpp"
#include "device/device.hpp"
#include "yardstick.hpp"

namespace onebit::gpu_bench {

inline constexpr int64_t mega = int64_t{1} << 20;

struct Row {
  std::string what;
  double bytes;       // an element, that must move to and from the device's memory
  std::string terms;  // what these bytes are
  double goal;        // the least share of the yardstick; 0: none
  double memory;      // bytes an element that the row needs to run: it takes fewer elements where they are not to be had
};

// The seconds of one run of the work; made anew for so many elements, with its memory, when the row's turn comes.
using Work = std::function<double()>;
using Maker = std::function<Work(int64_t elements)>;

struct Result {
  Row row;
  int64_t elements = 0;
  double seconds = 0;  // medians
  double ratio = 0;
  std::string failure;  // why there are no figures; "" where there are

  double nanoseconds_per_element() const { return seconds / static_cast<double>(elements) * 1e9; }
  double gigabytes_per_second() const { return row.bytes / nanoseconds_per_element(); }
  bool reached() const { return ratio >= row.goal; }
};

struct Settings {
  int64_t elements = 256 * mega;
  int64_t bucket_bytes = 25'000'000;  // of fp32, as exchange.bucket_bytes
  int samples = 9;
  std::string only;  // rows whose names have it
};

class Bench {
 public:
  // say: gets each row as it comes.
  Bench(const Settings& settings, std::function<void(const Result&)> say);

  void add_yardstick_rows();
  // A row that fails leaves the others to run.
  void add(const Row& row, const Maker& make);
  const std::vector<Result>& results() const { return results_; }

  const Settings& settings() const { return settings_; }
  Device& device() const { return *device_; }
  MemoryMeter& meter() { return meter_; }
  cudaStream_t stream() const { return static_cast<cudaStream_t>(device_->stream()->handle); }
  bool wants(const std::string& row) const { return row.find(settings_.only) != std::string::npos; }

 private:
  void measure(Result& result, const Maker& make);
  void keep(Result result);

  const Settings settings_;
  const std::function<void(const Result&)> say_;
  const std::unique_ptr<Device> device_;
  MemoryMeter meter_;
  Yardstick yardstick_;
  std::vector<Result> results_;
};

// As many elements as were asked for, or a half, or a quarter, ... of them: what nine tenths of the free memory can take.
int64_t fitting(int64_t elements, double bytes_per_element);
uint64_t free_memory();

// Each adds the rows of one part.
void add_codec_rows(Bench& bench);
void add_optimizer_rows(Bench& bench);
void add_session_rows(Bench& bench);

}  // namespace onebit::gpu_bench
