// SPDX-License-Identifier: Apache-2.0
// What each call of an optimizer writes: all memory is compared, canaries and all, before and after every call of a journey.
#pragma once

#include <string>
#include <vector>

#include "onebit/conformance/optimizer/journey.hpp"

namespace onebit::conformance {

class Footprints {
 public:
  using Doing = TileHost::Doing;
  enum class Of { parameter, gradient, state, message, mean, previous };

  // inputs: whether it is gradients and means that are looked at, or else all that is written to.
  Footprints(TileHost& host, bool inputs) : host_(host), inputs_(inputs) {}

  void check(Doing doing, const Tile* tile, const std::function<void()>& call) const {
    std::vector<std::vector<unsigned char>> before;
    visit([&](Of, size_t, const auto& array) { before.push_back(array.bytes()); });
    call();
    size_t region = 0;
    visit([&](Of of, size_t index, const auto& array) { compare(before[region++], array, Place{of, index}, doing, tile); });
  }

 private:
  struct Place {
    Of of;
    size_t index;  // of the tensor or slot
  };

  template <class F>
  void visit(const F& f) const {
    const TileModel& model = host_.model;
    if (inputs_) {
      for (size_t t = 0; t < model.size(); ++t) f(Of::gradient, t, model.gradients[t]);
      f(Of::mean, 0, host_.received());
      return f(Of::previous, 0, host_.kept());
    }
    for (size_t t = 0; t < model.size(); ++t) f(Of::parameter, t, model.parameters[t]);
    for (size_t s = 0; s < host_.state.slots.size(); ++s) {
      f(Of::state, s, host_.state.slots[s].floats);
      f(Of::state, s, host_.state.slots[s].halves);
      f(Of::state, s, host_.state.slots[s].doubles);
    }
    f(Of::message, 0, host_.sent());
  }

  template <class T>
  void compare(const std::vector<unsigned char>& before, const Guarded<T>& now, Place place, Doing doing,
               const Tile* tile) const {
    if (before == now.bytes()) return;
    for (size_t at = 0; at < before.size(); ++at) {
      if (before[at] == now.bytes()[at]) continue;
      const int64_t element = static_cast<int64_t>(at / sizeof(T)) - static_cast<int64_t>(now.first());
      const bool inside = element >= 0 && element < static_cast<int64_t>(now.size());
      if (inside && may_write(place, element, doing, tile)) continue;
      throw Unmet(name_of(doing) + (tile == nullptr ? "" : " of " + text_of_tile(*tile)) + ", in step " +
                  std::to_string(host_.number) + ", wrote " + text_of(place, element, inside) + ", which it must not");
    }
  }

  bool may_write(Place place, int64_t element, Doing doing, const Tile* tile) const {
    if (inputs_ || doing == Doing::plan) return false;
    const int32_t extent = place.of == Of::state ? host_.state.slots[place.index].extent : 0;
    if (doing == Doing::combine) return place.of == Of::state && extent != ONEBIT_PER_ELEMENT;
    if (doing == Doing::produce) return place.of == Of::message && in_tile(place, element, extent, *tile);
    return place.of != Of::message && extent != ONEBIT_PER_TENSOR && extent != ONEBIT_PER_MODEL &&
           in_tile(place, element, extent, *tile);
  }
  bool in_tile(Place place, int64_t element, int32_t extent, const Tile& tile) const {
    for (const Block& block : blocks(tile)) {
      const int64_t first = place.of == Of::parameter ? block.first : block.flat;
      if (extent == ONEBIT_PER_BLOCK) {
        if (element / host_.state.slots[place.index].count == block.index) return true;
      } else if (place.of != Of::parameter || static_cast<size_t>(block.tensor) == place.index) {
        const bool dense = host_.model.is_dense(block.tensor);
        const bool gone =
            place.of == Of::state && (dense ? host_.state.slots[place.index].later : host_.state.slots[place.index].released);
        if (element >= first && element < first + block.count && !gone) return true;
      }
    }
    return false;
  }

  static std::string name_of(Doing doing) {
    const char* const names[] = {"plan", "produce", "consume", "combine", "apply"};
    return names[static_cast<size_t>(doing)];
  }
  std::string text_of_tile(const Tile& tile) const {
    const Block &first = tile.blocks[0], &last = tile.blocks[tile.block_count - 1];
    const auto place = [&](const Block& block, int64_t element) {
      return host_.model.name(block.tensor) + "[" + std::to_string(element) + "]";
    };
    return "the tile from " + place(first, first.first) + " to " + place(last, last.first + last.count - 1);
  }
  std::string text_of(Place place, int64_t element, bool inside) const {
    const char* const names[] = {"parameter ", "the gradient of ", "state ", "the message", "the mean", "the retained mean"};
    std::string text = names[static_cast<size_t>(place.of)];
    if (place.of == Of::parameter || place.of == Of::gradient) text += host_.model.name(static_cast<int64_t>(place.index));
    if (place.of == Of::state) text += "'" + host_.state.slots[place.index].name + "'";
    const bool flat = place.of != Of::parameter && place.of != Of::gradient &&
                      (place.of != Of::state || host_.state.slots[place.index].extent == ONEBIT_PER_ELEMENT);
    if (!inside) return text + (element < 0 ? " before its first" : " beyond its last") + " element";
    for (const Block& block : host_.model.blocks)
      if (flat && element >= block.flat && element < block.flat + block.count)
        return text + " of " + host_.model.name(block.tensor) + "[" + std::to_string(block.first + element - block.flat) + "]";
    return text + "[" + std::to_string(element) + "]";
  }

  TileHost& host_;
  const bool inputs_;
};

// watched: NULL: every call.
inline void watch(const MakeOptimizer& make, const TileHost::Doing* watched, bool inputs) {
  for (const bool exempt : {false, true}) {
    Traveller traveller(make, exempt ? std::vector<uint64_t>{0, 0, 0, ONEBIT_TENSOR_DENSE} : std::vector<uint64_t>());
    const Footprints footprints(traveller.host, inputs);
    traveller.host.around = [&](TileHost::Doing doing, const Tile* tile, const std::function<void()>& call) {
      watched == nullptr || doing == *watched ? footprints.check(doing, tile, call) : call();
    };
    for (int64_t step = 1; step <= journey_steps; ++step) traveller.step();
  }
}

// Protects from: plans that change the run, when they are asked for only to see what it will cost.
inline void plan_writes_nothing(const MakeOptimizer& make) {
  constexpr auto watched = TileHost::Doing::plan;
  watch(make, &watched, false);
}
// Protects from: messages that come out otherwise when a host asks for them twice, as it does for scales wider than a block;
// and steps that are half taken when they are skipped after all.
inline void produce_writes_message_alone(const MakeOptimizer& make) {
  constexpr auto watched = TileHost::Doing::produce;
  watch(make, &watched, false);
}
// Protects from: writing beyond a tile, which is a race with the thread that has the next one, and beyond memory at the end.
inline void consume_stays_in_its_tile(const MakeOptimizer& make) {
  constexpr auto watched = TileHost::Doing::consume;
  watch(make, &watched, false);
}
inline void apply_stays_in_its_tile(const MakeOptimizer& make) {
  constexpr auto watched = TileHost::Doing::apply;
  watch(make, &watched, false);
}
// Protects from: per-element state that combine would change on one thread, in memory that it does not get.
inline void combine_writes_totals_alone(const MakeOptimizer& make) {
  constexpr auto watched = TileHost::Doing::combine;
  watch(make, &watched, false);
}
// Protects from: gradients that are not what the framework computed when somebody looks at them, and means that the next tile
// finds changed.
inline void leaves_inputs_alone(const MakeOptimizer& make) { watch(make, nullptr, true); }

}  // namespace onebit::conformance
