// SPDX-License-Identifier: Apache-2.0
#include "memory_rows.hpp"

#include "bench.hpp"
#include "components.hpp"
#include "kernels.hpp"
#include "onebit/session.hpp"

namespace onebit::gpu_bench {
namespace {

constexpr int most_steps = 100;  // that may pass before the first compressed one

// Options with which each stage comes soon.
const char* options_of(const std::string& optimizer) {
  if (optimizer == "zeroone_adam") return "var_freeze_step = 4\nvar_update_scaler = 1\n";
  return optimizer.rfind("onebit_", 0) == 0 ? "freeze_step = 2\n" : "";
}

class Model {
 public:
  Model(Device& device, int64_t elements)
      : device_(device),
        meter_(&device),
        elements_(elements),
        parameters_(meter_, static_cast<size_t>(elements) * sizeof(float)),
        gradients_(meter_, static_cast<size_t>(elements) * sizeof(float)) {
    const auto stream = static_cast<cudaStream_t>(device.stream()->handle);
    fill(parameters_.as<float>(), elements, 8, stream);
    fill(gradients_.as<float>(), elements, 9, stream);
    device.settle();
  }

  void measure(const std::string& optimizer, int64_t bucket_bytes, const std::function<void(const Held&)>& say) {
    const Configuration configuration = configuration_of(optimizer, options_of(optimizer), exchange_of(bucket_bytes));
    const std::vector<Parameter> parameters = {{"model", {elements_}, parameters_.as<float>()}};
    const Cost cost = cost_of(registry(), configuration, parameters, 2);
    const uint64_t before = free_memory();
    Session session(registry(), configuration, nowhere(), parameters);
    const auto tell = [&](const char* stage, double promised) {
      Held held = {optimizer, stage, elements_, promised, 0, 0, each(before - free_memory())};
      held.held = each(session.footprint().held());
      held.buffers = each(session.footprint().exchange_buffers);
      say(held);
    };
    const bool compressed = step(session).compressed;
    if (!compressed) tell("dense", cost.dense_state);
    if (!cost.has_compressed_stage) return;
    // What an optimizer releases has gone with its first compressed step.
    for (int steps = 1; !session.settle().compressed; ++steps) {
      if (steps == most_steps) throw Error(Code::internal, optimizer + " takes no compressed step");
      step(session);
    }
    tell("compressed", cost.compressed_state);
  }

 private:
  StepReport step(Session& session) {
    session.step({gradients_.as<float>()}, device_.stream()->handle);
    return session.settle();
  }
  double each(uint64_t bytes) const { return static_cast<double>(bytes) / static_cast<double>(elements_); }

  Device& device_;
  MemoryMeter meter_;
  int64_t elements_;
  Buffer parameters_, gradients_;
};

}  // namespace

void measure_memory(int64_t elements, int64_t bucket_bytes, const std::function<void(const Held&)>& say) {
  const std::unique_ptr<Device> device = make_device();
  // What kernels take themselves is not of the model: they are loaded before.
  for (const char* optimizer : optimizers) Model(*device, 4096).measure(optimizer, bucket_bytes, [](const Held&) {});
  Model model(*device, fitting(elements, 40));
  for (const char* optimizer : optimizers) model.measure(optimizer, bucket_bytes, say);
}

}  // namespace onebit::gpu_bench
