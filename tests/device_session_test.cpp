// Sessions whose tensors are in device memory, on the emulated CUDA runtime: the bits of the same session on the CPU, nothing
// allocated in a step, no wait of the host inside one, and what goes wrong told at the next.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>

#include "cuda_on_cpu/control.hpp"
#include "device_sessions.hpp"

namespace onebit::test {
namespace {

const std::vector<size_t> sizes = {70, 5000, 33, 9001, 1};

Tensors random(uint32_t seed, float deviation) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> distribution(0, deviation);
  Tensors tensors;
  for (const size_t size : sizes) {
    tensors.emplace_back(size);
    for (float& value : tensors.back()) value = distribution(generator);
  }
  return tensors;
}
Tensors gradients_of(int step, int rank) { return random(static_cast<uint32_t>(1000 * step + rank + 1), 0.1F); }

bool same(const Tensors& a, const Tensors& b) {
  for (size_t t = 0; t < a.size(); ++t)
    if (std::memcmp(a[t].data(), b[t].data(), a[t].size() * sizeof(float)) != 0) return false;
  return a.size() == b.size();
}

// tables: [optimizer] first.
std::string manifest(const std::string& tables, const std::string& device) {
  const std::string session = "\n[session]\ndevice = \"" + device + "\"\n";
  const std::string communicator = device == "cuda" ? "nccl" : "threads";
  return tables + "\n[communicator]\nplugin = \"" + communicator + "\"\n" + session;
}

struct Reports {
  std::vector<double> norms, scales;
  std::vector<bool> skipped, compressed, local;
  void add(const StepReport& report) {
    norms.push_back(report.gradient_norm);
    scales.push_back(report.gradient_scale);
    skipped.push_back(report.skipped);
    compressed.push_back(report.compressed);
    local.push_back(report.local);
  }
  bool operator==(const Reports& other) const {
    return norms == other.norms && scales == other.scales && skipped == other.skipped && compressed == other.compressed &&
           local == other.local;
  }
};

// The same training on both devices. broken: a step in which one rank has a gradient that is not finite.
void compare(int ranks, const std::string& tables, const std::string& session = "", int steps = 9, int broken = 4) {
  CAPTURE(ranks);
  CAPTURE(tables);
  const auto gradients = [&](int step, int rank) {
    Tensors made = gradients_of(step, rank);
    if (step == broken && rank == ranks - 1) made[1][17] = std::numeric_limits<float>::quiet_NaN();
    return made;
  };
  Reports on_cpu, on_cuda;
  const Tensors initial = random(5, 0.5F);
  const auto cpu = run_sessions(ranks, manifest(tables, "cpu") + session, initial, [&](test::Rank rank) {
    for (int step = 0; step < steps; ++step) {
      const Tensors own = gradients(step, rank.number);
      const StepReport report = rank.session.step(pointers(own));
      if (rank.number == 0) on_cpu.add(report);
    }
  });
  const auto cuda = run_device_sessions(ranks, manifest(tables, "cuda") + session, initial, [&](DeviceRank rank) {
    for (int step = 0; step < steps; ++step) {
      rank.gradients.set(gradients(step, rank.number));
      rank.session.step(rank.gradients.pointers(), rank.stream);
      const StepReport report = rank.session.settle();
      if (rank.number == 0) on_cuda.add(report);
    }
    CHECK(rank.parameters.intact());
  });
  CHECK(on_cpu == on_cuda);
  const bool one_bit = tables.find("[compressor]") != std::string::npos;
  CHECK((std::count(on_cpu.compressed.begin(), on_cpu.compressed.end(), true) > 0) == one_bit);
  CHECK(std::count(on_cpu.skipped.begin(), on_cpu.skipped.end(), true) == (broken >= 0 ? 1 : 0));
  for (size_t rank = 0; rank < cpu.size(); ++rank) CHECK(same(cpu[rank], cuda[rank]));
}

const std::string onebit = "\n[compressor]\nplugin = \"onebit\"\nblock = 256\n";

}  // namespace

TEST_CASE("cuda session: adam and lamb, the bits of the CPU") {
  for (const int ranks : {1, 2, 3}) {
    compare(ranks, "[optimizer]\nplugin = \"adam\"\n");
    compare(ranks, "[optimizer]\nplugin = \"lamb\"\n");
  }
}

TEST_CASE("cuda session: gradients that travel in 16 bits, clipped, the bits of the CPU") {
  for (const char* type : {"fp16", "bf16"})
    compare(2, std::string("[optimizer]\nplugin = \"adam\"\n[exchange]\ndense_dtype = \"") + type + "\"\n",
            "clip_norm = 0.5\n");
}

TEST_CASE("cuda session: the 1-bit optimizers, through the freeze, the bits of the CPU") {
  for (const int ranks : {1, 2, 4}) {
    compare(ranks, "[optimizer]\nplugin = \"onebit_adam\"\nfreeze_step = 3\ndense = [\"t0\"]\n" + onebit);
    compare(ranks, "[optimizer]\nplugin = \"onebit_lamb\"\nfreeze_step = 3\n" + onebit);
  }
}

TEST_CASE("cuda session: 0/1 Adam with local steps, the bits of the CPU") {
  compare(2,
          "[optimizer]\nplugin = \"zeroone_adam\"\nvar_freeze_step = 6\nvar_update_scaler = 1\nlocal_step_scaler = 3\n"
          "local_step_clipper = 4\n" +
              onebit,
          "", 20, 13);
}

TEST_CASE("cuda session: scales of tensors and buckets, small buckets, small tensors uncompressed") {
  for (const char* scale : {"tensor", "bucket"})
    compare(2, std::string("[optimizer]\nplugin = \"onebit_adam\"\nfreeze_step = 2\n[compressor]\nplugin = \"onebit\"\n") +
                   "block = 256\nscale = \"" + scale + "\"\n[exchange]\nbucket_bytes = 8192\ndense_below = 100\n");
}

TEST_CASE("cuda session: freeze \"auto\" comes at the same step as on the CPU") {
  compare(
      2, "[optimizer]\nplugin = \"onebit_adam\"\nfreeze_step = \"auto\"\nfreeze_threshold = 0.6\nbetas = [0.9, 0.9]\n" + onebit,
      "", 12, -1);
}

TEST_CASE("cuda session: nothing is allocated in a step, and the host waits for the device between steps only") {
  const std::string toml =
      manifest("[optimizer]\nplugin = \"onebit_adam\"\nfreeze_step = 2\n" + onebit, "cuda") + "clip_norm = 1\n";
  run_device_sessions(1, toml, random(5, 0.5F), [&](DeviceRank rank) {
    rank.gradients.set(gradients_of(0, 0));
    for (int step = 0; step < 4; ++step) rank.session.step(rank.gradients.pointers(), rank.stream);  // both stages were seen
    rank.session.settle();
    const cuda_on_cpu::Counters before = cuda_on_cpu::counters();
    rank.session.step(rank.gradients.pointers(), rank.stream);
    const cuda_on_cpu::Counters after = cuda_on_cpu::counters();
    CHECK(after.device_allocations == before.device_allocations);
    CHECK(after.pinned_allocations == before.pinned_allocations);
    CHECK(after.waits == before.waits);
    CHECK(after.launches > before.launches);
  });
}

TEST_CASE("cuda session: launches grow with buckets, not with tensors") {
  const auto launches = [](size_t tensors) {
    const Tensors model(tensors, std::vector<float>(64, 0.5F));
    int64_t counted = 0;
    run_device_sessions(1, manifest("[optimizer]\nplugin = \"onebit_lamb\"\nfreeze_step = 1\n" + onebit, "cuda"), model,
                        [&](DeviceRank rank) {
                          for (int step = 0; step < 3; ++step) rank.session.step(rank.gradients.pointers(), rank.stream);
                          rank.session.settle();
                          const int64_t before = cuda_on_cpu::counters().launches;
                          rank.session.step(rank.gradients.pointers(), rank.stream);
                          counted = cuda_on_cpu::counters().launches - before;
                        });
    return counted;
  };
  CHECK(launches(400) == launches(4));
}

TEST_CASE("cuda session: a step waits for the embedder's stream, and what comes after on that stream waits for the step") {
  const Tensors initial = random(5, 0.5F), gradients = gradients_of(1, 0);
  Tensors seen = initial;
  const auto after =
      run_device_sessions(1, manifest("[optimizer]\nplugin = \"adam\"\n", "cuda"), initial, [&](DeviceRank rank) {
        // gradients are still on their way when step is called, and parameters are read right after it, on the same stream
        for (size_t t = 0; t < sizes.size(); ++t)
          REQUIRE(cudaMemcpyAsync(const_cast<float*>(rank.gradients.pointers()[t]), gradients[t].data(),
                                  gradients[t].size() * sizeof(float), cudaMemcpyHostToDevice, rank.stream) == cudaSuccess);
        rank.session.step(rank.gradients.pointers(), rank.stream);
        for (size_t t = 0; t < sizes.size(); ++t)
          REQUIRE(cudaMemcpyAsync(seen[t].data(), rank.parameters.parameters()[t].data, seen[t].size() * sizeof(float),
                                  cudaMemcpyDeviceToHost, rank.stream) == cudaSuccess);
        REQUIRE(cudaStreamSynchronize(rank.stream) == cudaSuccess);
      });
  const auto cpu = run_sessions(1, manifest("[optimizer]\nplugin = \"adam\"\n", "cpu"), initial,
                                [&](test::Rank rank) { rank.session.step(pointers(gradients)); });
  CHECK(same(seen, cpu[0]));
  CHECK(same(after[0], cpu[0]));
}

TEST_CASE("cuda session: what can be asked for, and evaluation at the anchor") {
  const std::string tables =
      "[optimizer]\nplugin = \"zeroone_adam\"\nvar_freeze_step = 1\nlocal_step_scaler = 1\nlocal_step_clipper = 8\n" + onebit;
  run_device_sessions(2, manifest(tables, "cuda") + "verify_every = 1\n", random(5, 0.5F), [&](DeviceRank rank) {
    for (int step = 0; step < 5; ++step) {
      rank.gradients.set(gradients_of(step, rank.number));
      rank.session.step(rank.gradients.pointers(), rank.stream);
    }
    CHECK(rank.session.next_step() == 6);
    CHECK(rank.session.settle().local);
    const Traffic traffic = rank.session.traffic();
    CHECK(traffic.local_steps > 0);
    CHECK(traffic.agreement_bytes > 0);
    CHECK(rank.session.footprint().peak > 0);
    uint64_t hashes[2] = {};
    const onebit_part parts[2] = {{0, 8}, {8, 8}};
    {
      const Session::AtAnchor shared(rank.session);
      const uint64_t own = rank.session.parameter_hash();
      Communicator& all = rank.session.communicator();
      all.wait(all.all_gather(&own, hashes, parts, Call()));
    }
    CHECK(hashes[0] == hashes[1]);
  });
}

TEST_CASE("cuda session: without a device, what needs one says why") {
  cuda_on_cpu::set_devices(0);
  const Registry registry;
  const std::filesystem::path folder = Registry::default_folder().parent_path() / "plugins_on_cpu";
  const PluginInfo& info = const_cast<Registry&>(registry).load(folder / "onebit_plugin_adam_cuda.so");
  cuda_on_cpu::set_devices(1);
  CHECK(info.unavailable.find("no CUDA device can be used: ") == 0);
  std::string text;
  try {
    registry.find(Kind::optimizer, "adam", ONEBIT_DEVICE_CUDA);
  } catch (const Error& e) {
    text = e.what();
  }
  CHECK(text.find("optimizer 'adam' for cuda can't be used on this machine: no CUDA device can be used: ") !=
        std::string::npos);
}

}  // namespace onebit::test
