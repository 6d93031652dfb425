// SPDX-License-Identifier: Apache-2.0
// A host of one rank for an optimizer's arithmetic: it allocates what is declared and makes the calls of a step, tile by tile,
// with no exchange between them. What becomes of a round's vector is up to its user; only the tensors that are exempt from
// compression come back as they were sent.
//
//   TileHost host(optimizer, {{1, 2, 3}, {4}});   // two tensors
//   host.step({{0.1F, 0.1F, 0.1F}, {0.2F}});      // their gradients
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "onebit/conformance/tile_state.hpp"

namespace onebit::conformance {

class TileHost {
 public:
  // The mean of a message (or of a gradient, dense) over the ranks.
  using Mean = std::function<Floats(const Floats& message, bool compressed)>;
  // What is done around a call of the optimizer's; tile: NULL for plan and combine.
  enum class Doing { plan, produce, consume, combine, apply };
  using Around = std::function<void(Doing doing, const Tile* tile, const std::function<void()>& call)>;
  // A stream whose memory is the CPU's: that of a device that is pretended.
  struct Stream {
    onebit_stream table;
    std::function<void()> wait;
  };
  // All that goes on from step to step.
  struct Snapshot {
    Tensors parameters;
    std::vector<TileSlot> slots;
    Floats previous;
    int64_t number;
  };

  // block: the most elements of a block. flags: ONEBIT_TENSOR_ bits, one number a tensor; none: all 0. stream: for optimizers
  // of a device; it outlives the host.
  TileHost(Optimizer& optimizer, Tensors initial, int64_t block = 4096, std::vector<uint64_t> flags = {},
           const Stream* stream = nullptr)
      : parameters(std::move(initial)),
        groups(parameters.size(), {1e-3, 0}),
        model(parameters, block, std::move(flags)),
        state(optimizer, model),
        optimizer_(optimizer),
        stream_(stream) {
    mean = [](const Floats& message, bool) { return message; };
  }
  TileHost(const TileHost&) = delete;
  TileHost& operator=(const TileHost&) = delete;

  // One step; answers its plan. gradients: one a tensor.
  const Plan& step(const Tensors& gradients) {
    begin(gradients);
    const int rounds = static_cast<int>(plan_.rounds().size);
    Tensors messages;
    for (int r = 0; r < rounds; ++r) messages.push_back(send(r));
    for (int r = 0; r < rounds; ++r) {
      const Floats& sent = messages[static_cast<size_t>(r)];
      Floats result = mean(sent, plan_.rounds()[static_cast<size_t>(r)].kind == RoundKind::compressed);
      for (const Block& block : model.blocks)
        if (model.is_dense(block.tensor)) std::copy_n(sent.begin() + block.flat, block.count, result.begin() + block.flat);
      receive(r, result);
    }
    finish();
    return plan_;
  }

  // The same in parts, for several ranks in step: begin; send of every round; receive of every round; finish.
  const Plan& begin(const Tensors& gradients) {
    for (size_t t = 0; t < model.size(); ++t) {
      std::copy(parameters[t].begin(), parameters[t].end(), model.parameters[t].begin());
      std::copy(gradients[t].begin(), gradients[t].end(), model.gradients[t].begin());
    }
    step_ = {sizeof step_, number,        rank,          ranks,
             step_flags,   groups.data(), groups.size(), stream_ == nullptr ? nullptr : groups.data()};
    previous_ = Guarded<float>(previous);
    kept_.clear();
    plan_.clear();
    call(Doing::plan, nullptr, [&] { optimizer_.plan(step_, totals(), plan_); });
    state.clear_partial_sums();
    return plan_;
  }
  // The vector of a round: the message, or the gradient as it travels.
  const Floats& send(int round) {
    message_ = Guarded<float>(static_cast<size_t>(model.flat));
    if (plan_.rounds()[static_cast<size_t>(round)].of == Of::message)
      for_tiles(Doing::produce, [&](Tile& tile) {
        tile.message = message_.data();
        tile.previous = kept_mean();
        return [this, round, &tile] { optimizer_.produce(step_, round, tile); };
      });
    else
      for (const Block& block : model.blocks)
        std::transform(block.gradient, block.gradient + block.count, message_.data() + block.flat,
                       [&](float g) { return g * gradient_scale; });
    return message = message_.values();
  }
  void receive(int round, const Floats& result) {
    mean_ = Guarded<float>(result);
    if (plan_.rounds()[static_cast<size_t>(round)].retain) kept_ = result;
    consume(round, mean_.data());
  }
  void finish() {
    if (plan_.rounds().size == 0) consume(0, nullptr);
    call(Doing::combine, nullptr, [&] { optimizer_.combine(step_, totals()); });
    wait();
    require(!plan_.mean_in_apply || !kept_.empty(), "the plan wants a mean in apply, but no round of it is retained");
    if (plan_.apply) {
      mean_ = Guarded<float>(kept_);
      for_tiles(Doing::apply, [&](Tile& tile) {
        tile.mean = plan_.mean_in_apply ? mean_.data() : nullptr;
        return [this, &tile] { optimizer_.apply(step_, tile); };
      });
    }
    if (!kept_.empty()) previous = std::move(kept_);
    for (const int32_t slot : plan_.releases()) state.release(static_cast<size_t>(slot));
    for (size_t t = 0; t < model.size(); ++t) parameters[t] = model.parameters[t].values();
    ++number;
  }
  // Of the step under way, or of the last one.
  const Plan& plan() const { return plan_; }
  const Step& under_way() const { return step_; }
  // What the calls were given: of the last round, and the retained mean.
  const Guarded<float>& sent() const { return message_; }
  const Guarded<float>& received() const { return mean_; }
  const Guarded<float>& kept() const { return previous_; }

  Floats elements(const std::string& name) const {
    const TileSlot& slot = state.find(name);
    return slot.released && !model.has_dense() ? Floats() : slot.floats.values();
  }
  std::vector<double> numbers(const std::string& name) const { return state.find(name).doubles.values(); }
  // All that the optimizer keeps from step to step, as bytes; and, if asked, the partial sums of the last one.
  std::vector<unsigned char> all_state(bool with_partial_sums = false) const {
    std::vector<unsigned char> bytes;
    for (const TileSlot& slot : state.slots) {
      if ((slot.extent == ONEBIT_PER_BLOCK && !with_partial_sums) || (slot.released && !model.has_dense())) continue;
      bytes.insert(bytes.end(), slot.floats.bytes().begin(), slot.floats.bytes().end());
      bytes.insert(bytes.end(), slot.doubles.bytes().begin(), slot.doubles.bytes().end());
    }
    return bytes;
  }

  Snapshot save() const { return {parameters, state.slots, previous, number}; }
  void load(const Snapshot& from) {
    parameters = from.parameters;
    state.slots = from.slots;
    previous = from.previous;
    number = from.number;
  }
  // What plan and combine are given.
  Totals totals() {
    return {sizeof(Totals),
            static_cast<int64_t>(model.size()),
            model.first_block.data(),
            model.elements.data(),
            model.flags.data(),
            state.pointers(false),
            skipped(),
            stream_ == nullptr ? nullptr : &stream_->table};
  }

  Tensors parameters;
  std::vector<Group> groups;  // one a tensor
  int64_t number = 1;
  int32_t rank = 0, ranks = 2;
  uint64_t step_flags = 0;
  float gradient_scale = 1;
  int32_t skip = 0;  // on a device
  Mean mean;
  Floats message;                    // of the last round
  Floats previous;                   // the retained mean; empty: none
  std::vector<size_t> tiling = {2};  // blocks of a tile, in turn: two, so that tiles of several blocks and of one are seen
  bool backwards = false;            // the last tile first
  int threads = 1;                   // that work on tiles at once
  Around around;                     // none: the call alone

  TileModel model;
  TileState state;

 private:
  const int32_t* skipped() const { return stream_ == nullptr ? nullptr : &skip; }
  const float* kept_mean() const { return previous_.size() == 0 ? nullptr : previous_.data(); }
  void wait() const {
    if (stream_ != nullptr) stream_->wait();
  }
  void call(Doing doing, const Tile* tile, const std::function<void()>& f) const { around ? around(doing, tile, f) : f(); }

  void consume(int round, const float* result) {
    for_tiles(Doing::consume, [&](Tile& tile) {
      tile.mean = result;
      tile.previous = plan_.previous_in_consume ? kept_mean() : nullptr;
      return [this, round, &tile] { optimizer_.consume(step_, round, tile); };
    });
  }

  std::vector<Tile> tiles() {
    std::vector<Tile> all;
    void* const* const slots = state.pointers(true);
    const std::vector<Block>& blocks = model.blocks;
    for (size_t b = 0, n = 0; b < blocks.size(); b += n) {
      n = std::min(tiling[all.size() % tiling.size()], blocks.size() - b);
      if (state.whole_tensors)
        for (n = 1; b + n < blocks.size() && blocks[b + n].tensor == blocks[b].tensor;) ++n;
      all.push_back({sizeof(Tile), n, blocks.data() + b, stream_ == nullptr ? nullptr : blocks.data() + b, nullptr, nullptr,
                     nullptr, slots, &gradient_scale, skipped(), stream_ == nullptr ? nullptr : &stream_->table});
    }
    if (backwards) std::reverse(all.begin(), all.end());
    return all;
  }

  // prepare(tile) completes it and answers the call to be made.
  template <class Prepare>
  void for_tiles(Doing doing, const Prepare& prepare) {
    std::vector<Tile> all = tiles();
    std::atomic<size_t> next{0};
    std::exception_ptr failure;
    std::atomic_flag failed = ATOMIC_FLAG_INIT;
    const auto work = [&] {
      try {
        for (size_t t; (t = next++) < all.size();) call(doing, &all[t], prepare(all[t]));
      } catch (...) {
        if (!failed.test_and_set()) failure = std::current_exception();
      }
    };
    std::vector<std::thread> others;
    for (int t = 1; t < threads; ++t) others.emplace_back(work);
    work();
    for (std::thread& thread : others) thread.join();
    wait();
    if (failure) std::rethrow_exception(failure);
  }

  Optimizer& optimizer_;
  const Stream* stream_;
  Guarded<float> message_, mean_, previous_;
  Floats kept_;  // of this step
  Step step_{};
  Plan plan_;
};

}  // namespace onebit::conformance
