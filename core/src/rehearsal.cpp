#include "rehearsal.hpp"

#include <algorithm>

namespace onebit {
namespace {

constexpr int64_t most_steps = 1'000'000;  // schedules longer than this are not looked at to the end
constexpr int64_t small_tensor = 32;

uint64_t held(const StateStore& state, const Layout& layout, const std::vector<bool>& released) {
  uint64_t bytes = 0;
  for (size_t i = 0; i < state.slots().size(); ++i)
    if (!released[i]) bytes += StateStore::bytes_of(state.slots()[i], layout);
  return bytes;
}

}  // namespace

Rehearsal rehearse(Optimizer& optimizer, const Layout& layout) {
  const Layout stage({small_tensor}, {});
  int64_t shape = small_tensor, stride = 1;
  const onebit_tensor tensor = {nullptr, {ONEBIT_DEVICE_CPU, 0}, 1, {ONEBIT_DTYPE_FLOAT, 32, 1}, &shape, &stride, 0};
  const onebit_tensor_info info = {sizeof(onebit_tensor_info), str("rehearsal"), &tensor, 0, 0};
  MemoryMeter meter;
  StateStore state(optimizer, {&info});
  state.allocate_totals(stage, meter);
  std::vector<bool> released(state.slots().size());
  const onebit_group group = {0, 0};
  const Totals totals = {sizeof(Totals), 1,      stage.first_block.data(), stage.elements.data(), state.totals_slots(),
                         nullptr,        nullptr};
  Rehearsal result;
  result.dense_state = result.compressed_state = held(state, layout, released);
  Plan plan;
  for (int64_t number = 1; number <= most_steps && result.first_compressed == 0; ++number) {
    const Step step = {sizeof(Step), number, layout.options().rank, layout.options().ranks, 0, &group, 1};
    plan.clear();
    optimizer.plan(step, totals, plan);
    for (const int32_t slot : plan.releases())
      if (slot >= 0 && static_cast<size_t>(slot) < released.size()) released[static_cast<size_t>(slot)] = true;
    for (const Plan::Round& round : plan.rounds())
      if (round.kind == RoundKind::compressed) {
        result.first_compressed = number;
        result.retains = round.retain;
      }
    optimizer.combine(step, totals);
  }
  result.compressed_state = held(state, layout, released);
  return result;
}

}  // namespace onebit
