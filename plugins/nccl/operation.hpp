// SPDX-License-Identifier: Apache-2.0
// One collective of this rank: what it was asked to move, and how far it is. It is the request that the caller holds, and is
// used again when it is over.
#pragma once

#include <cuda_runtime_api.h>

#include <string>
#include <vector>

#include "onebit/collectives/collective_signature.hpp"
#include "onebit/communicator.hpp"
#include "place.hpp"

namespace onebit::nccl {

class Engine;

// A CUDA event, without timing.
class Event {
 public:
  Event() = default;
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  ~Event();
  // After all that was given to the stream so far.
  void record(cudaStream_t stream);
  void hold_up(cudaStream_t stream) const;
  bool passed() const;

 private:
  cudaEvent_t event_ = nullptr;
};

// waiting: NCCL has not seen it.  issued: it is in the order of a stream.  done: its results are there.
enum class State : uint8_t { waiting, issued, done };

struct Operation final : Request {
  static constexpr Clock::time_point kNever = Clock::time_point::max();
  explicit Operation(const Engine* owner) : engine(owner) {}
  void reset(uint64_t number);

  const Engine* const engine;
  State state = State::done;
  bool held = false;       // the caller has not taken it back by wait
  bool cleared = false;    // all ranks are known to mean the same: NCCL may see it
  bool on_device = false;  // else it is but words between hosts: barrier, split
  bool told_late = false;
  Limit limit = Limit::call;  // which one timeout_ns is
  uint64_t sequence = 0;
  uint64_t own = 0;  // of its Sizes
  CollectiveSignature signature{};
  int64_t timeout_ns = 0;               // 0: no limit
  Clock::time_point deadline = kNever;  // once somebody waits for it, or asks

  cudaStream_t caller = nullptr;
  Event ready, finished;  // of the caller's stream, and of the communicator's
  const char* in = nullptr;
  char* out = nullptr;
  int64_t bytes = 0;                      // of a tensor
  std::vector<Part> in_parts, out_parts;  // copies: sizes may be asked for when the caller's are gone
  std::vector<std::string> blobs;         // what each rank said, of an operation between hosts
};

// What must be the same on every rank, and what must be 0 when it is added up over ranks.
struct Sizes {
  uint64_t same = 0;
  uint64_t balance = 0;
  uint64_t own = 0;  // tells this rank's sizes and signature from others, whatever the tag
};
Sizes sizes_of(const Operation& operation, int rank);
// For the message of that name: bytes sent to each rank, then bytes expected from each.
std::string sizes_text(const Operation& operation, int ranks);

}  // namespace onebit::nccl
