// SPDX-License-Identifier: Apache-2.0
// What a session has on its device besides tensors, state and the exchange's buffers: the blocks and groups that kernels read,
// the ballots and what they come to, and the copy of the model's numbers that the next plan reads on the host. Inside a step
// nothing here waits for the device.
#pragma once

#include <cstdint>
#include <vector>

#include "device/buffer.hpp"
#include "device/device.hpp"
#include "device/verdict.hpp"
#include "exchange/exchange.hpp"
#include "exchange/layout.hpp"
#include "exchange/metered_communicator.hpp"
#include "exchange/state_store.hpp"
#include "onebit/optimizer.hpp"

namespace onebit {

class DeviceStep {
 public:
  // The layout's blocks are complete but for their gradients. All outlive it; the meter is the device's.
  DeviceStep(Device& device, const Layout& layout, const StateStore& state, MeteredCommunicator& communicator,
             MemoryMeter& meter, size_t groups);
  ~DeviceStep();
  DeviceStep(const DeviceStep&) = delete;
  DeviceStep& operator=(const DeviceStep&) = delete;

  // Of blocks [first, last), some of whose gradients have changed: one copy; and of groups that may have.
  void update_blocks(size_t first, size_t last);
  const onebit_group* update_groups(const std::vector<onebit_group>& groups);

  // Of steps that tensors missed: NULL, or device memory.
  const int64_t* update_missed(const int64_t* missed);

  // The pass over the gradients, and the agreement, or, in a local step, none. bits: a bit a tensor that this rank has a
  // gradient of. lacking: the others, all of them that may be absent; NULL: there is none.
  Opening open(const Ballot& said, const Terms& terms, const std::vector<uint64_t>& bits, const uint64_t* lacking);
  // The same in parts, of a step that begins before its gradients are there: what it begins with; gradients of some blocks;
  // and, when all have been scanned, the agreement.
  Opening begin(float gradient_scale);
  void scan(const Bucket& bucket);
  Opening agree(const Ballot& said, const Terms& terms, const std::vector<uint64_t>& bits, const uint64_t* lacking);
  // For combine, on the device; and for plan: the model's numbers as they were when the last step was done.
  Totals totals() const;
  Totals host_totals() const;

  // After the last kernel of a step: what the host wants to know of it is on its way. vanished: the exchange's,
  // or NULL.
  void report(const uint64_t* vanished);
  // The model's numbers are others than the last step left; waits for them.
  void read_model();
  // Once settled: the ballots of the step that was reported last, and what had vanished by then.
  Ballots ballots() const { return {staged_ballots_, local_ ? 1 : static_cast<int64_t>(parts_.size()), words_}; }
  uint64_t vanished() const { return *staged_vanished_; }

  const onebit_block* blocks() const { return blocks_.as<onebit_block>(); }

 private:
  Ballots on_device() const { return {ballots_.bytes(), local_ ? 1 : static_cast<int64_t>(parts_.size()), words_}; }
  size_t bytes_of(const Ballots& all) const { return static_cast<size_t>(all.count * all.stride()); }
  void say(const std::vector<uint64_t>& bits);
  const onebit_block* mark_absent(const uint64_t* lacking);

  Device& device_;
  const Layout& layout_;
  const StateStore& state_;
  MeteredCommunicator& communicator_;
  MemoryMeter& meter_;
  const int64_t words_;  // of a ballot's bits
  Buffer blocks_, groups_, ballots_, bits_, verdict_, scratch_, tensors_;
  Buffer early_;                    // what a step begins with: the gradient scale, and a flag to skip, which is not set
  Buffer present_blocks_, missed_;  // once a tensor was absent
  bool marked_ = false;             // some flags say so
  std::vector<onebit_part> parts_;
  std::vector<void*> host_slots_;
  bool local_ = false;
  // of the host, where the device copies to and from
  onebit_block* staged_blocks_ = nullptr;
  onebit_group* staged_groups_ = nullptr;
  std::byte* staged_ballots_ = nullptr;
  uint64_t* staged_bits_ = nullptr;
  int64_t* staged_missed_ = nullptr;
  std::byte* staged_model_ = nullptr;
  uint64_t* staged_vanished_ = nullptr;
  float* staged_scale_ = nullptr;
};

}  // namespace onebit
