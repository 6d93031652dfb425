// SPDX-License-Identifier: Apache-2.0
// An optimizer behind its table.
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "loading/adapters.hpp"
#include "loading/first_sizes.hpp"

namespace onebit {
namespace {

class OptimizerAdapter final : public Optimizer {
 public:
  // Takes the object over.
  OptimizerAdapter(Boundary boundary, const onebit_optimizer_api& api, onebit_optimizer* self)
      : boundary_(std::move(boundary)), api_(api), self_(self, {api.destroy}) {}

  void declare(Slice<const TensorInfo* const> tensors, StateDeclarer& state) override {
    Declared declared{state.table()};
    const bool knows_later = ONEBIT_CAN(state.table(), onebit_state, begins_later);
    const onebit_state counted = {sizeof(onebit_state), &declared, Declared::declare, Declared::whole_tensors,
                                  knows_later ? Declared::begins_later : nullptr};
    try {
      boundary_.configure([&](onebit_error* err) { return api_.declare(self(), tensors.data, tensors.size, &counted, err); });
    } catch (const Error& e) {
      if (!declared.too_small) throw;
      throw Error(e.code(), fmt::format("{}: its description has struct_size {}, expected at least {}", e.what(),
                                        *declared.too_small, FirstSize<onebit_state_desc>::value));
    }
    slots_ = declared.slots;
    later_ = std::move(declared.later);
  }

  void plan(const Step& step, const Totals& totals, Plan& plan) override {
    onebit_plan answer = {sizeof(onebit_plan), nullptr, 0, nullptr, 0, 0, 0, 0, 0, 0, nullptr, 0};
    boundary_.call([&](onebit_error* err) { return api_.plan(self(), &step, &totals, &answer, err); });
    plan.clear();
    copy_rounds(answer, plan);
    copy_releases(answer, plan);
    copy_acquires(answer, plan);
    plan.reset_error = answer.reset_error != 0;
    plan.apply = answer.apply != 0;
    plan.previous_in_consume = answer.previous_in_consume != 0;
    plan.mean_in_apply = answer.mean_in_apply != 0;
    plan.freezes = (answer.flags & ONEBIT_PLAN_FREEZES) != 0;
  }
  void produce(const Step& step, int round, const Tile& tile) const override {
    boundary_.call([&](onebit_error* err) { return api_.produce(self(), &step, round, &tile, err); });
  }
  void consume(const Step& step, int round, const Tile& tile) const override {
    boundary_.call([&](onebit_error* err) { return api_.consume(self(), &step, round, &tile, err); });
  }
  void combine(const Step& step, const Totals& totals) override {
    boundary_.call([&](onebit_error* err) { return api_.combine(self(), &step, &totals, err); });
  }
  void apply(const Step& step, const Tile& tile) const override {
    boundary_.call([&](onebit_error* err) { return api_.apply(self(), &step, &tile, err); });
  }

 private:
  // Counts the slots on their way to the host, so that a plan can be checked against them; descriptions that are smaller than
  // the first version's go no further.
  struct Declared {
    const onebit_state* target;
    int32_t slots = 0;
    std::vector<int32_t> later = {};         // of these, the ones that begin later
    std::optional<uint64_t> too_small = {};  // the struct_size of such a one

    static int32_t declare(void* ctx, const onebit_state_desc* desc) noexcept {
      Declared& self = *static_cast<Declared*>(ctx);
      if (desc->struct_size < FirstSize<onebit_state_desc>::value) {
        self.too_small = desc->struct_size;
        return -1;
      }
      const int32_t slot = self.target->declare(self.target->ctx, desc);
      if (slot >= self.slots) self.slots = slot + 1;
      return slot;
    }
    static void whole_tensors(void* ctx) noexcept {
      const onebit_state& target = *static_cast<Declared*>(ctx)->target;
      target.whole_tensors(target.ctx);
    }
    static void begins_later(void* ctx, int32_t slot) noexcept {
      Declared& self = *static_cast<Declared*>(ctx);
      self.later.push_back(slot);
      self.target->begins_later(self.target->ctx, slot);
    }
  };

  void copy_rounds(const onebit_plan& answer, Plan& plan) const {
    if (answer.round_count > 2) boundary_.refuse(fmt::format("planned {} rounds, at most 2 are possible", answer.round_count));
    if (answer.round_count > 0 && answer.rounds == nullptr) boundary_.refuse("planned rounds but gave none");
    int compressed = 0;
    for (size_t i = 0; i < answer.round_count; ++i) {
      const onebit_round* round = answer.rounds[i];
      if (round == nullptr || round->struct_size < FirstSize<onebit_round>::value)
        boundary_.refuse(fmt::format("round {} of its plan is empty", i));
      if (round->kind != ONEBIT_ROUND_DENSE && round->kind != ONEBIT_ROUND_COMPRESSED)
        boundary_.refuse(fmt::format("planned a round of the unknown kind {}", round->kind), Code::unsupported);
      if (round->of != ONEBIT_OF_GRADIENT && round->of != ONEBIT_OF_MESSAGE)
        boundary_.refuse(fmt::format("planned a round of the unknown vector {}", round->of), Code::unsupported);
      compressed += round->kind == ONEBIT_ROUND_COMPRESSED;
      plan.add_round(static_cast<RoundKind>(round->kind), static_cast<Of>(round->of), round->retain != 0);
    }
    if (compressed > 1) boundary_.refuse("planned two compressed rounds, at most one is possible");
  }

  void copy_releases(const onebit_plan& answer, Plan& plan) const {
    if (answer.release_count > 16)
      boundary_.refuse(fmt::format("released {} slots in one step, at most 16 are possible", answer.release_count));
    if (answer.release_count > 0 && answer.release == nullptr) boundary_.refuse("released slots but gave none");
    for (size_t i = 0; i < answer.release_count; ++i) {
      const int32_t slot = answer.release[i];
      if (slot < 0 || slot >= slots_) boundary_.refuse(fmt::format("released slot {}, which it did not declare", slot));
      plan.release(slot);
    }
  }

  void copy_acquires(const onebit_plan& answer, Plan& plan) const {
    if (answer.acquire_count > 16)
      boundary_.refuse(fmt::format("acquired {} slots in one step, at most 16 are possible", answer.acquire_count));
    if (answer.acquire_count > 0 && answer.acquire == nullptr) boundary_.refuse("acquired slots but gave none");
    for (size_t i = 0; i < answer.acquire_count; ++i) {
      if (std::find(later_.begin(), later_.end(), answer.acquire[i]) == later_.end())
        boundary_.refuse(fmt::format("acquired slot {}, which it did not declare to begin later", answer.acquire[i]));
      plan.acquire(answer.acquire[i]);
    }
  }

  onebit_optimizer* self() const { return self_.get(); }

  Boundary boundary_;
  const onebit_optimizer_api& api_;
  Owned<onebit_optimizer> self_;
  int32_t slots_ = 0;
  std::vector<int32_t> later_;
};

}  // namespace

std::unique_ptr<Optimizer> adapt_optimizer(Boundary boundary, const onebit_optimizer_api& api, const onebit_host* host,
                                           const onebit_config* config) {
  onebit_optimizer* made = nullptr;
  boundary.configure([&](onebit_error* err) { return api.create(host, config, &made, err); }, true);
  if (made == nullptr) boundary.refuse("create answered OK but gave no object");
  return std::make_unique<OptimizerAdapter>(std::move(boundary), api, made);
}

}  // namespace onebit
