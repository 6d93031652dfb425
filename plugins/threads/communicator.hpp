// SPDX-License-Identifier: Apache-2.0
// The communicator `threads`: ranks are threads of one process, and bytes move by memcpy. This class checks what a rank brings;
// world.hpp is where the ranks meet.
#pragma once

#include "onebit/communicator.hpp"
#include "operation.hpp"
#include "seat.hpp"

namespace onebit::threads {

class ThreadsCommunicator final : public Communicator {
 public:
  static constexpr uint64_t capabilities = ONEBIT_CAPABILITY_THREADS;

  // Returns when all ranks have arrived.
  ThreadsCommunicator(const Services&, const Options& options, const Rendezvous& rendezvous);
  ThreadsCommunicator(Seat seat, int64_t stall_ns, uint64_t machine);
  static Slice<const onebit_schema> options();

  int rank() const override { return seat_.rank(); }
  int size() const override;

  Request* all_reduce(const Tensor& in, Tensor& out, ReduceOp op, const Call& call) override;
  Request* all_gather(const void* in, void* out, const Part* out_parts, const Call& call) override;
  Request* all_to_all(const void* in, const Part* in_parts, void* out, const Part* out_parts, const Call& call) override;
  Request* broadcast(Tensor& io, int root, const Call& call) override;
  void barrier(const Call& call) override;

  bool test(Request* request) override;
  void wait(Request* request, int64_t timeout_ns) override;
  std::unique_ptr<Communicator> split(int color, int key) override;
  void abort(std::string_view reason) override;
  uint64_t machine() const override { return machine_; }

 private:
  template <class F>
  Post* start(Kind kind, const Call& call, F&& fill);
  Post& own(Request* request) const;

  int64_t stall_ns_;
  uint64_t machine_ = 0;
  Seat seat_;
};

}  // namespace onebit::threads
