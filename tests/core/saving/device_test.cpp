// SPDX-License-Identifier: Apache-2.0
// A device saves and loads as the CPU does: the same files to the byte, from either to the other, and the same steps after it.
#include <doctest/doctest.h>

#include "core/cuda/device_cases.hpp"
#include "core/cuda/device_sessions.hpp"
#include "core/saving/saving_runs.hpp"

using namespace onebit;
using namespace onebit::test;

namespace {

struct Moving {
  std::string name;
  DeviceCase run;
  std::vector<int64_t> saves;
};

std::vector<Moving> moving_cases() {
  const std::string onebit = "\n[compressor]\nplugin = \"onebit\"\nblock = 256\n";
  const std::string adam = "[optimizer]\nplugin = \"onebit_adam\"\n";
  return {{"adam", {"", 2, "[optimizer]\nplugin = \"adam\"\n", "", 5, -1}, {3, 5}},
          {"onebit_adam", {"", 2, adam + "freeze_step = 3\ndense = [\"t0\"]\n" + onebit, "", 8, -1}, {2, 3, 6, 8}},
          {"onebit_lamb", {"", 1, "[optimizer]\nplugin = \"onebit_lamb\"\nfreeze_step = 3\n" + onebit, "", 8, -1}, {2, 6, 8}},
          {"zeroone_adam",
           {"", 2,
            "[optimizer]\nplugin = \"zeroone_adam\"\nvar_freeze_step = 5\nvar_update_scaler = 1\nlocal_step_scaler = "
            "3\nlocal_step_clipper = 4\n" +
                onebit,
            "", 15, -1},
           {4, 9, 11, 15}}};
}

// Steps first to the last of the run; saves below root after those that are asked for. from: a checkpoint, or "".
void train_cpu(const Moving& moving, const fs::path& from, const fs::path& root) {
  const DeviceCase& run = moving.run;
  run_sessions(run.ranks, run.manifest("cpu"), from.empty() ? initial_of(run) : random_tensors(99, 1e5F), [&](Rank rank) {
    if (!from.empty()) rank.session.load(from);
    for (int64_t step = rank.session.next_step(); step <= run.steps; ++step) {
      rank.session.step(pointers(gradients_of(run, static_cast<int>(step), rank.number)));
      if (std::count(moving.saves.begin(), moving.saves.end(), step) > 0) rank.session.save(root);
    }
  });
}
void train_device(const Moving& moving, const fs::path& from, const fs::path& root, bool wait = true) {
  const DeviceCase& run = moving.run;
  SaveOptions options;
  options.wait = wait;
  run_device_sessions(run.ranks, run.manifest("cuda"), from.empty() ? initial_of(run) : random_tensors(99, 1e5F),
                      [&](DeviceRank rank) {
                        if (!from.empty()) rank.session.load(from);
                        for (int64_t step = rank.session.next_step(); step <= run.steps; ++step) {
                          rank.gradients.set(gradients_of(run, static_cast<int>(step), rank.number));
                          rank.session.step(rank.gradients.pointers(), rank.stream);
                          if (std::count(moving.saves.begin(), moving.saves.end(), step) > 0) rank.session.save(root, options);
                        }
                        rank.session.finish_save();
                      });
}

std::string files_differ(const fs::path& a, const fs::path& b) {
  for (const CheckpointInfo::File& file : read_checkpoint_info(a).files)
    if (contents_of(a / file.name) != contents_of(b / file.name)) return file.name + " differs";
  return "";
}

}  // namespace

TEST_CASE("saving: from the CPU to a device and back, to the bit") {
  for (const Moving& moving : moving_cases()) {
    CAPTURE(moving.name);
    const ScratchFolder cpu, device, background;
    train_cpu(moving, "", cpu.path());
    train_device(moving, "", device.path());
    train_device(moving, "", background.path(), false);
    for (const int64_t step : moving.saves) {
      CHECK(files_differ(at_step(cpu.path(), step), at_step(device.path(), step)) == "");
      CHECK(files_differ(at_step(cpu.path(), step), at_step(background.path(), step)) == "");
    }
    for (const int64_t from : moving.saves) {
      CAPTURE(from);
      const ScratchFolder to_device, to_cpu;
      train_device(moving, at_step(cpu.path(), from), to_device.path());
      train_cpu(moving, at_step(device.path(), from), to_cpu.path());
      for (const int64_t step : moving.saves)
        if (step > from) {
          CHECK(files_differ(at_step(cpu.path(), step), at_step(to_device.path(), step)) == "");
          CHECK(files_differ(at_step(cpu.path(), step), at_step(to_cpu.path(), step)) == "");
        }
    }
  }
}

TEST_CASE("saving: other ranks on a device come to what they come to on the CPU") {
  for (const std::string scale : {"block", "tensor"})
    for (const int ranks : {1, 3}) {
      CAPTURE(scale);
      CAPTURE(ranks);
      const std::string tables =
          "[optimizer]\nplugin = \"onebit_adam\"\nfreeze_step = 3\n\n[compressor]\nplugin = \"onebit\"\nblock = "
          "256\nscale = \"" +
          scale + "\"\n";
      const ScratchFolder root, cpu, device;
      train_cpu({"", {"", 2, tables, "", 6, -1}, {6}}, "", root.path());
      const Moving moving = {"", {"", ranks, tables, "", 9, -1}, {7, 9}};
      train_cpu(moving, root.path(), cpu.path());
      train_device(moving, root.path(), device.path());
      for (const int64_t step : moving.saves)
        CHECK(files_differ(at_step(cpu.path(), step), at_step(device.path(), step)) == "");
    }
}
