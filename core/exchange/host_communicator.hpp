// SPDX-License-Identifier: Apache-2.0
// For the host's own collectives, on memory of the CPU, where the communicator takes a device's: through a buffer there. Each
// returns when it is done. Not for what must be fast.
#pragma once

#include <memory>

#include "device/buffer.hpp"
#include "device/device.hpp"
#include "onebit/communicator.hpp"

namespace onebit {

class HostCommunicator final : public Communicator {
 public:
  // The meter is the device's. All outlive it.
  HostCommunicator(Communicator& inner, Device& device, MemoryMeter& meter) : inner_(inner), device_(device), meter_(meter) {}

  int rank() const override { return inner_.rank(); }
  int size() const override { return inner_.size(); }
  uint64_t machine() const override { return inner_.machine(); }
  Request* all_reduce(const Tensor& in, Tensor& out, ReduceOp op, const Call& call) override;
  Request* all_gather(const void* in, void* out, const Part* out_parts, const Call& call) override;
  Request* all_to_all(const void* in, const Part* in_parts, void* out, const Part* out_parts, const Call& call) override;
  Request* broadcast(Tensor& io, int root, const Call& call) override;
  void barrier(const Call& call) override { inner_.barrier(on_stream(call)); }
  bool test(Request*) override { return true; }
  void wait(Request*, int64_t) override {}
  std::unique_ptr<Communicator> split(int, int) override {
    throw Error(Code::unsupported, "the communicator of a session on a device is not split by its embedder");
  }
  void abort(std::string_view reason) override { inner_.abort(reason); }

 private:
  struct Done final : Request {};

  Call on_stream(const Call& call) const;
  // In the device's memory, to where the host's bytes are copied, and from; an address for nothing, too.
  void* send(const void* from, size_t bytes);
  void* receive(size_t bytes);
  Request* finish(Request* pending, int64_t timeout_ns);
  Tensor moved(const Tensor& tensor, void* data) const;

  Communicator& inner_;
  Device& device_;
  MemoryMeter& meter_;
  Buffer in_, out_;
  Done done_;
};

}  // namespace onebit
