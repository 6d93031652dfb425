// SPDX-License-Identifier: Apache-2.0
// The communicator `mpi`: ranks are processes, bytes move through MPI. This class checks what a rank brings; engine.hpp is what
// moves it.
#pragma once

#include <memory>

#include "engine.hpp"
#include "onebit/communicator.hpp"
#include "onebit/services.hpp"

namespace onebit::mpi {

class MpiCommunicator final : public Communicator {
 public:
  // Ranks are those that mpirun started, when the rendezvous has size 0; else those of the MPI communicator that it has under
  // the key "mpi.communicator" (MPI_Comm_c2f's handle, an int32), or of MPI_COMM_WORLD, if rank and size agree. Returns when
  // all ranks have called it.
  MpiCommunicator(const Services& services, const Options& options, const Rendezvous& rendezvous);
  ~MpiCommunicator() override;
  static Slice<const onebit_schema> options();
  static constexpr uint64_t capabilities = ONEBIT_CAPABILITY_PROCESSES;

  int rank() const override { return context_->rank; }
  int size() const override { return context_->size(); }

  Request* all_reduce(const Tensor& in, Tensor& out, ReduceOp op, const Call& call) override;
  Request* all_gather(const void* in, void* out, const Part* out_parts, const Call& call) override;
  Request* all_to_all(const void* in, const Part* in_parts, void* out, const Part* out_parts, const Call& call) override;
  Request* broadcast(Tensor& io, int root, const Call& call) override;
  void barrier(const Call& call) override;

  bool test(Request* request) override;
  void wait(Request* request, int64_t timeout_ns) override;
  std::unique_ptr<Communicator> split(int color, int key) override;
  void abort(std::string_view reason) override;
  uint64_t machine() const override;

 private:
  MpiCommunicator(std::shared_ptr<Engine> engine, Context& context);
  template <class F>
  Operation& start(Collective kind, const Call& call, F&& fill);
  Operation& own(Request* request) const;

  std::shared_ptr<Engine> engine_;
  Context* context_;
};

}  // namespace onebit::mpi
