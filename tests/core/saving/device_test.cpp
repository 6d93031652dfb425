// SPDX-License-Identifier: Apache-2.0
// A device saves and loads as the CPU does: the same files to the byte, from either to the other, and the same steps after it.
#include <doctest/doctest.h>

#include <algorithm>
#include <functional>

#include "core/cuda/device_cases.hpp"
#include "core/cuda/device_sessions.hpp"
#include "core/saving/saving_runs.hpp"
#include "onebit/safetensors.hpp"

using namespace onebit;
using namespace onebit::test;

namespace {

struct Moving {
  std::string name;
  DeviceCase run;
  std::vector<int64_t> saves;
};

// Few, for on the emulated device a run takes as long as hundreds on the CPU.
std::vector<Moving> moving_cases() {
  const std::string codec = "\n[compressor]\nplugin = \"onebit\"\nblock = 256\n";
  const std::string adam = "[optimizer]\nplugin = \"onebit_adam\"\nfreeze_step = 3\ndense = [\"t0\"]\n";
  const std::string lamb = "[optimizer]\nplugin = \"onebit_lamb\"\nfreeze_step = 2\n";
  const std::string zeroone =
      "[optimizer]\nplugin = \"zeroone_adam\"\nvar_freeze_step = 5\nvar_update_scaler = 1\nlocal_step_scaler = "
      "3\nlocal_step_clipper = 4\n";
  return {{"onebit_adam", {"", 2, adam + codec, "", 7, -1}, {2, 3, 5, 7}},
          {"onebit_lamb", {"", 1, lamb + codec, "", 5, -1}, {3, 4, 5}},
          {"zeroone_adam", {"", 2, zeroone + codec, "", 12, -1}, {4, 9, 11, 12}}};
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
                          rank.session.settle();  // else its gradients would change under it
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
    const RunFolder cpu, device, to_device, to_cpu;
    const bool waits = moving.name == "onebit_adam";  // the others are copied first
    train_cpu(moving, "", cpu.path());
    train_device(moving, "", device.path(), waits);
    for (const int64_t step : moving.saves) CHECK(files_differ(at_step(cpu.path(), step), at_step(device.path(), step)) == "");
    const int64_t from = moving.saves[moving.saves.size() - 3];  // 0/1 Adam's is between two syncs
    CAPTURE(from);
    train_device(moving, at_step(cpu.path(), from), to_device.path(), waits);
    train_cpu(moving, at_step(device.path(), from), to_cpu.path());
    for (const int64_t step : moving.saves) {
      if (step <= from) continue;
      CHECK(files_differ(at_step(cpu.path(), step), at_step(to_device.path(), step)) == "");
      CHECK(files_differ(at_step(cpu.path(), step), at_step(to_cpu.path(), step)) == "");
    }
  }
}

TEST_CASE("saving: other ranks on a device come to what they come to on the CPU") {
  const std::string tables =
      "[optimizer]\nplugin = \"onebit_adam\"\nfreeze_step = 3\n\n[compressor]\nplugin = \"onebit\"\nblock = "
      "256\nscale = \"tensor\"\n";
  const RunFolder root;
  train_cpu({"", {"", 2, tables, "", 6, -1}, {6}}, "", root.path());
  for (const int ranks : {1, 3}) {
    CAPTURE(ranks);
    const RunFolder cpu, device;
    const Moving moving = {"", {"", ranks, tables, "", 8, -1}, {7, 8}};
    train_cpu(moving, root.path(), cpu.path());
    train_device(moving, root.path(), device.path());
    for (const int64_t step : moving.saves) CHECK(files_differ(at_step(cpu.path(), step), at_step(device.path(), step)) == "");
  }
}

TEST_CASE("saving: a device's tensor that is not row by row in memory is in the file row by row, and comes back") {
  const Tensors initial = {random_tensors(5, 0.5F)[1]};  // 700 elements, which are 7 x 100 in columns
  const std::string toml = "[optimizer]\nplugin = \"adam\"\n[communicator]\nplugin = \"nccl\"\n[session]\ndevice = \"cuda\"\n";
  const RunFolder root;
  const auto run = [&](const Tensors& values, const std::function<void(Session&)>& body) {
    LocalRendezvous rendezvous(1);
    DeviceTensors own(values);
    const Configuration configuration(device_plugins(), Manifest::parse(toml, "test.toml", "."));
    std::vector<Parameter> parameters = own.parameters();
    parameters[0].shape = {7, 100};
    parameters[0].strides = {1, 7};
    Session session(device_plugins(), configuration, rendezvous.at(0), parameters);
    body(session);
    return own.get();
  };
  run(initial, [&](Session& session) { session.save(root.path()); });
  const SafetensorsReader reader(at_step(root.path(), 0) / "model.safetensors");
  const std::vector<float> rows = reader.read("t0");
  for (size_t row = 0, i = 0; row < 7; ++row)
    for (size_t column = 0; column < 100; ++column, ++i) REQUIRE(rows[i] == initial[0][column * 7 + row]);
  const Tensors loaded = run({std::vector<float>(700)}, [&](Session& session) { session.load(root.path()); });
  CHECK(same_bits(loaded, initial));
}
