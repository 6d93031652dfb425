// SPDX-License-Identifier: Apache-2.0
// What checkpoints cost, on two ranks that are threads: time against plain programs that write and read as many bytes on the
// same file system, a copy of the state in memory, memory, and bytes.
#include <malloc.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "clock.hpp"
#include "disk.hpp"
#include "row.hpp"
#include "saving_run.hpp"

namespace onebit::bench {
namespace {

namespace fs = std::filesystem;

// The run, and where it saves. A yardstick writes beside it.
struct Measured {
  explicit Measured(const CheckpointOptions& options) : scratch(options.folder), run(options.small) {}

  double save() {
    remove_and_settle(root);
    run.step();
    const double seconds = run.save(root);
    files = files_below(root);
    bytes = bytes_of(files);
    return seconds;
  }
  // Seconds until training goes on. The folder of the checkpoints is there.
  double save_without_waiting() {
    settle(root);
    run.step();
    const double seconds = run.save_without_waiting(root);
    run.finish_save();
    return seconds;
  }

  const TemporaryFolder scratch;
  const fs::path root = scratch.path() / "checkpoints";
  SavingRun run;
  Files files;  // of what was saved last, by save()
  uint64_t bytes = 0;
};

struct Samples {
  std::vector<double> seconds, times;  // times: that of the yardstick
};

template <class Work, class Yardstick>
Samples between_yardsticks(benchmark::State& state, Work&& work, Yardstick&& yardstick) {
  Samples samples;
  double before = yardstick();
  while (state.KeepRunning()) {
    samples.seconds.push_back(work());
    const double after = yardstick();
    samples.times.push_back(samples.seconds.back() / ((before + after) / 2));
    before = after;
    state.SetIterationTime(samples.seconds.back());
  }
  return samples;
}

struct Goal {
  const char* counter;  // which says whether it is the least or the most
  double value;
};
constexpr Goal at_least(double value) { return {counter::at_least, value}; }
constexpr Goal at_most(double value) { return {counter::at_most, value}; }

void conclude(benchmark::State& state, const Measured& measured, const std::vector<double>& seconds, Goal goal, double found,
              const std::string& label) {
  const auto elements = static_cast<double>(measured.run.elements());
  const double bytes = static_cast<double>(measured.bytes) / elements, per_element = median(seconds) / elements * 1e9;
  state.counters[counter::elements] = elements;
  state.counters[counter::bytes] = bytes;
  state.counters[counter::nanoseconds] = per_element;
  state.counters[counter::gigabytes] = bytes / per_element;
  state.counters[goal.counter] = goal.value;
  state.counters[counter::found] = found;
  state.SetLabel(label);
}

void measure_save(benchmark::State& state, Measured& measured) {
  const fs::path plain = measured.scratch.path() / "plain";
  const Samples samples = between_yardsticks(
      state, [&] { return measured.save(); },
      [&] {
        remove_and_settle(plain);
        return write_plainly(plain, measured.bytes);
      });
  conclude(state, measured, samples.seconds, at_least(0.8), 1 / median(samples.times),
           "of the speed at which one file is written plainly, with fsync");
}

void measure_cold_load(benchmark::State& state, Measured& measured) {
  const auto drop = [&] {
    if (!drop_cached(measured.files))
      state.SkipWithError("the files stay in memory, so no disk is read: give a folder on one, --checkpoint_folder=FOLDER");
  };
  const Samples samples = between_yardsticks(
      state,
      [&] {
        measured.run.restart();
        drop();
        return measured.run.load(measured.root);
      },
      [&] {
        drop();
        return read_plainly(measured.files);
      });
  if (state.error_occurred()) return;
  conclude(state, measured, samples.seconds, at_least(0.8), 1 / median(samples.times),
           "of the speed at which the same files are read plainly, none of them in memory");
}

void measure_warm_load(benchmark::State& state, Measured& measured) {
  read_plainly(measured.files);
  const Samples samples = between_yardsticks(
      state,
      [&] {
        measured.run.restart();
        return measured.run.load(measured.root);
      },
      [&] { return read_plainly(measured.files); });
  conclude(state, measured, samples.seconds, at_most(2.5), median(samples.times),
           "times as long as the same files are read plainly, all of them in memory");
}

// As many bytes as the ranks copy, copied by as many threads.
class Copy {
 public:
  explicit Copy(const SavingRun& run) {
    for (int rank = 0; rank < SavingRun::ranks; ++rank) {
      from_.emplace_back(meter_, run.snapshot_bytes(rank));
      to_.emplace_back(meter_, run.snapshot_bytes(rank));
      std::memset(from_.back().bytes(), 1, from_.back().size());  // pages that were never written are all the same zeros
    }
    seconds();
  }
  double seconds() const {
    return seconds_on(SavingRun::ranks, [&](int thread) {
      const auto rank = static_cast<size_t>(thread);
      std::memcpy(to_[rank].bytes(), from_[rank].bytes(), from_[rank].size());
    });
  }

 private:
  MemoryMeter meter_;
  std::vector<Buffer> from_, to_;
};

void measure_stall(benchmark::State& state, Measured& measured) {
  measured.save_without_waiting();  // the memory for copies is kept from one to the next
  const Copy copy(measured.run);
  const Samples samples = between_yardsticks(
      state, [&] { return measured.save_without_waiting(); }, [&] { return copy.seconds(); });
  conclude(state, measured, samples.seconds, at_most(1.3), median(samples.times),
           "times as long as one copy of what is saved takes, in memory");
}

// What the kernel says of this process under that name, in bytes.
uint64_t memory_of_process(const std::string& name) {
  std::ifstream in("/proc/self/status");
  for (std::string word; in >> word;) {
    uint64_t kilobytes = 0;
    if (word == name + ":" && in >> kilobytes) return kilobytes * 1024;
  }
  throw std::runtime_error("the kernel does not tell " + name + " of a process");
}

void forget_peak() {
  std::ofstream out("/proc/self/clear_refs");
  if (!(out << "5" << std::flush)) throw std::runtime_error("the kernel does not let a process forget its peak of memory");
}

void measure_memory(benchmark::State& state, Measured& measured) {
  std::vector<double> seconds, added;
  while (state.KeepRunning()) {
    remove_and_settle(measured.root);
    measured.run.step();
    ::malloc_trim(0);  // what was freed and kept would hide what the save asks for
    forget_peak();
    const uint64_t before = memory_of_process("VmRSS");
    seconds.push_back(measured.run.save(measured.root));
    const uint64_t peak = memory_of_process("VmHWM");
    added.push_back(static_cast<double>(peak - std::min(peak, before)) / SavingRun::ranks / mega);
    state.SetIterationTime(seconds.back());
  }
  conclude(state, measured, seconds, at_most(64), *std::max_element(added.begin(), added.end()),
           "MiB a rank more than before the save, at the most");
}

void measure_bytes(benchmark::State& state, Measured& measured) {
  std::vector<double> seconds;
  while (state.KeepRunning()) {
    seconds.push_back(measured.save());
    state.SetIterationTime(seconds.back());
  }
  const double held = static_cast<double>(measured.run.elements()) * SavingRun::held;
  conclude(state, measured, seconds, at_most(1.02), static_cast<double>(measured.bytes) / held,
           "times what must be held: parameter 4, variance 4, worker errors 4 + 4, server error 4, kept mean 1/8 and scales");
}

}  // namespace

void add_checkpoint_rows(const CheckpointOptions& options) {
  const auto add = [&](const char* what, int samples, void (*measure)(benchmark::State&, Measured&)) {
    benchmark::RegisterBenchmark(what,
                                 [options, measure](benchmark::State& state) {
                                   Measured measured(options);
                                   measured.save();  // so that memory, files and their sizes are there
                                   measure(state, measured);
                                 })
        ->UseManualTime()
        ->Iterations(options.small ? 1 : samples)
        ->Unit(benchmark::kMillisecond);
  };
  add("checkpoint: save", 7, measure_save);
  add("checkpoint: load, cold", 7, measure_cold_load);
  add("checkpoint: load, warm", 9, measure_warm_load);
  add("checkpoint: stall of an async save", 7, measure_stall);
  add("checkpoint: memory of a save", 3, measure_memory);
  add("checkpoint: bytes on the disk", 1, measure_bytes);
}

}  // namespace onebit::bench
