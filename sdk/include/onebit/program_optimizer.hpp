// SPDX-License-Identifier: Apache-2.0
// An optimizer whose arithmetic is programs (program.hpp): the calls of a step, handed on to the passes that were compiled for
// the CPU or for CUDA. What is left to write is what it declares and what it plans.
#pragma once

#include <string>

#include "onebit/programs/view.hpp"

namespace onebit {

// One table a device and form; Pass: plain data that all passes need, set by declare_state and plan. NULL: not planned ever.
template <class Pass>
struct Passes {
  void (*produce)(const Pass& pass, const View& view, const Tile& tile);
  void (*consume)(const Pass& pass, const View& view, const Tile& tile);
  void (*combine)(const Pass& pass, const View& view, const Totals& totals);
  void (*apply)(const Pass& pass, const View& view, const Tile& tile);
};

template <class Pass>
class ProgramOptimizer : public Optimizer {
 public:
  void declare(Slice<const TensorInfo* const> tensors, StateDeclarer& state) final {
    declare_state(tensors, state);
    slots_ = state.declared();
    if (slots_ > View::most_slots)
      throw Error(Code::invalid_argument, "an optimizer made of programs declares at most " + std::to_string(View::most_slots) +
                                              " slots, this one " + std::to_string(slots_));
  }
  void produce(const Step& step, int round, const Tile& tile) const override {
    passes_.produce(pass, of_round(step, round, tile), tile);
  }
  void consume(const Step& step, int round, const Tile& tile) const override {
    passes_.consume(pass, of_round(step, round, tile), tile);
  }
  void combine(const Step& step, const Totals& totals) override { passes_.combine(pass, View(step, totals, slots_), totals); }
  void apply(const Step& step, const Tile& tile) const override { passes_.apply(pass, View(step, tile, slots_), tile); }

 protected:
  explicit ProgramOptimizer(const Passes<Pass>& passes) : passes_(passes) {}
  virtual void declare_state(Slice<const TensorInfo* const> tensors, StateDeclarer& state) = 0;

  Pass pass;  // of the step that was planned last

 private:
  View of_round(const Step& step, int round, const Tile& tile) const {
    View view(step, tile, slots_);
    view.round = round;
    return view;
  }

  const Passes<Pass>& passes_;
  int slots_ = 0;
};

}  // namespace onebit
