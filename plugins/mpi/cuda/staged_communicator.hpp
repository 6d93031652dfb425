// SPDX-License-Identifier: Apache-2.0
// A communicator of device memory over one of host memory. Bytes are copied to pinned memory in the order of the caller's
// stream, move from there, and are copied back in that order when the caller waits: the host never waits for the device in a
// call, except for staging memory that is still being copied out of. Where MPI takes device memory itself, it gets the
// pointers, as soon as the stream has come to the call; only all_reduce, whose sums are taken on the host, is staged then, too.
#pragma once

#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "device.hpp"
#include "onebit/communicator.hpp"

namespace onebit::mpi {

class StagedCommunicator final : public Communicator {
 public:
  // direct: `inner` takes the device's pointers.
  StagedCommunicator(std::unique_ptr<Communicator> inner, std::shared_ptr<Device> device, bool direct);
  ~StagedCommunicator() override;

  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  uint64_t machine() const override { return inner_->machine(); }

  Request* all_reduce(const Tensor& in, Tensor& out, ReduceOp op, const Call& call) override;
  Request* all_gather(const void* in, void* out, const Part* out_parts, const Call& call) override;
  Request* all_to_all(const void* in, const Part* in_parts, void* out, const Part* out_parts, const Call& call) override;
  Request* broadcast(Tensor& io, int root, const Call& call) override;
  void barrier(const Call& call) override;

  bool test(Request* request) override;
  void wait(Request* request, int64_t timeout_ns) override;
  std::unique_ptr<Communicator> split(int color, int key) override;
  void abort(std::string_view reason) override { inner_->abort(reason); }

 private:
  using Post = std::function<Request*(const Call&)>;
  // Pinned memory; busy: until the device has copied out of it.
  struct Stage {
    char* memory = nullptr;
    size_t size = 0;
    Device::Mark busy = nullptr;
  };
  struct CopyBack {
    char* to;
    const char* from;
    size_t bytes;
  };
  struct Staged final : Request {
    Device::Mark ready = nullptr;  // the stream has come to the call
    Post post;
    Call call;
    onebit_stream stream{};
    bool has_stream = false;
    std::vector<Stage*> stages;
    std::vector<CopyBack> back;
    Tensor in{}, out{};  // staged views, for as long as the collective runs
    Request* inner = nullptr;
    std::exception_ptr failure;
    bool posted = false;
  };

  Staged& begin(const Call& call);
  char* stage(Staged& request, size_t bytes);
  // A tensor of the device as one in staging memory; throws what the inner communicator would say of it.
  Tensor staged_view(Staged& request, const Tensor& tensor, bool copy_in);
  Request* enqueue(Staged& request, Post post);
  Request* refuse(Staged& request, const Post& post);
  void run();
  void drain();
  void finish(Staged& request);
  Staged& own(Request* request);

  std::unique_ptr<Communicator> inner_;
  std::shared_ptr<Device> device_;
  const bool direct_;
  std::list<Stage> stages_;
  std::list<Staged> requests_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Staged*> queue_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace onebit::mpi
