// SPDX-License-Identifier: Apache-2.0
// Optimizer: arithmetic, and nothing else. It declares its state, plans each step, and works on tiles; it sees no network, no
// file and no memory management. The host runs a step as: plan, then per tile produce (what to send), the round, consume
// (what came back), then combine once, then apply per tile where the plan asked. A tensor that no rank has a gradient of in a
// step is absent from it: its blocks are left out (ONEBIT_TENSOR_ABSENT in abi.h says where not).
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "onebit/abi.h"
#include "onebit/arithmetic.hpp"
#include "onebit/bfloat16.hpp"
#include "onebit/error.hpp"
#include "onebit/options.hpp"
#include "onebit/services.hpp"

namespace onebit {

using Block = onebit_block;
using Group = onebit_group;
using Step = onebit_step;
using Tile = onebit_tile;
using Totals = onebit_totals;
using TensorInfo = onebit_tensor_info;

enum class Scope : int32_t { replicated = ONEBIT_REPLICATED, rank_local = ONEBIT_RANK_LOCAL };
enum class Reshard : int32_t { mean = ONEBIT_RESHARD_MEAN, zero = ONEBIT_RESHARD_ZERO, first = ONEBIT_RESHARD_FIRST };
enum class ElementType { fp32, bf16 };
enum class Role : uint32_t { none = ONEBIT_ROLE_NONE, anchor = ONEBIT_ROLE_ANCHOR };
enum class RoundKind : int32_t { dense = ONEBIT_ROUND_DENSE, compressed = ONEBIT_ROUND_COMPRESSED };
enum class Of : int32_t { gradient = ONEBIT_OF_GRADIENT, message = ONEBIT_OF_MESSAGE };

// What declare talks to. Each call answers the slot under which tiles and totals present that state: fp32 or bf16 for elements,
// doubles for all else. Replicated state is the same on every rank; rank-local state says what becomes of it when the ranks
// change.
class StateDeclarer {
 public:
  explicit StateDeclarer(const onebit_state* state) : state_(state) {}

  int per_element(std::string_view name, Scope scope = Scope::replicated, Reshard reshard = Reshard::mean) {
    return declare(name, ONEBIT_PER_ELEMENT, 1, scope, reshard);
  }
  // The parameters as all ranks have them, for optimizers with local steps: what is evaluated and saved. At most one.
  int anchor(std::string_view name) {
    return declare(name, ONEBIT_PER_ELEMENT, 1, Scope::replicated, Reshard::first, Role::anchor);
  }
  // Not there until a plan acquires it, all zeros then; and never there for tensors that are exempt from compression. Hosts of
  // version 1.0 have no such state: Error(unsupported).
  int per_element_later(std::string_view name, ElementType type = ElementType::fp32) {
    if (!ONEBIT_CAN(state_, onebit_state, begins_later))
      throw Error(Code::unsupported, "state '" + std::string(name) +
                                         "' begins later than the run, which this host, of version 1.0 of the contract, does "
                                         "not know: update onebit");
    const int slot = declare(name, ONEBIT_PER_ELEMENT, 1, Scope::replicated, Reshard::mean, Role::none, type);
    state_->begins_later(state_->ctx, slot);
    return slot;
  }
  // A number of each tensor named "unseen_elements", of those that have had no gradient yet, is what the host tells of at the
  // step after which the optimizer's plan says that it freezes; a number of the model named "clamped_share" after every step.
  int per_block(std::string_view name, int count = 1) { return declare(name, ONEBIT_PER_BLOCK, count); }
  int per_block(std::string_view name, Scope scope, Reshard reshard) {
    return declare(name, ONEBIT_PER_BLOCK, 1, scope, reshard);
  }
  int per_tensor(std::string_view name, int count = 1) { return declare(name, ONEBIT_PER_TENSOR, count); }
  int per_tensor(std::string_view name, Scope scope, Reshard reshard) {
    return declare(name, ONEBIT_PER_TENSOR, 1, scope, reshard);
  }
  int per_model(std::string_view name, int count = 1) { return declare(name, ONEBIT_PER_MODEL, count); }
  int per_model(std::string_view name, Scope scope, Reshard reshard) {
    return declare(name, ONEBIT_PER_MODEL, 1, scope, reshard);
  }
  // Asks for tiles that are whole tensors, for optimizers that work on matrices.
  void whole_tensors() { state_->whole_tensors(state_->ctx); }
  int declared() const { return declared_; }  // how many slots there are
  // For hosts that pass it on to a plugin.
  const onebit_state* table() const { return state_; }

 private:
  int declare(std::string_view name, int32_t extent, int32_t count, Scope scope = Scope::replicated,
              Reshard reshard = Reshard::mean, Role role = Role::none, ElementType type = ElementType::fp32) {
    const onebit_dtype fp32 = {ONEBIT_DTYPE_FLOAT, 32, 1}, bf16 = {ONEBIT_DTYPE_BFLOAT, 16, 1};
    const onebit_state_desc desc = {sizeof desc,
                                    str(name),
                                    extent,
                                    count,
                                    static_cast<int32_t>(scope),
                                    static_cast<int32_t>(reshard),
                                    0.0,
                                    type == ElementType::fp32 ? fp32 : bf16,
                                    static_cast<uint32_t>(role)};
    const int slot = state_->declare(state_->ctx, &desc);
    if (slot < 0) throw Error(Code::invalid_argument, "the host refused to declare state '" + std::string(name) + "'");
    declared_ = slot + 1;
    return slot;
  }
  const onebit_state* state_;
  int declared_ = 0;
};

// Earlier steps that left a tensor as it was, for no rank had a gradient of it: so many less count in its bias correction.
inline int64_t missed_steps(const Step& step, int64_t tensor) {
  if (!ONEBIT_HAS(&step, onebit_step, missed_steps) || step.missed_steps == nullptr) return 0;
  return step.missed_steps[tensor];
}
// Is this tensor, in this step, one that no rank has a gradient of?
ONEBIT_HOST_DEVICE bool is_absent(const Block& block) { return (block.flags & ONEBIT_TENSOR_ABSENT) != 0; }

// What tiles and totals present, under the slots that declare answered.
inline Slice<const Block> blocks(const Tile& tile) { return {tile.blocks, tile.block_count}; }
// Null while the state is not there.
template <class Element, class TileOrView>
ONEBIT_HOST_DEVICE Element* elements_of(const TileOrView& tile, const Block& block, int slot) {
  auto* const state = static_cast<Element*>(tile.slots[slot]);
  return state == nullptr ? nullptr : state + block.flat;
}
template <class TileOrView>
ONEBIT_HOST_DEVICE float* floats(const TileOrView& tile, const Block& block, int slot) {
  return elements_of<float>(tile, block, slot);
}
template <class From>
ONEBIT_HOST_DEVICE double* doubles(const From& from, int slot) {
  return static_cast<double*>(from.slots[slot]);
}
// Of a whole number per model.
template <class From>
ONEBIT_HOST_DEVICE int64_t counter(const From& from, int slot) {
  return static_cast<int64_t>(*doubles(from, slot));
}

// A step's rounds in order (none: a local step), what must be there from it on and may be freed after it, and whether a second
// pass is wanted.
class Plan {
 public:
  struct Round {
    RoundKind kind;
    Of of;
    bool retain;
  };
  void add_round(RoundKind kind, Of of, bool retain = false) {
    if (round_count_ == rounds_.size()) throw Error(Code::invalid_argument, "a step has at most two rounds");
    rounds_[round_count_++] = {kind, of, retain};
  }
  void release(int slot) {
    if (release_count_ == releases_.size()) throw Error(Code::invalid_argument, "a step releases at most 16 slots");
    releases_[release_count_++] = slot;
  }
  // State that begins later. Where it is there already, nothing happens.
  void acquire(int slot) {
    if (acquire_count_ == acquires_.size()) throw Error(Code::invalid_argument, "a step acquires at most 16 slots");
    acquires_[acquire_count_++] = slot;
  }
  void clear() { *this = Plan(); }

  bool apply = false;                // a second pass after combine
  bool reset_error = false;          // forget worker and server errors before this step's first encode
  bool previous_in_consume = false;  // consume reads tile.previous (produce always may)
  bool mean_in_apply = false;        // apply reads tile.mean, of this step's retained round
  bool freezes = false;              // consume and apply see absent tensors, too: the last step in which statistics change
  Slice<const Round> rounds() const { return {rounds_.data(), round_count_}; }
  Slice<const int32_t> releases() const { return {releases_.data(), release_count_}; }
  Slice<const int32_t> acquires() const { return {acquires_.data(), acquire_count_}; }

 private:
  std::array<Round, 2> rounds_{};
  std::array<int32_t, 16> releases_{}, acquires_{};
  size_t round_count_ = 0;
  size_t release_count_ = 0, acquire_count_ = 0;
};

class Optimizer {
 public:
  virtual ~Optimizer() = default;
  // Once, before all else: declares state for these tensors.
  virtual void declare(Slice<const TensorInfo* const> tensors, StateDeclarer& state) = 0;
  // A pure function of options, step and per-model state, the same on every rank.
  virtual void plan(const Step& step, const Totals& totals, Plan& plan) = 0;
  // (tile) Writes tile.message, and only that, from gradient * gradient_scale, state and tile.previous. Called for a round of a
  // message, perhaps twice for one tile.
  virtual void produce(const Step&, int /*round*/, const Tile&) const {
    throw Error(Code::unsupported, "this optimizer plans a round of a message but has no produce");
  }
  // (tile) Updates state and parameters from tile.mean; in a step without a round called once, with mean NULL. The mean of a
  // round of the gradient is already multiplied by gradient_scale.
  virtual void consume(const Step& step, int round, const Tile& tile) const = 0;
  // Once a step, after all tiles: partial sums to per-tensor and per-model state.
  virtual void combine(const Step&, const Totals&) {}
  // (tile) The second pass, when the plan asked for it. tile.mean is that of this step's retained round where the plan asked
  // for it (mean_in_apply), else NULL.
  virtual void apply(const Step&, const Tile&) const {}
};

}  // namespace onebit
