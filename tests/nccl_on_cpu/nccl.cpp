// SPDX-License-Identifier: Apache-2.0
// A library with NCCL's name and functions, for ranks that are threads of one process, over the emulated CUDA runtime: so that
// the plugin `nccl` runs in tests on machines without a GPU. It does in the order of streams what NCCL does, and hangs where
// NCCL does.
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "control.hpp"
#include "plugins/nccl/abi.hpp"
#include "world.hpp"

#define EXPORTED extern "C" __attribute__((visibility("default")))

using onebit::nccl::DataType;
using onebit::nccl::Result;
using onebit::nccl::UniqueId;
using onebit::nccl_on_cpu::Kind;
using onebit::nccl_on_cpu::Transfer;
using onebit::nccl_on_cpu::World;

// NOLINTBEGIN(readability-identifier-naming): names are NCCL's
struct ncclComm {
  std::shared_ptr<World> world;
  int rank, ranks;
  bool aborted = false;  // guarded by the world
};

namespace {

using Comm = std::shared_ptr<ncclComm>;

// A batch of transfers on its way through a stream.
struct Batch {
  Comm comm;
  std::vector<Transfer> transfers;
};
struct Call {
  Comm comm;
  cudaStream_t stream;
  std::vector<Transfer> transfers;
};

struct Directory {
  std::mutex mutex;
  uint64_t last = 0;
  std::map<uint64_t, std::shared_ptr<World>> worlds;
  std::map<::ncclComm*, Comm> comms;
};
Directory& directory() {
  static Directory& all = *new Directory;
  return all;
}

struct Trouble {
  std::atomic<int> rank{-1}, result{0};
  bool is_for(int r) const { return rank == r && result != 0; }
  void set(int r, int what) { result = what, rank = r; }
  Result once(int r) { return is_for(r) ? result.exchange(0) : 0; }
};
Trouble async_error, next_group, next_init;
std::atomic<int> hanging{-1}, gathers{0}, sends{0};
thread_local int depth = 0;
thread_local std::vector<Call> calls;

Comm find(::ncclComm* comm) {
  const std::lock_guard lock(directory().mutex);
  const auto found = directory().comms.find(comm);
  return found == directory().comms.end() ? nullptr : found->second;
}

void run(void* data) {
  const std::unique_ptr<Batch> batch(static_cast<Batch*>(data));
  ncclComm& comm = *batch->comm;
  if (hanging == comm.rank) return comm.world->hold(comm.aborted);
  for (const Transfer& transfer : batch->transfers)
    if (transfer.peer == comm.rank && transfer.from != transfer.to) std::memmove(transfer.to, transfer.from, transfer.bytes);
  std::vector<Transfer> others;
  for (const Transfer& transfer : batch->transfers)
    if (transfer.peer != comm.rank) others.push_back(transfer);
  comm.world->move(comm.rank, others, comm.aborted);
}

// Calls of one communicator and stream are one batch: all of them go on at once.
Result launch() {
  std::vector<Call> all;
  all.swap(calls);
  Result result = 0;
  while (!all.empty()) {
    auto batch = std::make_unique<Batch>();
    batch->comm = all.front().comm;
    const cudaStream_t stream = all.front().stream;
    for (auto call = all.begin(); call != all.end();) {
      if (call->comm != batch->comm || call->stream != stream) {
        ++call;
        continue;
      }
      batch->transfers.insert(batch->transfers.end(), call->transfers.begin(), call->transfers.end());
      call = all.erase(call);
    }
    if (const Result trouble = next_group.once(batch->comm->rank); trouble != 0) return trouble;
    if (cudaLaunchHostFunc(stream, run, batch.get()) == cudaSuccess) {
      (void)batch.release();
    } else {
      result = 1;
    }
  }
  return result;
}

Result submit(::ncclComm* handle, cudaStream_t stream, int peer, const std::vector<Transfer>& transfers) {
  const Comm comm = find(handle);
  if (comm == nullptr || peer < 0 || peer >= comm->ranks) return 4;
  calls.push_back({comm, stream, transfers});
  return depth == 0 ? launch() : 0;
}

}  // namespace

EXPORTED Result ncclGetVersion(int* version) {
  *version = NCCL_ON_CPU_VERSION;
  return 0;
}

EXPORTED Result ncclGetUniqueId(UniqueId* id) {
  const std::lock_guard lock(directory().mutex);
  *id = {};
  const uint64_t number = ++directory().last;
  std::memcpy(id->bytes, &number, sizeof number);
  return 0;
}

EXPORTED Result ncclCommInitRank(::ncclComm** comm, int ranks, UniqueId id, int rank) {
  if (const Result trouble = next_init.once(rank); trouble != 0) return trouble;
  uint64_t number = 0;
  std::memcpy(&number, id.bytes, sizeof number);
  std::shared_ptr<World> world;
  {
    const std::lock_guard lock(directory().mutex);
    std::shared_ptr<World>& found = directory().worlds[number];
    if (!found) found = std::make_shared<World>(ranks);
    world = found;
  }
  world->join();
  const auto made = std::make_shared<ncclComm>(ncclComm{world, rank, ranks});
  const std::lock_guard lock(directory().mutex);
  directory().worlds.erase(number);
  directory().comms[made.get()] = made;
  *comm = made.get();
  return 0;
}

EXPORTED Result ncclCommAbort(::ncclComm* handle) {
  const Comm comm = find(handle);
  if (comm == nullptr) {
    std::fprintf(stderr, "ncclCommAbort of what is no communicator, or was aborted already\n");
    std::abort();
  }
  comm->world->set(comm->aborted);
  const std::lock_guard lock(directory().mutex);
  directory().comms.erase(handle);
  return 0;
}

EXPORTED Result ncclCommGetAsyncError(::ncclComm* handle, Result* error) {
  const Comm comm = find(handle);
  if (comm == nullptr) return 4;
  *error = async_error.is_for(comm->rank) ? async_error.result.load() : 0;
  return 0;
}

EXPORTED const char* ncclGetErrorString(Result result) {
  return result == 6 ? "remote process exited or there was a network error" : "unhandled system error";
}

EXPORTED Result ncclGroupStart() {
  ++depth;
  return 0;
}

EXPORTED Result ncclGroupEnd() { return --depth == 0 ? launch() : 0; }

EXPORTED Result ncclSend(const void* from, size_t count, DataType, int peer, ::ncclComm* comm, cudaStream_t stream) {
  ++sends;
  return submit(comm, stream, peer, {{Kind::pair, true, peer, static_cast<const char*>(from), nullptr, count}});
}

EXPORTED Result ncclRecv(void* to, size_t count, DataType, int peer, ::ncclComm* comm, cudaStream_t stream) {
  return submit(comm, stream, peer, {{Kind::pair, false, peer, nullptr, static_cast<char*>(to), count}});
}

EXPORTED Result ncclAllGather(const void* from, void* to, size_t count, DataType, ::ncclComm* handle, cudaStream_t stream) {
  ++gathers;
  const Comm comm = find(handle);
  if (comm == nullptr) return 4;
  const auto* own = static_cast<const char*>(from);
  std::vector<Transfer> transfers;
  for (int peer = 0; peer < comm->ranks; ++peer) {
    char* place = static_cast<char*>(to) + static_cast<size_t>(peer) * count;
    if (peer != comm->rank) transfers.push_back({Kind::gather, true, peer, own, nullptr, count});
    transfers.push_back({Kind::gather, false, peer, own, place, count});
  }
  return submit(handle, stream, 0, transfers);
}

EXPORTED Result ncclBroadcast(const void* from, void* to, size_t count, DataType, int root, ::ncclComm* handle,
                              cudaStream_t stream) {
  const Comm comm = find(handle);
  if (comm == nullptr) return 4;
  std::vector<Transfer> transfers;
  for (int peer = 0; peer < comm->ranks && comm->rank == root; ++peer)
    if (peer != root) transfers.push_back({Kind::broadcast, true, peer, static_cast<const char*>(from), nullptr, count});
  if (comm->rank != root) transfers.push_back({Kind::broadcast, false, root, nullptr, static_cast<char*>(to), count});
  return submit(handle, stream, root, transfers);
}

EXPORTED void nccl_on_cpu_set_async_error(int rank, int result) { async_error.set(rank, result); }
EXPORTED void nccl_on_cpu_fail_next_group(int rank, int result) { next_group.set(rank, result); }
EXPORTED void nccl_on_cpu_fail_next_init(int rank, int result) { next_init.set(rank, result); }
EXPORTED void nccl_on_cpu_hang(int rank) { hanging = rank; }
EXPORTED int nccl_on_cpu_gathers() { return gathers; }
EXPORTED int nccl_on_cpu_sends() { return sends; }
EXPORTED int nccl_on_cpu_alive() {
  const std::lock_guard lock(directory().mutex);
  return static_cast<int>(directory().comms.size());
}
// NOLINTEND(readability-identifier-naming)
