// SPDX-License-Identifier: Apache-2.0
// The communicator `nccl`: ranks with a GPU each, whose tensors never leave it. This class checks what a rank brings;
// engine.hpp says how collectives run and fail.
//
// Streams.  A collective begins after what its call's stream was given before, on a stream of the communicator's own.
//   wait makes the call's stream wait, and not the host, but for the first collective of each signature. What fails later
//   is told by the next call, or by test. Limits count from the first wait or test. barrier is between the hosts: it
//   waits for no stream. Calls can't be captured into CUDA graphs: each is also a word between hosts.
// Device.  The one that is current when the communicator is made; tensors and streams of another are refused.
// Failures.  After any, a mismatch or a refused call included, the communicator is at its end.
#pragma once

#include <memory>
#include <string>

#include "engine.hpp"
#include "onebit/collectives/machine.hpp"
#include "onebit/communicator.hpp"

namespace onebit::nccl {

class NcclCommunicator final : public Communicator {
 public:
  // Returns when all ranks are connected.
  NcclCommunicator(const Services& services, const Options& options, const Rendezvous& rendezvous);
  NcclCommunicator(const Library& library, Connection connection, std::string address, const Limits& limits);
  static Slice<const onebit_schema> options();
  static void probe();

  int rank() const override { return engine_->rank(); }
  int size() const override { return engine_->size(); }

  Request* all_reduce(const Tensor& in, Tensor& out, ReduceOp op, const Call& call) override;
  Request* all_gather(const void* in, void* out, const Part* out_parts, const Call& call) override;
  Request* all_to_all(const void* in, const Part* in_parts, void* out, const Part* out_parts, const Call& call) override;
  Request* broadcast(Tensor& io, int root, const Call& call) override;
  void barrier(const Call& call) override;

  bool test(Request* request) override;
  void wait(Request* request, int64_t timeout_ns) override;
  std::unique_ptr<Communicator> split(int color, int key) override;
  void abort(std::string_view reason) override;
  uint64_t machine() const override { return machine_number(); }

 private:
  template <class F>
  Request* start(Collective kind, const Call& call, F&& fill);
  Tensor as_host(const char* name, const Tensor& tensor) const;
  Operation& own(Request* request) const;

  const Limits limits_;
  std::string address_;
  const Library& library_;
  std::unique_ptr<Engine> engine_;
};

}  // namespace onebit::nccl
