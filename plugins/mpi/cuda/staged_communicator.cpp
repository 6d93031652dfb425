// SPDX-License-Identifier: Apache-2.0
// Staging: in when a collective is called, out when it is waited for; in between a thread posts each, in order, once the stream
// has come to it.
#include "staged_communicator.hpp"

#include <algorithm>
#include <utility>

#include "onebit/collectives/collective_arguments.hpp"

namespace onebit::mpi {
namespace {

// Bytes from the buffer's beginning to the end of its last part; throws for parts that make no sense.
size_t extent(const char* name, const void* buffer, const Part* parts, int ranks) {
  check_parts(name, buffer, parts, ranks);
  int64_t end = 0;
  for (int rank = 0; rank < ranks; ++rank)
    if (parts[rank].bytes > 0) end = std::max(end, parts[rank].offset + parts[rank].bytes);
  return static_cast<size_t>(end);
}

}  // namespace

StagedCommunicator::StagedCommunicator(std::unique_ptr<Communicator> inner, std::shared_ptr<Device> device, bool direct)
    : inner_(std::move(inner)), device_(std::move(device)), direct_(direct), thread_([this] { run(); }) {}

StagedCommunicator::~StagedCommunicator() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  thread_.join();
  inner_.reset();  // before the memory that it moves
  for (Stage& stage : stages_) {
    try {
      if (stage.busy != nullptr) device_->wait(stage.busy);
    } catch (const Error&) {  // at the process's exit CUDA may be gone
    }
    device_->release(stage.memory);
  }
}

void StagedCommunicator::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return stop_ || !queue_.empty(); });
    if (stop_) return;
    Staged& request = *queue_.front();
    lock.unlock();
    try {
      device_->wait(request.ready);
      request.inner = request.post(request.call);
    } catch (...) {
      request.failure = std::current_exception();
    }
    lock.lock();
    queue_.pop_front();
    request.posted = true;
    changed_.notify_all();
  }
}

void StagedCommunicator::drain() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return queue_.empty(); });
}

StagedCommunicator::Staged& StagedCommunicator::begin(const Call& call) {
  Staged& request = requests_.emplace_back();
  request.call = Call(call.tag, call.timeout_ns);
  request.has_stream = call.stream != nullptr;
  if (request.has_stream) request.stream = {sizeof(onebit_stream), call.stream->device, call.stream->handle};
  return request;
}

char* StagedCommunicator::stage(Staged& request, size_t bytes) {
  const auto fits = [&](const Stage& stage) {
    return stage.size >= bytes && std::none_of(requests_.begin(), requests_.end(), [&](const Staged& other) {
             return std::find(other.stages.begin(), other.stages.end(), &stage) != other.stages.end();
           });
  };
  auto found = std::find_if(stages_.begin(), stages_.end(), fits);
  if (found == stages_.end()) {
    stages_.push_back({static_cast<char*>(device_->allocate(std::max<size_t>(bytes, 1))), bytes, nullptr});
    found = std::prev(stages_.end());
  }
  if (found->busy != nullptr) device_->wait(std::exchange(found->busy, nullptr));
  request.stages.push_back(&*found);
  return found->memory;
}

Tensor StagedCommunicator::staged_view(Staged& request, const Tensor& tensor, bool copy_in) {
  if (tensor.device.type != device_->type())
    throw Error(Code::unsupported, "a tensor is in memory of device type " + std::to_string(tensor.device.type) + ", not " +
                                       std::to_string(device_->type()));
  Tensor view = tensor;
  view.device = {ONEBIT_DEVICE_CPU, 0};
  const Elements elements = check_tensor("mpi", "a tensor", view);
  const auto bytes = static_cast<size_t>(elements.bytes);
  view.data = stage(request, bytes);
  view.byte_offset = 0;
  if (copy_in && bytes > 0) device_->to_host(view.data, elements.data, bytes, request.has_stream ? &request.stream : nullptr);
  if (bytes > 0) request.back.push_back({elements.data, static_cast<char*>(view.data), bytes});
  return view;
}

Request* StagedCommunicator::enqueue(Staged& request, Post post) {
  request.post = std::move(post);
  request.ready = device_->mark(request.has_stream ? &request.stream : nullptr);
  const std::lock_guard lock(mutex_);
  queue_.push_back(&request);
  changed_.notify_all();
  return &request;
}

// What is wrong with a call the inner communicator tells, this rank and the others.
Request* StagedCommunicator::refuse(Staged& request, const Post& post) {
  drain();
  const Call call = request.call;
  requests_.remove_if([&](const Staged& other) { return &other == &request; });
  inner_->wait(post(call), -1);
  throw Error(Code::internal, "the inner communicator took a call that can't be staged");
}

Request* StagedCommunicator::all_gather(const void* in, void* out, const Part* out_parts, const Call& call) {
  Staged& request = begin(call);
  const Post direct = [=, this](const Call& c) { return inner_->all_gather(in, out, out_parts, c); };
  try {
    const size_t bytes = extent("out_parts", out, out_parts, size());
    check_gather_input(in, out, out_parts, rank(), size());
    if (direct_) return enqueue(request, direct);
    char* staged = stage(request, bytes);
    const Part& own = out_parts[rank()];
    const onebit_stream* stream = request.has_stream ? &request.stream : nullptr;
    if (own.bytes > 0) device_->to_host(staged + own.offset, in, static_cast<size_t>(own.bytes), stream);
    for (int r = 0; r < size(); ++r)
      if (const Part& part = out_parts[r]; part.bytes > 0)
        request.back.push_back({static_cast<char*>(out) + part.offset, staged + part.offset, static_cast<size_t>(part.bytes)});
    const char* from = staged + (own.bytes > 0 ? own.offset : 0);
    return enqueue(request, [=, this](const Call& c) { return inner_->all_gather(from, staged, out_parts, c); });
  } catch (const Error&) {
    return refuse(request, direct);
  }
}

Request* StagedCommunicator::all_to_all(const void* in, const Part* in_parts, void* out, const Part* out_parts,
                                        const Call& call) {
  Staged& request = begin(call);
  const Post direct = [=, this](const Call& c) { return inner_->all_to_all(in, in_parts, out, out_parts, c); };
  try {
    const size_t sends = extent("in_parts", in, in_parts, size()), receives = extent("out_parts", out, out_parts, size());
    check_apart(in, in_parts, out, out_parts, size());
    if (direct_) return enqueue(request, direct);
    char* from = stage(request, sends);
    char* to = stage(request, receives);
    const onebit_stream* stream = request.has_stream ? &request.stream : nullptr;
    for (int r = 0; r < size(); ++r) {
      const Part &sent = in_parts[r], &received = out_parts[r];
      if (sent.bytes > 0)
        device_->to_host(from + sent.offset, static_cast<const char*>(in) + sent.offset, static_cast<size_t>(sent.bytes),
                         stream);
      if (received.bytes > 0)
        request.back.push_back(
            {static_cast<char*>(out) + received.offset, to + received.offset, static_cast<size_t>(received.bytes)});
    }
    return enqueue(request, [=, this](const Call& c) { return inner_->all_to_all(from, in_parts, to, out_parts, c); });
  } catch (const Error&) {
    return refuse(request, direct);
  }
}

Request* StagedCommunicator::all_reduce(const Tensor& in, Tensor& out, ReduceOp op, const Call& call) {
  Staged& request = begin(call);
  const bool in_place = in.data == out.data && in.byte_offset == out.byte_offset;
  try {
    check_reduction("mpi", op, in.dtype);
    request.in = staged_view(request, in, true);
    if (!in_place) request.back.clear();  // what was brought stays as it is
    request.out = in_place ? request.in : staged_view(request, out, false);
    return enqueue(request, [&request, op, this](const Call& c) { return inner_->all_reduce(request.in, request.out, op, c); });
  } catch (const Error&) {
    return refuse(request, [&](const Call& c) { return inner_->all_reduce(in, out, op, c); });
  }
}

Request* StagedCommunicator::broadcast(Tensor& io, int root, const Call& call) {
  Staged& request = begin(call);
  try {
    check_root(root, size());
    request.out = staged_view(request, io, rank() == root);
    if (rank() == root) request.back.clear();
    return enqueue(request, [&request, root, this](const Call& c) { return inner_->broadcast(request.out, root, c); });
  } catch (const Error&) {
    return refuse(request, [&](const Call& c) { return inner_->broadcast(io, root, c); });
  }
}

void StagedCommunicator::barrier(const Call& call) {
  drain();
  inner_->barrier(Call(call.tag, call.timeout_ns));
}

std::unique_ptr<Communicator> StagedCommunicator::split(int color, int key) {
  drain();
  std::unique_ptr<Communicator> part = inner_->split(color, key);
  return part == nullptr ? nullptr : std::make_unique<StagedCommunicator>(std::move(part), device_, direct_);
}

StagedCommunicator::Staged& StagedCommunicator::own(Request* request) {
  const auto found = std::find_if(requests_.begin(), requests_.end(), [&](const Staged& mine) { return &mine == request; });
  if (found == requests_.end()) throw Error(Code::invalid_argument, "the request is not one of this communicator");
  return *found;
}

bool StagedCommunicator::test(Request* request) {
  Staged& staged = own(request);
  {
    const std::lock_guard lock(mutex_);
    if (!staged.posted) return false;
  }
  if (staged.failure) std::rethrow_exception(staged.failure);
  return inner_->test(staged.inner);
}

void StagedCommunicator::wait(Request* request, int64_t timeout_ns) {
  Staged& staged = own(request);
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return staged.posted; });
  }
  try {
    if (staged.failure) std::rethrow_exception(staged.failure);
    inner_->wait(staged.inner, timeout_ns);
  } catch (const Error& e) {
    if (e.code() != Code::timeout) requests_.remove_if([&](const Staged& other) { return &other == &staged; });
    throw;
  }
  finish(staged);
}

void StagedCommunicator::finish(Staged& request) {
  const onebit_stream* stream = request.has_stream ? &request.stream : nullptr;
  for (const CopyBack& copy : request.back) device_->to_device(copy.to, copy.from, copy.bytes, stream);
  if (!request.back.empty())
    for (Stage* stage : request.stages) stage->busy = device_->mark(stream);
  requests_.remove_if([&](const Staged& other) { return &other == &request; });
}

}  // namespace onebit::mpi
