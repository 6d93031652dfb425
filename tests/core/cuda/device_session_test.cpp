// SPDX-License-Identifier: Apache-2.0
// Sessions whose tensors are in device memory, on the emulated CUDA runtime: the bits of the same session on the CPU, nothing
// allocated in a step, no wait of the host inside one, and what goes wrong told at the next.
#include <doctest/doctest.h>

#include <string>

#include "cuda_on_cpu/control.hpp"
#include "device_cases.hpp"
#include "device_sessions.hpp"
#include "launch/gathering.hpp"

namespace onebit::test {
namespace {

const std::string onebit = "\n[compressor]\nplugin = \"onebit\"\nblock = 256\n";

DeviceCase made_of(const std::string& tables, const std::string& session = "") { return {"", 1, tables, session}; }
Tensors initial() { return initial_of(made_of("")); }
Tensors gradients_of(int step, int rank) { return gradients_of(DeviceCase{"", 0, "", "", 0, -1}, step, rank); }

DeviceOutcome run_on_device(const DeviceCase& run) {
  DeviceOutcome outcome;
  outcome.parameters = run_device_sessions(run.ranks, run.manifest("cuda"), initial_of(run), [&](DeviceRank rank) {
    for (int step = 0; step < run.steps; ++step) {
      rank.gradients.set(gradients_of(run, step, rank.number));
      rank.session.step(rank.gradients.pointers(), rank.stream);
      const StepReport report = rank.session.settle();
      if (rank.number == 0) outcome.reports.push_back(report);
    }
    CHECK(rank.parameters.intact());
  });
  return outcome;
}

}  // namespace

TEST_CASE("cuda session: the bits of the CPU") {
  for (const DeviceCase& run : device_cases()) {
    CAPTURE(run.name);
    const DeviceOutcome cpu = run_on_cpu(run), cuda = run_on_device(run);
    const bool one_bit = run.tables.find("[compressor]") != std::string::npos;
    CHECK((cpu.count(&StepReport::compressed) > 0) == one_bit);
    if (cpu.count(&StepReport::local) == 0) CHECK(cpu.count(&StepReport::skipped) == (run.broken >= 0 ? 1 : 0));
    REQUIRE(cpu.reports.size() == cuda.reports.size());
    for (size_t step = 0; step < cpu.reports.size(); ++step) CHECK(same(cpu.reports[step], cuda.reports[step]));
    for (size_t rank = 0; rank < cpu.parameters.size(); ++rank) CHECK(same(cpu.parameters[rank], cuda.parameters[rank]));
  }
}

TEST_CASE("cuda session: after too many skipped steps the error names rank, tensor and first step, on every rank") {
  const std::string toml = made_of("[optimizer]\nplugin = \"adam\"\n", "max_skipped = 3\n").manifest("cuda");
  std::vector<std::string> errors(2);
  CHECK_THROWS(run_device_sessions(2, toml, initial(), [&](DeviceRank rank) {
    try {
      for (int step = 1; step <= 9; ++step) {
        Tensors gradients = gradients_of(step, rank.number);
        if (rank.number == 1 && step >= 2) gradients[3][1300] = std::numeric_limits<float>::quiet_NaN();
        rank.gradients.set(gradients);
        rank.session.step(rank.gradients.pointers(), rank.stream);
        rank.session.settle();
      }
    } catch (const Error& e) {
      errors[static_cast<size_t>(rank.number)] = e.what();
      throw;
    }
  }));
  for (const std::string& error : errors)
    CHECK_MESSAGE(error.find("3 steps in a row were skipped (session.max_skipped), the first of them step 2: the gradient of "
                             "'t3' on rank 1 is not finite, or larger than 2^55") != std::string::npos,
                  error);
}

TEST_CASE("cuda session: nothing is allocated in a step, and the host waits for the device between steps only") {
  const std::string tables = "[optimizer]\nplugin = \"onebit_adam\"\nfreeze_step = 2\n" + onebit;
  const std::string toml = made_of(tables, "clip_norm = 1\n").manifest("cuda");
  run_device_sessions(1, toml, initial(), [&](DeviceRank rank) {
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

// The bytes a parameter that README promises, where a model is large enough that nothing else counts.
TEST_CASE("cuda session: device memory is what the footprint says, and a parameter costs what it costs on the CPU") {
  const Tensors model(1, std::vector<float>(1 << 17, 0.5F));
  for (const auto& promised : {std::pair{"onebit_adam", 4.0}, {"zeroone_adam", 16.0}, {"onebit_lamb", 8.0}}) {
    const char* const optimizer = promised.first;
    const double state = promised.second;
    CAPTURE(optimizer);
    const std::string freeze = std::string(optimizer) == "zeroone_adam" ? "var_freeze_step = 1\n" : "freeze_step = 1\n";
    const std::string tables =
        std::string("[optimizer]\nplugin = \"") + optimizer + "\"\n" + freeze + "[compressor]\nplugin = \"onebit\"\n";
    run_device_sessions(2, made_of(tables).manifest("cuda"), model, [&](DeviceRank rank) {
      for (int step = 0; step < 3; ++step) rank.session.step(rank.gradients.pointers(), rank.stream);
      rank.session.settle();
      const Footprint footprint = rank.session.footprint();
      double held = 0;
      for (const StateBytes& slot : footprint.state) held += static_cast<double>(slot.bytes);
      const double parameters = static_cast<double>(model[0].size());
      CHECK(held / parameters == doctest::Approx(state).epsilon(0.01));
      CHECK(static_cast<double>(footprint.worker_error) / parameters == doctest::Approx(4).epsilon(0.01));
      CHECK(static_cast<double>(footprint.server_error) / parameters == doctest::Approx(2).epsilon(0.02));
      rank.session.communicator().barrier(Call());
      const auto bytes = static_cast<double>(cuda_on_cpu::counters().device_bytes);
      rank.session.communicator().barrier(Call());
      const double tensors = 2 * 2 * 4 * parameters;  // of two ranks, with gradients
      const double sessions = 2 * static_cast<double>(footprint.held() + footprint.exchange_buffers);
      CHECK(bytes - tensors == doctest::Approx(sessions).epsilon(0.02));
    });
  }
}

TEST_CASE("cuda session: launches grow with buckets, not with tensors") {
  const auto launches = [](size_t tensors) {
    const Tensors model(tensors, std::vector<float>(16, 0.5F));
    int64_t counted = 0;
    run_device_sessions(1, made_of("[optimizer]\nplugin = \"onebit_lamb\"\nfreeze_step = 1\n" + onebit).manifest("cuda"), model,
                        [&](DeviceRank rank) {
                          for (int step = 0; step < 3; ++step) rank.session.step(rank.gradients.pointers(), rank.stream);
                          rank.session.settle();
                          const int64_t before = cuda_on_cpu::counters().launches;
                          rank.session.step(rank.gradients.pointers(), rank.stream);
                          counted = cuda_on_cpu::counters().launches - before;
                        });
    return counted;
  };
  CHECK(launches(100) == launches(4));
}

TEST_CASE("cuda session: a step waits for the embedder's stream, and what comes after on that stream waits for the step") {
  const Tensors start = initial(), gradients = gradients_of(1, 0);
  Tensors seen = start;
  const auto after =
      run_device_sessions(1, made_of("[optimizer]\nplugin = \"adam\"\n").manifest("cuda"), start, [&](DeviceRank rank) {
        // gradients are still on their way when step is called, and parameters are read right after it, on the same stream
        for (size_t t = 0; t < start.size(); ++t)
          REQUIRE(cudaMemcpyAsync(const_cast<float*>(rank.gradients.pointers()[t]), gradients[t].data(),
                                  gradients[t].size() * sizeof(float), cudaMemcpyHostToDevice, rank.stream) == cudaSuccess);
        rank.session.step(rank.gradients.pointers(), rank.stream);
        for (size_t t = 0; t < start.size(); ++t)
          REQUIRE(cudaMemcpyAsync(seen[t].data(), rank.parameters.parameters()[t].data, seen[t].size() * sizeof(float),
                                  cudaMemcpyDeviceToHost, rank.stream) == cudaSuccess);
        REQUIRE(cudaStreamSynchronize(rank.stream) == cudaSuccess);
      });
  const auto cpu = run_sessions(1, made_of("[optimizer]\nplugin = \"adam\"\n").manifest("cpu"), start,
                                [&](test::Rank rank) { rank.session.step(pointers(gradients)); });
  CHECK(same(seen, cpu[0]));
  CHECK(same(after[0], cpu[0]));
}

TEST_CASE("cuda session: what can be asked for, and evaluation at the anchor") {
  const std::string tables =
      "[optimizer]\nplugin = \"zeroone_adam\"\nvar_freeze_step = 1\nlocal_step_scaler = 1\nlocal_step_clipper = 8\n" + onebit;
  run_device_sessions(2, made_of(tables, "verify_every = 1\n").manifest("cuda"), initial(), [&](DeviceRank rank) {
    for (int step = 0; step < 5; ++step) {
      REQUIRE(cudaStreamSynchronize(rank.stream) ==
              cudaSuccess);  // which has waited for the step: it reads no gradient any more
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
    CHECK(host::text_of_first(rank.session.communicator(), rank.number == 0 ? "first" : "another") == "first");
    std::vector<double> sums = {1.0 + rank.number};
    host::sum_over_ranks(rank.session.communicator(), sums);
    CHECK(sums[0] == 3);
  });
}

TEST_CASE("cuda session: parameters with other memory are followed, with the bits of those that stayed") {
  for (const char* optimizer : {"\"onebit_adam\"\nfreeze_step = 3\n", "\"zeroone_adam\"\nvar_freeze_step = 2\n"}) {
    const DeviceCase run = {"", 2, "[optimizer]\nplugin = " + std::string(optimizer) + onebit, "", 9, -1};
    std::vector<Tensors> found(2);
    run_device_sessions(2, run.manifest("cuda"), initial_of(run), [&](DeviceRank rank) {
      DeviceTensors elsewhere(initial_of(run));
      std::vector<Parameter> parameters = rank.parameters.parameters();
      for (int step = 0; step < run.steps; ++step) {
        if (step == 4) {
          elsewhere.set(rank.parameters.get());
          Tensors left = initial_of(run);
          left[2] = rank.parameters.get()[2];  // this one stays
          rank.parameters.set(left);
          for (const size_t t : {0, 1, 3, 4}) parameters[t].data = elsewhere.parameters()[t].data;
        }
        rank.gradients.set(gradients_of(run, step, rank.number));
        std::vector<Gradient> gradients;
        for (size_t t = 0; t < parameters.size(); ++t) gradients.push_back({rank.gradients.pointers()[t], parameters[t]});
        rank.session.step(ModelGradients(std::move(gradients)), rank.stream);
        rank.session.settle();
      }
      found[static_cast<size_t>(rank.number)] = elsewhere.get();
      found[static_cast<size_t>(rank.number)][2] = rank.parameters.get()[2];
      for (const size_t t : {0, 1, 3, 4}) CHECK(rank.parameters.get()[t] == initial_of(run)[t]);
    });
    const DeviceOutcome cpu = run_on_cpu(run);
    for (size_t rank = 0; rank < 2; ++rank) CHECK(same(found[rank], cpu.parameters[rank]));
  }
}

TEST_CASE("cuda session: what the new memory of a parameter holds must be the same on all ranks") {
  std::vector<std::string> found(2);
  const auto rank_one_moves = [&](DeviceRank rank) {
    Tensors other = initial();
    if (rank.number == 1) other[3][17] += 1;
    const DeviceTensors elsewhere(other);
    std::vector<Gradient> gradients;
    for (size_t t = 0; t < other.size(); ++t)
      gradients.push_back({rank.gradients.pointers()[t], (rank.number == 0 ? rank.parameters : elsewhere).parameters()[t]});
    try {
      rank.session.step(ModelGradients(std::move(gradients)), rank.stream);
      rank.session.settle();
    } catch (const Error& e) {
      found[static_cast<size_t>(rank.number)] = e.what();
    }
  };
  CHECK_THROWS(run_device_sessions(2, made_of("[optimizer]\nplugin = \"adam\"\n").manifest("cuda"), initial(), rank_one_moves));
  for (const std::string& text : found)
    CHECK(text.find("after step 1 parameter 't3' of rank 1 differs from rank 0's: before that step") == 0);
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
