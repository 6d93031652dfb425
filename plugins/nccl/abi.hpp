// SPDX-License-Identifier: Apache-2.0
// What of NCCL's C interface is used, as version 2.8.3 has it. Declared here, so that building needs no NCCL: it is found when
// a communicator is made (library.hpp).
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>

namespace onebit::nccl {

struct UniqueId {
  char bytes[128];
};
using Comm = struct ncclComm*;  // NOLINT(bugprone-forward-declaration-namespace): opaque, as NCCL has it
using Result = int;
enum : Result { kSuccess = 0, kSystemError = 2, kInvalidUsage = 5, kRemoteError = 6, kInProgress = 7 };
using DataType = int;
enum : DataType { kBytes = 0 };  // ncclInt8

// Optional functions, which newer versions have, are NULL where they were not found.
struct Api {
  Result (*get_version)(int* version);
  Result (*get_unique_id)(UniqueId* id);
  Result (*comm_init_rank)(Comm* comm, int ranks, UniqueId id, int rank);
  Result (*comm_abort)(Comm comm);
  Result (*comm_get_async_error)(Comm comm, Result* error);
  const char* (*get_error_string)(Result result);
  const char* (*get_last_error)(Comm comm);  // optional: 2.13
  Result (*group_start)();
  Result (*group_end)();
  Result (*send)(const void* from, size_t count, DataType type, int peer, Comm comm, cudaStream_t stream);
  Result (*recv)(void* to, size_t count, DataType type, int peer, Comm comm, cudaStream_t stream);
  Result (*all_gather)(const void* from, void* to, size_t count, DataType type, Comm comm, cudaStream_t stream);
  Result (*broadcast)(const void* from, void* to, size_t count, DataType type, int root, Comm comm, cudaStream_t stream);
};

}  // namespace onebit::nccl
