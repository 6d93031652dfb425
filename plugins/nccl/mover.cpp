// SPDX-License-Identifier: Apache-2.0
// Each collective as one group of NCCL's calls; bytes that stay on this rank are copied.
#include "mover.hpp"

#include <algorithm>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

#include "onebit/cuda.hpp"
#include "reduce.hpp"

namespace onebit::nccl {
namespace {

using namespace std::chrono_literals;

constexpr auto kBetweenLooks = 20ms;

// How far NCCL's own making of a communicator is, in a thread that can be left behind.
struct Connecting {
  std::mutex mutex;
  std::condition_variable changed;
  bool finished = false;
  bool abandoned = false;
  Result code = kSuccess;
  Comm comm = nullptr;
};

void initialize(const std::shared_ptr<Connecting>& connecting, const Api& api, int device, int size, UniqueId id, int rank) {
  Comm comm = nullptr;
  (void)cudaSetDevice(device);
  const Result code = api.comm_init_rank(&comm, size, id, rank);
  const std::lock_guard lock(connecting->mutex);
  connecting->finished = true;
  connecting->code = code;
  connecting->comm = comm;
  if (connecting->abandoned && code == kSuccess) api.comm_abort(comm);
  connecting->changed.notify_all();
}

// Which elements of an all_reduce a rank adds up, in bytes.
Part share_of(int64_t count, int64_t element, int rank, int size) {
  const auto begin = [&](int r) { return (count / size * r + std::min<int64_t>(count % size, r)) * element; };
  return {begin(rank), begin(rank + 1) - begin(rank)};
}

// At the exit of a process with a static session CUDA may end first, and NCCL with it: there is nothing left to free then.
bool cuda_is_gone() {
  int device = 0;
  return cudaGetDevice(&device) == cudaErrorCudartUnloading;
}

}  // namespace

OnDevice::OnDevice(int device) {
  cuda::check(cudaGetDevice(&before_), "cudaGetDevice");
  if (before_ == device) return;
  cuda::check(cudaSetDevice(device), "cudaSetDevice");
  changed_ = true;
}

OnDevice::~OnDevice() {
  if (changed_) cudaSetDevice(before_);
}

Mover::Mover(const Library& library, int rank, int size) : library_(library), rank_(rank), size_(size) {
  cuda::check(cudaGetDevice(&device_), "cudaGetDevice");
  cuda::check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
}

Mover::~Mover() {
  if (cuda_is_gone()) return;
  abort();
  free_scratch();
  cudaStreamDestroy(stream_);
}

Error Mover::error_of(Result code, const std::string& call) const {
  std::string text = call + " failed: " + library_.api.get_error_string(code);
  const char* more = library_.api.get_last_error != nullptr ? library_.api.get_last_error(comm_) : nullptr;
  if (more != nullptr && *more != '\0') text += std::string(" (") + more + ')';
  return {code == kRemoteError || code == kSystemError ? Code::peer_failed : Code::device_error, text, code};
}

void Mover::check(Result code, const char* call) const {
  if (code != kSuccess) throw error_of(code, call);
}

UniqueId Mover::make_id() const {
  UniqueId id{};
  check(library_.api.get_unique_id(&id), "ncclGetUniqueId");
  return id;
}

void Mover::connect(const UniqueId& id, const std::function<void()>& go_on) {
  const auto connecting = std::make_shared<Connecting>();
  std::thread thread(initialize, connecting, std::cref(library_.api), device_, size_, id, rank_);
  std::unique_lock lock(connecting->mutex);
  try {
    while (!connecting->changed.wait_for(lock, kBetweenLooks, [&] { return connecting->finished; })) {
      lock.unlock();
      go_on();
      lock.lock();
    }
  } catch (...) {
    if (!lock.owns_lock()) lock.lock();
    connecting->abandoned = !connecting->finished;
    if (connecting->finished) comm_ = connecting->comm;
    lock.unlock();
    thread.detach();
    throw;
  }
  lock.unlock();
  thread.join();
  check(connecting->code, "ncclCommInitRank");
  comm_ = connecting->comm;
}

std::optional<Error> Mover::asynchronous_error() const {
  const Comm comm = comm_;
  if (comm == nullptr) return std::nullopt;
  Result found = kSuccess;
  Result code = library_.api.comm_get_async_error(comm, &found);
  if (code == kSuccess) code = found;
  if (code == kSuccess || code == kInProgress) return std::nullopt;
  return error_of(code, "NCCL, asked by ncclCommGetAsyncError, says that a collective");
}

void Mover::abort() noexcept {
  if (const Comm comm = comm_.exchange(nullptr); comm != nullptr && !cuda_is_gone()) library_.api.comm_abort(comm);
}

void Mover::issue(Operation& operation) {
  operation.ready.hold_up(stream_);
  switch (operation.signature.kind) {
    case Collective::all_reduce:
      all_reduce(operation);
      break;
    case Collective::all_gather:
      all_gather(operation);
      break;
    case Collective::all_to_all:
      all_to_all(operation);
      break;
    case Collective::broadcast:
      broadcast(operation);
      break;
    default:
      break;
  }
  operation.finished.record(stream_);
}

template <class F>
void Mover::group(F&& calls) {
  if (size_ == 1) return;
  check(library_.api.group_start(), "ncclGroupStart");
  try {
    calls();
  } catch (...) {
    library_.api.group_end();
    throw;
  }
  check(library_.api.group_end(), "ncclGroupEnd");
}

// No pointer is formed where there is nothing to move: buffers may be NULL then.
void Mover::send(const char* from, const Part& part, int to) {
  if (part.bytes > 0)
    check(library_.api.send(from + part.offset, static_cast<size_t>(part.bytes), kBytes, to, comm_, stream_), "ncclSend");
}

void Mover::receive(char* to, const Part& part, int from) {
  if (part.bytes > 0)
    check(library_.api.recv(to + part.offset, static_cast<size_t>(part.bytes), kBytes, from, comm_, stream_), "ncclRecv");
}

void Mover::copy(char* to, int64_t offset, const char* from, const Part& part) {
  if (part.bytes > 0 && to + offset != from + part.offset)
    cuda::check(
        cudaMemcpyAsync(to + offset, from + part.offset, static_cast<size_t>(part.bytes), cudaMemcpyDeviceToDevice, stream_),
        "cudaMemcpyAsync");
}

// Each rank begins with another. f(rank to send to, rank to receive from).
template <class F>
void Mover::for_others(F&& f) {
  group([&] {
    for (int step = 1; step < size_; ++step) f((rank_ + step) % size_, (rank_ + size_ - step) % size_);
  });
}

// Of this stream's operations, one after the other; it doubles, so that soon none is allocated any more. In the stream's order,
// for cudaFree would wait for the whole device, and so for other ranks.
char* Mover::scratch(int64_t bytes) {
  if (bytes <= scratch_bytes_) return static_cast<char*>(scratch_);
  const int64_t larger = std::max({bytes, 2 * scratch_bytes_, int64_t{1} << 16});
  free_scratch();
  cuda::check(cudaMallocAsync(&scratch_, static_cast<size_t>(larger), stream_),
              "cudaMallocAsync of a communicator's scratch memory");
  scratch_bytes_ = larger;
  return static_cast<char*>(scratch_);
}

void Mover::free_scratch() noexcept {
  if (scratch_ != nullptr) cudaFreeAsync(scratch_, stream_);
  scratch_ = nullptr;
  scratch_bytes_ = 0;
}

void Mover::all_to_all(const Operation& operation) {
  const std::vector<Part>&in_parts = operation.in_parts, &out_parts = operation.out_parts;
  for_others([&](int next, int before) {
    send(operation.in, in_parts[static_cast<size_t>(next)], next);
    receive(operation.out, out_parts[static_cast<size_t>(before)], before);
  });
  const auto own = static_cast<size_t>(rank_);
  copy(operation.out, out_parts[own].offset, operation.in, in_parts[own]);
}

// The way is chosen by sizes alone, which are the same on all ranks; offsets are each rank's own.
void Mover::all_gather(const Operation& operation) {
  const std::vector<Part>& parts = operation.out_parts;
  const bool equal = std::all_of(parts.begin(), parts.end(), [&](const Part& part) { return part.bytes == parts[0].bytes; });
  if (equal && parts[0].bytes > 0 && size_ > 1) return all_gather_equal(operation, parts[0].bytes);
  const Part& own = parts[static_cast<size_t>(rank_)];
  for_others([&](int next, int before) {
    send(operation.in, {0, own.bytes}, next);
    receive(operation.out, parts[static_cast<size_t>(before)], before);
  });
  copy(operation.out, own.offset, operation.in, {0, own.bytes});
}

// NCCL's own wants the parts without gaps.
void Mover::all_gather_equal(const Operation& operation, int64_t bytes) {
  const std::vector<Part>& parts = operation.out_parts;
  bool dense = true;
  for (size_t rank = 0; rank < parts.size(); ++rank)
    dense = dense && parts[rank].offset == parts[0].offset + static_cast<int64_t>(rank) * bytes;
  char* to = dense ? operation.out + parts[0].offset : scratch(bytes * size_);
  check(library_.api.all_gather(operation.in, to, static_cast<size_t>(bytes), kBytes, comm_, stream_), "ncclAllGather");
  for (size_t rank = 0; !dense && rank < parts.size(); ++rank)
    copy(operation.out, parts[rank].offset, to, {static_cast<int64_t>(rank) * bytes, bytes});
}

// Each rank adds up a share of the elements, in the order of ranks, and all gather the shares.
void Mover::all_reduce(const Operation& operation) {
  const CollectiveSignature& signature = operation.signature;
  if (signature.count == 0) return;
  const int64_t element = signature.dtype.bits / 8;
  const auto share = [&](int rank) { return share_of(signature.count, element, rank, size_); };
  const Part own = share(rank_);
  char* const others = scratch(size_ > 1 ? own.bytes * size_ : 0);
  for_others([&](int next, int before) {
    send(operation.in, share(next), next);
    receive(others, {before * own.bytes, own.bytes}, before);
  });
  reduce_shares({operation.in + own.offset, others, own.bytes / element, rank_, size_}, operation.out + own.offset,
                signature.reduce, signature.dtype, stream_);
  for_others([&](int next, int before) {
    send(operation.out, own, next);
    receive(operation.out, share(before), before);
  });
}

void Mover::broadcast(const Operation& operation) {
  if (size_ == 1 || operation.bytes == 0) return;
  check(library_.api.broadcast(operation.in, operation.out, static_cast<size_t>(operation.bytes), kBytes,
                               operation.signature.root, comm_, stream_),
        "ncclBroadcast");
}

}  // namespace onebit::nccl
