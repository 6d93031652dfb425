// SPDX-License-Identifier: Apache-2.0
// The plugin `mpi_cuda`: communicator `mpi` for tensors in CUDA memory, in a library of its own, so that a machine without CUDA
// loads all the rest.
#include "onebit/plugin.hpp"

#include "../communicator.hpp"
#include "cuda_device.hpp"
#include "staged_communicator.hpp"

namespace onebit::mpi {
namespace {

// As the SDK makes components: from services, options and rendezvous.
class CudaCommunicator final : public Communicator {
 public:
  CudaCommunicator(const Services& services, const Options& options, const Rendezvous& rendezvous) {
    auto host = std::make_unique<MpiCommunicator>(services, options, rendezvous);
    const bool direct = mpi_is_cuda_aware();
    services.log(LogLevel::info, "mpi_cuda",
                 direct ? "MPI takes device memory" : "MPI does not take device memory: it is staged through pinned memory");
    inner_ = std::make_unique<StagedCommunicator>(std::move(host), cuda_device(), direct);
  }
  static Slice<const onebit_schema> options() { return MpiCommunicator::options(); }
  static constexpr uint64_t capabilities = MpiCommunicator::capabilities;
  static void probe() { probe_cuda(); }

  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  uint64_t machine() const override { return inner_->machine(); }
  Request* all_reduce(const Tensor& in, Tensor& out, ReduceOp op, const Call& call) override {
    return inner_->all_reduce(in, out, op, call);
  }
  Request* all_gather(const void* in, void* out, const Part* out_parts, const Call& call) override {
    return inner_->all_gather(in, out, out_parts, call);
  }
  Request* all_to_all(const void* in, const Part* in_parts, void* out, const Part* out_parts, const Call& call) override {
    return inner_->all_to_all(in, in_parts, out, out_parts, call);
  }
  Request* broadcast(Tensor& io, int root, const Call& call) override { return inner_->broadcast(io, root, call); }
  void barrier(const Call& call) override { inner_->barrier(call); }
  bool test(Request* request) override { return inner_->test(request); }
  void wait(Request* request, int64_t timeout_ns) override { inner_->wait(request, timeout_ns); }
  std::unique_ptr<Communicator> split(int color, int key) override { return inner_->split(color, key); }
  void abort(std::string_view reason) override { inner_->abort(reason); }

 private:
  std::unique_ptr<Communicator> inner_;
};

}  // namespace
}  // namespace onebit::mpi

ONEBIT_PLUGIN("mpi_cuda", "1.0.0", onebit::component<onebit::mpi::CudaCommunicator>("mpi", ONEBIT_DEVICE_CUDA))
