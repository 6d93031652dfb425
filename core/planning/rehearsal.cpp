// SPDX-License-Identifier: Apache-2.0
#include "planning/rehearsal.hpp"

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

// An optimizer that is led through steps without gradients.
class Ahead {
 public:
  Ahead(Optimizer& optimizer, const Layout& layout)
      : optimizer_(optimizer),
        options_(layout.options()),
        model_(layout),
        stage_(std::vector<int64_t>(model_.infos.size(), small_tensor), {}),
        state_(optimizer, model_.pointers) {
    state_.allocate_totals(stage_, meter_);
  }
  const StateStore& state() const { return state_; }
  // sums: what every block's partial sums come to.
  const Plan& step(int64_t number, double sums) {
    const onebit_group group = {0, 0};
    const Step step = {sizeof(Step), number, options_.rank, options_.ranks, 0, &group, 1, nullptr, nullptr, nullptr};
    const Totals totals = {sizeof(Totals),
                           static_cast<int64_t>(stage_.elements.size()),
                           stage_.first_block.data(),
                           stage_.elements.data(),
                           model_.flags.data(),
                           state_.totals_slots(),
                           nullptr,
                           nullptr};
    plan_.clear();
    optimizer_.plan(step, totals, plan_);
    state_.set_partial_sums(sums);
    optimizer_.combine(step, totals);
    return plan_;
  }

 private:
  Optimizer& optimizer_;
  const LayoutOptions& options_;
  const SmallModel model_;
  const Layout stage_;
  MemoryMeter meter_;
  StateStore state_;
  Plan plan_;
};

uint64_t held(const StateStore& state, const Layout& layout, const std::vector<bool>& released, bool local_alone = false) {
  uint64_t bytes = 0;
  for (size_t i = 0; i < state.slots().size(); ++i) {
    const StateSlot& slot = state.slots()[i];
    if (local_alone && slot.scope != ONEBIT_RANK_LOCAL) continue;
    bytes += released[i] ? StateStore::bytes_kept(slot, layout) : StateStore::bytes_of(slot, layout);
  }
  return bytes;
}

}  // namespace

Rehearsal rehearse(Optimizer& optimizer, const Layout& layout, bool whole) {
  Ahead ahead(optimizer, layout);
  std::vector<bool> released;
  for (const StateSlot& slot : ahead.state().slots()) released.push_back(slot.later);
  std::vector<bool> awaited = whole ? released : std::vector<bool>(released.size());
  const auto mark = [&](Slice<const int32_t> slots, bool gone) {
    for (const int32_t slot : slots)
      if (slot >= 0 && static_cast<size_t>(slot) < released.size()) released[static_cast<size_t>(slot)] = gone;
  };
  Rehearsal result;
  result.dense_state = held(ahead.state(), layout, released);
  result.dense_local = held(ahead.state(), layout, released, true);
  result.has_anchor = ahead.state().anchor() >= 0;
  uint64_t now = result.most_dense = result.dense_state;
  for (int64_t number = 1; number <= most_steps; ++number) {
    // A model in which nothing changes any more: whatever waits for that comes to an end.
    const Plan& plan = ahead.step(number, 1);
    mark(plan.acquires(), false);
    for (const int32_t slot : plan.acquires()) awaited.at(static_cast<size_t>(slot)) = false;
    if (plan.acquires().size > 0) now = held(ahead.state(), layout, released);
    for (const Plan::Round& round : plan.rounds())
      if (round.kind == RoundKind::compressed && result.first_compressed == 0) {
        result.first_compressed = number;
        result.retains = round.retain;
      }
    uint64_t& most = result.first_compressed > 0 ? result.most_compressed : result.most_dense;
    most = std::max(most, now);
    mark(plan.releases(), true);
    if (plan.releases().size > 0) now = held(ahead.state(), layout, released);
    if (result.first_compressed > 0 && std::count(awaited.begin(), awaited.end(), true) == 0) break;
  }
  result.compressed_state = held(ahead.state(), layout, released);
  result.compressed_local = held(ahead.state(), layout, released, true);
  return result;
}

int64_t rehearse_freeze(Optimizer& settled, Optimizer& unsettled, const Layout& layout, int64_t most) {
  Ahead calm(settled, layout), wild(unsettled, layout);
  most = std::min(most, most_steps);
  int64_t freeze = 1;
  while (freeze <= most && !calm.step(freeze, 1).freezes) ++freeze;
  if (freeze > most) return 0;
  double sums = 1;
  for (int64_t number = 1; number < freeze; ++number, sums *= 1000)
    if (wild.step(number, sums).freezes) return 0;
  return wild.step(freeze, sums).freezes ? freeze : 0;
}

const ComponentInfo* rehearsed(const Registry& registry, const ComponentInfo& component) {
  if (component.device == ONEBIT_DEVICE_CPU) return &component;
  try {
    return &registry.find(component.kind, component.name);
  } catch (const Error&) {
    return nullptr;
  }
}

Rehearsal rehearse(const Registry& registry, const Configuration& configuration, const Layout& layout, bool whole) {
  const ComponentInfo* component = rehearsed(registry, *configuration.optimizer.component);
  if (component == nullptr) return {};
  const Rehearsal result = rehearse(*registry.make_optimizer(*component, configuration.optimizer.options, true), layout, whole);
  if (result.first_compressed > 0 && configuration.compressor.component == nullptr)
    throw Error(Code::invalid_argument, "optimizer '" + component->name +
                                            "' has a compressed stage, but no compressor is configured: add a table "
                                            "[compressor] with plugin = \"onebit\"");
  return result;
}

}  // namespace onebit
