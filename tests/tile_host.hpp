// A host of one rank for tests of an optimizer's arithmetic: it allocates what is declared and makes the calls of a step, tile
// by tile, with no exchange between them. What becomes of a round's vector is up to the test; only the tensors that are exempt
// from compression come back as they were sent.
#pragma once

#include <algorithm>
#include <functional>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "onebit/optimizer.hpp"

namespace onebit::test {

using Vector = std::vector<float>;

class TileHost {
 public:
  // The mean of a message (or of a gradient, dense) over the ranks.
  using Mean = std::function<Vector(const Vector& message, bool compressed)>;

  // A stream whose memory is the CPU's: that of a device that is pretended.
  struct Stream {
    onebit_stream table;
    std::function<void()> wait;
  };

  // flags: ONEBIT_TENSOR_ bits, one number a tensor; none: all 0. stream: for optimizers of a device; it outlives the host.
  TileHost(Optimizer& optimizer, std::vector<Vector> initial, int64_t block = 4096, std::vector<uint64_t> flags = {},
           const Stream* stream = nullptr)
      : parameters(std::move(initial)),
        groups(parameters.size(), {1e-3, 0}),
        optimizer_(optimizer),
        stream_(stream),
        flags_(std::move(flags)) {
    flags_.resize(parameters.size());
    cut(block);
    declare_tensors();
    for (size_t i = 0; i < slots_.size(); ++i) allocate(slots_[i]);
    mean = [](const Vector& message, bool) { return message; };
  }
  TileHost(const TileHost&) = delete;
  TileHost& operator=(const TileHost&) = delete;

  // One step; answers its plan. gradients: one a tensor.
  const Plan& step(const std::vector<Vector>& gradients) {
    for (Block& block : blocks_) block.gradient = gradients[static_cast<size_t>(block.tensor)].data() + block.first;
    const Step step = {
        sizeof step, number, 0, ranks, step_flags, groups.data(), groups.size(), stream_ == nullptr ? nullptr : groups.data()};
    plan_.clear();
    optimizer_.plan(step, totals(), plan_);
    for (Slot& slot : slots_)
      if (slot.extent == ONEBIT_PER_BLOCK) std::fill(slot.doubles.begin(), slot.doubles.end(), 0.0);
    Vector kept = plan_.rounds().size > 0 ? run_rounds(step) : run_locally(step);
    optimizer_.combine(step, totals());
    wait();
    if (plan_.mean_in_apply && kept.empty()) throw std::runtime_error("there is no mean for apply: no round was retained");
    if (plan_.apply)
      for_blocks([&](Tile tile) {
        tile.mean = plan_.mean_in_apply ? kept.data() : nullptr;
        optimizer_.apply(step, tile);
      });
    if (!kept.empty()) previous = std::move(kept);
    for (const int32_t slot : plan_.releases()) release(slots_[static_cast<size_t>(slot)]);
    ++number;
    return plan_;
  }

  const Vector& elements(const std::string& name) const { return find(name).floats; }
  const std::vector<double>& numbers(const std::string& name) const { return find(name).doubles; }
  // All that the optimizer keeps from step to step, as bytes; and, if asked, the partial sums of the last one.
  std::vector<unsigned char> all_state(bool with_partial_sums = false) const {
    std::vector<unsigned char> bytes;
    const auto add = [&](const void* data, size_t size) {
      const auto* first = static_cast<const unsigned char*>(data);
      bytes.insert(bytes.end(), first, first + size);
    };
    for (const Slot& slot : slots_) {
      if (slot.extent == ONEBIT_PER_BLOCK && !with_partial_sums) continue;
      add(slot.floats.data(), slot.floats.size() * sizeof(float));
      add(slot.doubles.data(), slot.doubles.size() * sizeof(double));
    }
    return bytes;
  }

  std::vector<Vector> parameters;
  std::vector<Group> groups;  // one a tensor
  int64_t number = 1;
  int32_t ranks = 2;
  uint64_t step_flags = 0;
  float gradient_scale = 1;
  int32_t skip = 0;  // on a device
  Mean mean;
  Vector message;   // of the last round
  Vector previous;  // the retained mean; empty: none

 private:
  struct Slot {
    std::string name;
    int32_t extent;
    size_t count;
    Vector floats;
    std::vector<double> doubles;
  };
  bool is_dense(int64_t tensor) const { return (flags_[static_cast<size_t>(tensor)] & ONEBIT_TENSOR_DENSE) != 0; }

  void cut(int64_t block) {
    first_block_.push_back(0);
    for (size_t t = 0; t < parameters.size(); ++t) {
      const auto size = static_cast<int64_t>(parameters[t].size());
      for (int64_t first = 0; first < size; first += block) {
        const int64_t n = std::min(block, size - first);
        const auto tensor = static_cast<int64_t>(t);
        blocks_.push_back({static_cast<int64_t>(blocks_.size()), tensor, tensor, first, flat_, flat_, n,
                           parameters[t].data() + first, nullptr, flags_[t]});
        flat_ += n;
      }
      elements_.push_back(size);
      first_block_.push_back(static_cast<int64_t>(blocks_.size()));
    }
  }

  void declare_tensors() {
    std::vector<TensorInfo> infos;
    std::vector<const TensorInfo*> tensors;
    std::vector<std::string> names;
    std::vector<onebit_tensor> shapes;
    int64_t one = 1;
    for (size_t t = 0; t < parameters.size(); ++t) {
      names.push_back("t" + std::to_string(t));
      shapes.push_back({parameters[t].data(), {ONEBIT_DEVICE_CPU, 0}, 1, {ONEBIT_DTYPE_FLOAT, 32, 1}, &elements_[t], &one, 0});
    }
    for (size_t t = 0; t < parameters.size(); ++t)
      infos.push_back({sizeof(TensorInfo), str(names[t]), &shapes[t], static_cast<int64_t>(t), flags_[t]});
    for (const TensorInfo& info : infos) tensors.push_back(&info);
    const onebit_state state = {sizeof state, this, &TileHost::declare, [](void*) {}};
    StateDeclarer declarer(&state);
    optimizer_.declare({tensors.data(), tensors.size()}, declarer);
  }

  static int32_t declare(void* self, const onebit_state_desc* desc) {
    auto& slots = static_cast<TileHost*>(self)->slots_;
    slots.push_back({std::string(view(desc->name)), desc->extent, static_cast<size_t>(desc->count), {}, {}});
    return static_cast<int32_t>(slots.size() - 1);
  }

  void allocate(Slot& slot) {
    const size_t each[] = {0, static_cast<size_t>(flat_), blocks_.size(), parameters.size(), 1};
    const size_t size = each[slot.extent] * slot.count;
    slot.extent == ONEBIT_PER_ELEMENT ? slot.floats.resize(size) : slot.doubles.resize(size);
  }

  // Elements of exempt tensors stay; what else is read or written after that, NaN gives away.
  void release(Slot& slot) {
    const bool any = std::any_of(flags_.begin(), flags_.end(), [](uint64_t f) { return (f & ONEBIT_TENSOR_DENSE) != 0; });
    if (!any) slot.floats = Vector();
    for (const Block& block : blocks_)
      if (any && !is_dense(block.tensor))
        std::fill_n(slot.floats.begin() + block.flat, block.count, std::numeric_limits<float>::quiet_NaN());
  }

  const Slot& find(const std::string& name) const {
    for (const Slot& slot : slots_)
      if (slot.name == name) return slot;
    throw std::runtime_error("no state '" + name + "'");
  }

  void* const* pointers(bool with_elements) {
    pointers_.clear();
    for (Slot& slot : slots_) {
      const bool is_element = slot.extent == ONEBIT_PER_ELEMENT;
      void* const base = is_element ? static_cast<void*>(slot.floats.data()) : slot.doubles.data();
      pointers_.push_back(is_element && (!with_elements || slot.floats.empty()) ? nullptr : base);
    }
    return pointers_.data();
  }

  Totals totals() {
    return {sizeof(Totals),      static_cast<int64_t>(parameters.size()),
            first_block_.data(), elements_.data(),
            flags_.data(),       pointers(false),
            skipped(),           stream_ == nullptr ? nullptr : &stream_->table};
  }
  const int32_t* skipped() const { return stream_ == nullptr ? nullptr : &skip; }
  void wait() const {
    if (stream_ != nullptr) stream_->wait();
  }

  // Two blocks a tile, so that tiles of several blocks and of one are seen.
  void for_blocks(const std::function<void(Tile)>& call) {
    void* const* const slots = pointers(true);
    for (size_t b = 0; b < blocks_.size(); b += 2)
      call({sizeof(Tile), std::min<size_t>(2, blocks_.size() - b), blocks_.data() + b,
            stream_ == nullptr ? nullptr : blocks_.data() + b, nullptr, nullptr, nullptr, slots, &gradient_scale, skipped(),
            stream_ == nullptr ? nullptr : &stream_->table});
    wait();
  }
  const float* kept_mean() const { return previous.empty() ? nullptr : previous.data(); }

  Vector run_locally(const Step& step) {
    for_blocks([&](Tile tile) {
      tile.previous = plan_.previous_in_consume ? kept_mean() : nullptr;
      optimizer_.consume(step, 0, tile);
    });
    return {};
  }

  Vector run_rounds(const Step& step) {
    Vector kept;
    int32_t index = 0;
    for (const Plan::Round& round : plan_.rounds()) {
      message.assign(static_cast<size_t>(flat_), 0.0F);
      if (round.of == Of::message)
        for_blocks([&](Tile tile) {
          tile.message = message.data();
          tile.previous = kept_mean();
          optimizer_.produce(step, index, tile);
        });
      else
        for (const Block& block : blocks_)
          std::transform(block.gradient, block.gradient + block.count, message.data() + block.flat,
                         [&](float g) { return g * gradient_scale; });
      Vector result = mean(message, round.kind == RoundKind::compressed);
      for (const Block& block : blocks_)
        if (is_dense(block.tensor)) std::copy_n(message.begin() + block.flat, block.count, result.begin() + block.flat);
      for_blocks([&](Tile tile) {
        tile.mean = result.data();
        tile.previous = plan_.previous_in_consume ? kept_mean() : nullptr;
        optimizer_.consume(step, index, tile);
      });
      if (round.retain) kept = result;
      ++index;
    }
    return kept;
  }

  Optimizer& optimizer_;
  const Stream* stream_;
  std::vector<uint64_t> flags_;
  std::vector<Block> blocks_;
  std::vector<int64_t> first_block_, elements_;
  std::vector<Slot> slots_;
  std::vector<void*> pointers_;
  int64_t flat_ = 0;
  Plan plan_;
};

}  // namespace onebit::test
