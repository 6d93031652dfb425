// SPDX-License-Identifier: Apache-2.0
// What a session hands over to be saved, or to be overwritten with what was: references to its parts, and the few numbers that
// are its own.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "device/buffer.hpp"
#include "device/device.hpp"
#include "exchange/exchange.hpp"
#include "exchange/layout.hpp"
#include "exchange/machines.hpp"
#include "exchange/state_store.hpp"
#include "onebit/communicator.hpp"
#include "onebit/compressor.hpp"

namespace onebit {

// What a session itself carries from one step to the next.
struct Progress {
  int64_t next_step = 1;
  int64_t frozen_at = 0;  // as in StepReport
  int64_t unseen = 0;     // elements that had no variance then
  double learning_rate_factor = 1;
  bool sync_requested = false;
  int64_t local_steps = 0;  // since the last round, and a hash of them
  uint64_t local_hash = 0;
  int64_t skipped_in_a_row = 0;
  std::string first_skipped;
  std::vector<int64_t> missed;  // by tensor: steps that it was absent from; empty: none from any
  // This rank's own: a skipped local step, steps without a gradient, and a bit a tensor that ever had one, or had one in a
  // local step since the last round.
  bool missed_local = false;
  int64_t steps_without = 0;
  std::vector<uint64_t> ever, local;
};

struct ModelTensor {
  std::string name;
  std::vector<int64_t> shape;
  std::vector<int64_t> order;  // strides in memory; empty: row by row
  int64_t elements = 0;
  float* data = nullptr;
};

struct PluginFact {
  std::string kind, component, plugin, version;
  uint64_t abi_minor = 0;
};

// What a session is made of, for comparing.
struct RunFacts {
  std::string configuration;  // Configuration::compared()
  std::vector<PluginFact> plugins;
  // Where the options fix the step at which the optimizer freezes, that step, if it is one of the first `most`; else 0.
  std::function<int64_t(int64_t most)> freeze_step;
  // The codec with options as they were: lines of the table [compressor].
  std::function<std::unique_ptr<Compressor>(const std::string& options)> compressor_with;
};

struct SessionParts {
  Communicator& communicator;  // of all ranks, for memory of the host
  const Place& place;
  const Layout& layout;
  StateStore& state;
  Exchange& exchange;
  const Compressor* compressor;  // NULL: none is configured
  Device* device;                // NULL: the CPU
  MemoryMeter& meter;
  std::vector<ModelTensor> tensors = {};
  bool apart = false;    // ranks have parameters of their own, and the anchor what they share
  bool swapped = false;  // then, for now, the two have changed places
  Progress progress = {};

  int rank() const { return communicator.rank(); }
  int ranks() const { return communicator.size(); }
  // Of a tensor's elements in the flat space, the first.
  int64_t flat(size_t tensor) const {
    const auto block = static_cast<size_t>(layout.first_block[tensor]);
    return layout.first_block[tensor] == layout.first_block[tensor + 1] ? 0 : layout.blocks[block].flat;
  }
  // Without elements NULL would do, too.
  std::byte* element(size_t slot, size_t tensor) const {
    auto* const elements = static_cast<std::byte*>(state.tile_slots()[slot]);
    return elements == nullptr ? nullptr : elements + flat(tensor) * element_bytes(state.slots()[slot].type);
  }
  float* anchor(size_t tensor) const { return reinterpret_cast<float*>(element(static_cast<size_t>(state.anchor()), tensor)); }
  // What all ranks share, and what this one has.
  float* shared(size_t tensor) const { return apart && !swapped ? anchor(tensor) : tensors[tensor].data; }
  float* own(size_t tensor) const { return apart && swapped ? anchor(tensor) : tensors[tensor].data; }
};

}  // namespace onebit
