// SPDX-License-Identifier: Apache-2.0
// A row of the table: work whose speed is limited by memory, told as a share of the triad's bandwidth. The machine's own speed
// changes from second to second, so each sample lies between two runs of the triad, and the row quotes the median of the
// samples.
#pragma once

#include <benchmark/benchmark.h>

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "triad.hpp"

namespace onebit::bench {

struct Row {
  std::string what;
  int64_t elements;
  double bytes;       // an element, that the work must move
  std::string terms;  // what these bytes are
  int threads;        // of the work, and of the triad that it is compared with
  double goal;        // the least share of the triad; 0: none
};

// The seconds of one run of the work; made anew, with its memory, when the row's turn comes.
using Work = std::function<double()>;
using Maker = std::function<Work()>;
void add_row(const Row& row, const Maker& make);

// What a call through the plugin boundary costs more than the same call without: nanoseconds, at most `most`.
void add_overhead(const std::string& what, double most, int64_t calls, const Maker& direct, const Maker& crossing,
                  const std::string& label = "more than the same call without a plugin");

// Each registers the rows of one part; the program's parts in the order of the table.
void add_triad_rows();
void add_codec_rows();
void add_session_rows();
void add_mean_rows();
void add_call_rows();
void add_loading_rows();
struct CheckpointOptions {
  std::filesystem::path folder;  // a folder of its own is made in it, and deleted
  bool small = false;            // a small model, and once: to see that the rows work
};
void add_checkpoint_rows(const CheckpointOptions& options);

double median(std::vector<double> values);

// The counters by which rows reach the table.
namespace counter {
inline constexpr char elements[] = "elements";
inline constexpr char bytes[] = "bytes_per_element";
inline constexpr char nanoseconds[] = "ns_per_element";
inline constexpr char gigabytes[] = "GB_per_second";
inline constexpr char ratio[] = "of_triad";
inline constexpr char goal[] = "goal";
inline constexpr char libraries[] = "libraries";
inline constexpr char milliseconds[] = "ms";
inline constexpr char of_dlopen[] = "of_dlopen";
inline constexpr char found[] = "found";  // what is held against one of the next two
inline constexpr char at_least[] = "at_least";
inline constexpr char at_most[] = "at_most";
}  // namespace counter

}  // namespace onebit::bench
