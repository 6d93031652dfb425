// SPDX-License-Identifier: Apache-2.0
#include "exchange/host_communicator.hpp"

#include <algorithm>

namespace onebit {
namespace {

size_t bytes_of(const Tensor& tensor) {
  size_t bytes = tensor.dtype.bits / 8U * tensor.dtype.lanes;
  for (int32_t d = 0; d < tensor.ndim; ++d) bytes *= static_cast<size_t>(tensor.shape[d]);
  return bytes;
}
char* data_of(const Tensor& tensor) { return static_cast<char*>(tensor.data) + tensor.byte_offset; }

size_t end_of(const Part* parts, int count) {
  int64_t end = 0;
  for (int rank = 0; rank < count; ++rank) end = std::max(end, parts[rank].offset + parts[rank].bytes);
  return static_cast<size_t>(end);
}

}  // namespace

Call HostCommunicator::on_stream(const Call& call) const {
  Call made(call.tag, call.timeout_ns);
  made.stream = device_.stream();
  return made;
}

void* HostCommunicator::send(const void* from, size_t bytes) {
  if (in_.size() < std::max<size_t>(bytes, 1)) in_ = Buffer(meter_, std::max<size_t>(bytes, 1));
  in_.set(from, bytes);
  return in_.bytes();
}
void* HostCommunicator::receive(size_t bytes) {
  if (out_.size() < std::max<size_t>(bytes, 1)) out_ = Buffer(meter_, std::max<size_t>(bytes, 1));
  return out_.bytes();
}

Request* HostCommunicator::finish(Request* pending, int64_t timeout_ns) {
  inner_.wait(pending, timeout_ns);
  device_.settle();
  return &done_;
}

Tensor HostCommunicator::moved(const Tensor& tensor, void* data) const {
  Tensor made = tensor;
  made.data = data;
  made.byte_offset = 0;
  made.device = device_.where();
  return made;
}

Request* HostCommunicator::all_reduce(const Tensor& in, Tensor& out, ReduceOp op, const Call& call) {
  const size_t bytes = bytes_of(in);
  const Tensor from = moved(in, send(data_of(in), bytes));
  Tensor to = moved(out, receive(bytes));
  Request* done = finish(inner_.all_reduce(from, to, op, on_stream(call)), call.timeout_ns);
  device_.read(data_of(out), to.data, bytes);
  return done;
}

Request* HostCommunicator::all_gather(const void* in, void* out, const Part* out_parts, const Call& call) {
  const size_t bytes = end_of(out_parts, size());
  const void* from = send(in, static_cast<size_t>(out_parts[rank()].bytes));
  void* to = receive(bytes);
  Request* done = finish(inner_.all_gather(from, to, out_parts, on_stream(call)), call.timeout_ns);
  for (int peer = 0; peer < size(); ++peer)
    device_.read(static_cast<char*>(out) + out_parts[peer].offset, static_cast<char*>(to) + out_parts[peer].offset,
                 static_cast<size_t>(out_parts[peer].bytes));
  return done;
}

Request* HostCommunicator::all_to_all(const void* in, const Part* in_parts, void* out, const Part* out_parts,
                                      const Call& call) {
  const void* from = send(in, end_of(in_parts, size()));
  void* to = receive(end_of(out_parts, size()));
  Request* done = finish(inner_.all_to_all(from, in_parts, to, out_parts, on_stream(call)), call.timeout_ns);
  for (int peer = 0; peer < size(); ++peer)
    device_.read(static_cast<char*>(out) + out_parts[peer].offset, static_cast<char*>(to) + out_parts[peer].offset,
                 static_cast<size_t>(out_parts[peer].bytes));
  return done;
}

Request* HostCommunicator::broadcast(Tensor& io, int root, const Call& call) {
  const size_t bytes = bytes_of(io);
  Tensor there = moved(io, send(data_of(io), bytes));
  Request* done = finish(inner_.broadcast(there, root, on_stream(call)), call.timeout_ns);
  device_.read(data_of(io), there.data, bytes);
  return done;
}

}  // namespace onebit
