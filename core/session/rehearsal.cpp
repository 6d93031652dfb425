// SPDX-License-Identifier: Apache-2.0
#include "session/rehearsal.hpp"

#include <algorithm>

namespace onebit {
namespace {

// Schedules longer than this are not looked at to the end.
#ifdef ONEBIT_SANITIZED
constexpr int64_t most_steps = 10'000;  // the million takes seconds a session
#else
constexpr int64_t most_steps = 1'000'000;
#endif
constexpr int64_t small_tensor = 32;

// A model of one small tensor of each kind that the layout has: exempt from compression, and not.
struct SmallModel {
  explicit SmallModel(const Layout& layout) {
    if (layout.flat > layout.flat_exempt || layout.flat == 0) add(0);
    if (layout.flat_exempt > 0) add(ONEBIT_TENSOR_DENSE);
    for (const onebit_tensor_info& info : infos) pointers.push_back(&info);
  }
  SmallModel(const SmallModel&) = delete;
  SmallModel& operator=(const SmallModel&) = delete;

  int64_t shape = small_tensor, stride = 1;
  const onebit_tensor tensor = {nullptr, {ONEBIT_DEVICE_CPU, 0}, 1, {ONEBIT_DTYPE_FLOAT, 32, 1}, &shape, &stride, 0};
  std::vector<onebit_tensor_info> infos;
  std::vector<const onebit_tensor_info*> pointers;
  std::vector<uint64_t> flags;

 private:
  void add(uint64_t flag) {
    flags.push_back(flag);
    infos.push_back({sizeof(onebit_tensor_info), str(flag == 0 ? "rehearsal" : "exempt"), &tensor, 0, flag});
  }
};

uint64_t held(const StateStore& state, const Layout& layout, const std::vector<bool>& released) {
  uint64_t bytes = 0;
  for (size_t i = 0; i < state.slots().size(); ++i)
    bytes += released[i] ? StateStore::bytes_kept(state.slots()[i], layout) : StateStore::bytes_of(state.slots()[i], layout);
  return bytes;
}

}  // namespace

Rehearsal rehearse(Optimizer& optimizer, const Layout& layout) {
  const SmallModel model(layout);
  const Layout stage(std::vector<int64_t>(model.infos.size(), small_tensor), {});
  MemoryMeter meter;
  StateStore state(optimizer, model.pointers);
  state.allocate_totals(stage, meter);
  std::vector<bool> released(state.slots().size());
  const onebit_group group = {0, 0};
  const Totals totals = {sizeof(Totals),
                         static_cast<int64_t>(stage.elements.size()),
                         stage.first_block.data(),
                         stage.elements.data(),
                         model.flags.data(),
                         state.totals_slots(),
                         nullptr,
                         nullptr};
  Rehearsal result;
  result.dense_state = result.compressed_state = held(state, layout, released);
  Plan plan;
  for (int64_t number = 1; number <= most_steps && result.first_compressed == 0; ++number) {
    const Step step = {sizeof(Step), number, layout.options().rank, layout.options().ranks, 0, &group, 1, nullptr,
                       nullptr,      nullptr};
    plan.clear();
    optimizer.plan(step, totals, plan);
    for (const int32_t slot : plan.releases())
      if (slot >= 0 && static_cast<size_t>(slot) < released.size()) released[static_cast<size_t>(slot)] = true;
    for (const Plan::Round& round : plan.rounds())
      if (round.kind == RoundKind::compressed) {
        result.first_compressed = number;
        result.retains = round.retain;
      }
    state.set_partial_sums(1);  // a model in which nothing changes any more: whatever waits for that comes to an end
    optimizer.combine(step, totals);
  }
  result.compressed_state = held(state, layout, released);
  return result;
}

}  // namespace onebit
