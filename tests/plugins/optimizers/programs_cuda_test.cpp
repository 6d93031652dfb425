// SPDX-License-Identifier: Apache-2.0
// The optimizers on CUDA, run by the emulation, against the same programs on the CPU: the same bits in parameters, messages and
// every number of state, step by step, through all stages.
#include <doctest/doctest.h>

#include <cstring>
#include <random>
#include <string>

#include "arithmetic.hpp"
#include "cuda_on_cpu/control.hpp"
#include "cuda_on_cpu/emulated_component.hpp"
#include "cuda_on_cpu/emulated_device.hpp"
#include "onebit/conformance/fixtures/tile_host.hpp"
#include "support/component.hpp"

namespace onebit::test {

using conformance::TileHost;
namespace {

using Tensors = std::vector<Vector>;

bool same(const Vector& a, const Vector& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// Signs and one scale, as a compressor would leave; a mean of several ranks is no whole multiple of one scale.
Vector roughly(const Vector& message, bool compressed) {
  if (!compressed) return message;
  Vector mean(message.size());
  for (size_t i = 0; i < mean.size(); ++i) mean[i] = (message[i] < 0 ? -0.02F : 0.02F) * (i % 3 == 0 ? 1 : 0.5F);
  return mean;
}

struct Program {
  const char *optimizer, *options;
};

// Tensors that fill no block, exactly one, and several; one that is exempt; one whose first elements never get a gradient.
void compare_devices(const Program& program, int steps, float size = 0.1F, size_t unseen = 100) {
  CAPTURE(program.optimizer);
  CAPTURE(program.options);
  const std::vector<size_t> sizes = {1, 31, 64, 200, 1500, 333};
  const std::vector<uint64_t> flags = {0, 0, 0, ONEBIT_TENSOR_DENSE, 0, 0};
  std::mt19937 generator(7);
  const Tensors initial = random_tensors(generator, sizes, 0.5F);
  const TestStream stream;
  const TileHost::Stream emulated = {{sizeof(onebit_stream), {ONEBIT_DEVICE_CUDA, 0}, static_cast<cudaStream_t>(stream)},
                                     [&] { REQUIRE(cudaStreamSynchronize(stream) == cudaSuccess); }};
  const auto on_cpu = make_optimizer(program.optimizer, program.options),
             on_cuda = make_cuda_optimizer(program.optimizer, program.options);
  TileHost cpu(*on_cpu, initial, 64, flags), cuda(*on_cuda, initial, 64, flags, &emulated);
  for (TileHost* host : {&cpu, &cuda}) {
    host->mean = roughly;
    for (size_t g = 0; g < host->groups.size(); ++g)
      host->groups[g] = {1e-3 * static_cast<double>(g + 1), g % 2 == 0 ? 0.01 : 0};
  }
  for (int step = 0; step < steps; ++step) {
    CAPTURE(step);
    Tensors gradients = random_tensors(generator, sizes, size);
    std::fill_n(gradients[4].begin(), unseen, 0.0F);
    for (TileHost* host : {&cpu, &cuda}) {
      host->gradient_scale = step % 4 == 3 ? 0.37F : 1;
      host->step_flags = step == steps - 1 ? ONEBIT_STEP_SYNC : 0;
      host->step(gradients);
    }
    REQUIRE(same(cpu.message, cuda.message));
    for (size_t t = 0; t < sizes.size(); ++t) REQUIRE(same(cpu.parameters[t], cuda.parameters[t]));
    REQUIRE(cpu.all_state(true) == cuda.all_state(true));
  }
  if (steps >= 64) CHECK(cpu.numbers("clamped_share")[0] > 0);  // by then some block was looked at
}

}  // namespace

TEST_CASE("adam and lamb: the same bits on CUDA") {
  for (const Program& program :
       {Program{"adam", ""}, {"adam", "bias_correction = false"}, {"lamb", ""}, {"lamb", "max_coeff = 0.5"}})
    compare_devices(program, 5);
}

TEST_CASE("onebit_adam: the same bits on CUDA, through the freeze") {
  for (const char* message : {"message = \"update\"", "message = \"momentum\""})
    for (const char* freeze : {"freeze_step = 3\n", "freeze_step = \"auto\"\nbetas = [0.9, 0.9]\nfreeze_threshold = 0.7\n"})
      compare_devices({"onebit_adam", (std::string(freeze) + message).c_str()}, 14);
}

TEST_CASE("onebit_lamb: the same bits on CUDA, through the freeze") {
  for (const char* message : {"message = \"update\"", "message = \"momentum\"\ntrust_ratio = \"frozen\""})
    for (const char* freeze : {"freeze_step = 3\n", "freeze_step = \"auto\"\nbetas = [0.9, 0.9]\nfreeze_threshold = 0.7\n"})
      compare_devices({"onebit_lamb", (std::string(freeze) + message).c_str()}, 14);
}

TEST_CASE("zeroone_adam: the same bits on CUDA, in all stages") {
  for (const char* message : {"message = \"update\"\n", "message = \"momentum\"\n"})
    for (const char* stage : {"variance_stage = \"momentum\"\n", "variance_stage = \"gradient\"\n"})
      compare_devices({"zeroone_adam", (std::string("var_freeze_step = 6\nvar_update_scaler = 1\nlocal_step_scaler = 4\n"
                                                    "local_step_clipper = 4\n") +
                                        message + stage)
                                           .c_str()},
                      20);
}

TEST_CASE("a reciprocal in bf16: the same bits on CUDA") {
  const std::string more = "reciprocal_dtype = \"bf16\"\nbetas = [0.9, 0.99]\nrefresh = 0.3\n";
  for (const std::string message : {"message = \"update\"\n", "message = \"momentum\"\n"}) {
    compare_devices({"onebit_adam", ("freeze_step = 3\n" + more + message).c_str()}, 12);
    compare_devices({"onebit_lamb", ("freeze_step = 3\n" + more + message).c_str()}, 12);
    compare_devices(
        {"zeroone_adam", ("var_freeze_step = 6\nvar_update_scaler = 1\nlocal_step_scaler = 4\n" + more + message).c_str()}, 20);
  }
}

TEST_CASE("a bound that cuts, and variance updates that are held for what has no gradient yet: the same bits on CUDA") {
  const std::string more = "clamp = 0.5\nbetas = [0.9, 0.99]\n";
  compare_devices({"onebit_adam", ("freeze_step = 3\n" + more).c_str()}, 70);
  compare_devices({"onebit_lamb", ("freeze_step = 3\n" + more).c_str()}, 70);
  compare_devices({"zeroone_adam", ("var_freeze_step = 9\nvar_update_scaler = 1\nlocal_step_scaler = 4\n" + more).c_str()}, 70,
                  0.1F, 500);
}

TEST_CASE("tensors that are exempt from trust ratios, and gradients whose squares are denormal: the same bits on CUDA") {
  const std::string exempt = "always_adapt = false\nweight_decay = 0.01\n", small = "eps = 1e-20\n";
  compare_devices({"lamb", exempt.c_str()}, 5);
  compare_devices({"onebit_lamb", (exempt + "freeze_step = 3\n").c_str()}, 9);
  compare_devices({"adam", small.c_str()}, 3, 1e-18F);
  compare_devices({"lamb", "eps = 1.0"}, 3, 1e-24F);
  for (const char* name : {"onebit_adam", "onebit_lamb"})
    compare_devices({name, (small + "freeze_step = 3\n").c_str()}, 6, 1e-18F);
  compare_devices({"zeroone_adam", (small + "var_freeze_step = 3\n").c_str()}, 6, 1e-18F);
}

// Nothing of a step may be written where the device's flag says so.
TEST_CASE("programs heed the skip flag") {
  const auto optimizer = make_cuda_optimizer("onebit_adam", "");
  const TestStream stream;
  const TileHost::Stream emulated = {{sizeof(onebit_stream), {ONEBIT_DEVICE_CUDA, 0}, static_cast<cudaStream_t>(stream)},
                                     [&] { REQUIRE(cudaStreamSynchronize(stream) == cudaSuccess); }};
  TileHost host(*optimizer, {Vector(100, 1.0F)}, 64, {}, &emulated);
  host.step({Vector(100, 0.5F)});
  const Tensors parameters = host.parameters;
  const auto state = host.all_state();
  host.skip = 1;
  host.step({Vector(100, -0.5F)});
  CHECK(same(host.parameters[0], parameters[0]));
  CHECK(host.all_state() == state);
}

}  // namespace onebit::test
