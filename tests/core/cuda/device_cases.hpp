// SPDX-License-Identifier: Apache-2.0
// Training runs whose bits must be the same on a device as on the CPU: on the emulated one (device_session_test.cpp), whose
// ranks are threads, and on a real one (gpu/), whose ranks are processes.
#pragma once

#include <algorithm>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "support/sessions.hpp"

namespace onebit::test {

struct DeviceCase {
  std::string name;
  int ranks;
  std::string tables;   // [optimizer] first
  std::string session;  // more keys of [session]
  int steps = 9;
  int broken = 4;         // the step in which the last rank has a gradient that is not finite; -1: none
  bool is_early = false;  // its steps begin before their gradients are there; the model is larger

  // Where tensors are, and the communicator of such.
  std::string manifest(const std::string& device) const { return manifest(device, device == "cuda" ? "nccl" : "threads"); }
  std::string manifest(const std::string& device, const std::string& communicator) const {
    return tables + "\n[communicator]\nplugin = \"" + communicator + "\"\n\n[session]\ndevice = \"" + device + "\"\n" + session;
  }
};

inline Tensors random_tensors(uint32_t seed, float deviation, bool large = false) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> distribution(0, deviation);
  Tensors tensors;
  for (const size_t size : {70, 700, 33, 1301, 1}) {
    tensors.emplace_back(large && size > 100 ? size + 4000 : size);
    for (float& value : tensors.back()) value = distribution(generator);
  }
  return tensors;
}
inline Tensors initial_of(const DeviceCase& run) { return random_tensors(5, 0.5F, run.is_early); }
inline Tensors gradients_of(const DeviceCase& run, int step, int rank) {
  Tensors made = random_tensors(static_cast<uint32_t>(1000 * step + rank + 1), 0.1F, run.is_early);
  if (step == run.broken && rank == run.ranks - 1) made[1][17] = std::numeric_limits<float>::quiet_NaN();
  return made;
}

inline bool same(const Tensors& a, const Tensors& b) {
  for (size_t t = 0; t < a.size(); ++t)
    if (std::memcmp(a[t].data(), b[t].data(), a[t].size() * sizeof(float)) != 0) return false;
  return a.size() == b.size();
}
inline bool same(const StepReport& a, const StepReport& b) {
  return a.number == b.number && a.skipped == b.skipped && a.compressed == b.compressed && a.local == b.local &&
         a.gradient_norm == b.gradient_norm && a.gradient_scale == b.gradient_scale && a.clamped_share == b.clamped_share;
}

// What a run comes to.
struct DeviceOutcome {
  std::vector<StepReport> reports;  // of rank 0
  std::vector<Tensors> parameters;  // by rank

  int64_t count(bool StepReport::*what) const {
    return std::count_if(reports.begin(), reports.end(), [&](const StepReport& report) { return report.*what; });
  }
};

inline DeviceOutcome run_on_cpu(const DeviceCase& run) {
  DeviceOutcome outcome;
  outcome.parameters = run_sessions(run.ranks, run.manifest("cpu"), initial_of(run), [&](Rank rank) {
    for (int step = 0; step < run.steps; ++step) {
      const Tensors gradients = gradients_of(run, step, rank.number);
      const StepReport report = rank.session.step(pointers(gradients));
      if (rank.number == 0) outcome.reports.push_back(report);
    }
  });
  return outcome;
}

inline std::vector<DeviceCase> device_cases() {
  const std::string codec = "\n[compressor]\nplugin = \"onebit\"\nblock = 256\n";
  const std::string adam = "[optimizer]\nplugin = \"adam\"\n", lamb = "[optimizer]\nplugin = \"lamb\"\n";
  const std::string onebit_adam = "[optimizer]\nplugin = \"onebit_adam\"\n", freeze = "freeze_step = 3\n";
  std::vector<DeviceCase> cases;
  for (const int ranks : {1, 2, 4}) {
    const std::string among = ", " + std::to_string(ranks) + (ranks == 1 ? " rank" : " ranks");
    cases.push_back({"adam" + among, ranks, adam, ""});
    cases.push_back({"lamb" + among, ranks, lamb, ""});
    cases.push_back({"onebit_adam" + among, ranks, onebit_adam + freeze + "dense = [\"t0\"]\n" + codec, ""});
    cases.push_back({"onebit_lamb" + among, ranks, "[optimizer]\nplugin = \"onebit_lamb\"\n" + freeze + codec, ""});
  }
  for (const char* type : {"fp16", "bf16"})
    cases.push_back({std::string("gradients in ") + type + ", clipped", 2,
                     adam + "[exchange]\ndense_dtype = \"" + type + "\"\n", "clip_norm = 0.5\n"});
  cases.push_back({"zeroone_adam, with local steps", 2,
                   "[optimizer]\nplugin = \"zeroone_adam\"\nvar_freeze_step = 6\nvar_update_scaler = 1\n"
                   "local_step_scaler = 3\nlocal_step_clipper = 4\n" +
                       codec,
                   "", 20, 13});
  for (const char* scale : {"block", "tensor"})
    cases.push_back({std::string("errors in bf16, scales of a ") + scale, 2,
                     onebit_adam + freeze + codec + "scale = \"" + scale + "\"\n[exchange]\nerror_dtype = \"bf16\"\n", ""});
  for (const char* scale : {"tensor", "bucket"})
    cases.push_back({std::string("scales of a ") + scale + ", small buckets, small tensors uncompressed", 2,
                     onebit_adam + "freeze_step = 2\n" + codec + "scale = \"" + scale +
                         "\"\n[exchange]\nbucket_bytes = 4096\ndense_below = 100\n",
                     ""});
  const std::string refreshed = "betas = [0.9, 0.99]\nrefresh = 0.3\nclamp = 0.5\n";
  for (const std::string optimizer : {"onebit_adam\"\nfreeze_step = 3\n", "onebit_lamb\"\nfreeze_step = 3\n",
                                      "zeroone_adam\"\nvar_freeze_step = 3\nlocal_step_scaler = 5\nlocal_step_clipper = 2\n"})
    cases.push_back({"a variance that is refreshed, " + optimizer.substr(0, optimizer.find('"')), 2,
                     "[optimizer]\nplugin = \"" + optimizer + refreshed + codec, "", 56, 13});
  cases.push_back({"freeze \"auto\"", 2,
                   onebit_adam + "freeze_step = \"auto\"\nfreeze_threshold = 0.6\nbetas = [0.9, 0.9]\n" + codec, "", 12, -1});
  return cases;
}

// The same, with steps that begin before their gradients are there, where they can: their buckets are smaller than the model.
inline std::vector<DeviceCase> early_cases() {
  const std::string table = "[exchange]\n", keys = "bucket_bytes = 4096\nahead_bytes = 20000\n";
  std::vector<DeviceCase> cases;
  for (DeviceCase run : device_cases()) {
    run.name += ", early";
    run.is_early = true;
    run.steps = std::max(run.steps, 16);
    const std::string::size_type place = run.tables.find(table);
    if (place == std::string::npos)
      run.tables += "\n" + table + keys;
    else if (run.tables.find("bucket_bytes") == std::string::npos)
      run.tables.insert(place + table.size(), keys);
    cases.push_back(run);
  }
  return cases;
}

}  // namespace onebit::test
