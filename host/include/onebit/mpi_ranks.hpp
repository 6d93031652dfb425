// SPDX-License-Identifier: Apache-2.0
// Ranks that are those of an MPI communicator, without MPI's own headers: what MpiRendezvous (mpi.hpp) and the C API give to a
// Session.
#pragma once

#include <cstdint>
#include <cstring>

#include "onebit/abi.h"
#include "onebit/error.hpp"

namespace onebit {

class MpiRanks {
 public:
  // handle: MPI_Comm_c2f of the communicator; all there is to find here.
  MpiRanks(int32_t handle, int32_t rank, int32_t size, int32_t local_rank, int32_t local_size)
      : handle_(handle), view_{sizeof view_, rank, size, local_rank, local_size, this, put, get} {}
  MpiRanks(const MpiRanks&) = delete;
  MpiRanks& operator=(const MpiRanks&) = delete;

  const onebit_rendezvous& view() const { return view_; }

 private:
  static constexpr const char* kWayOut =
      "the ranks of an onebit::MpiRendezvous are processes of MPI, and all that they find there is their MPI communicator: set "
      "communicator.plugin = \"mpi\" in the manifest. Communicators that meet at a store, such as nccl, take an "
      "onebit::TcpRendezvous of the same ranks";
  static onebit_code put(void*, onebit_str, const void*, size_t, onebit_error* err) noexcept {
    return detail::fill(err, ONEBIT_UNSUPPORTED, kWayOut);
  }
  static onebit_code get(void* self, onebit_str key, void* value, size_t capacity, size_t* size, int64_t,
                         onebit_error* err) noexcept {
    if (onebit::view(key) != "mpi.communicator") return detail::fill(err, ONEBIT_UNSUPPORTED, kWayOut);
    *size = sizeof(int32_t);
    if (capacity < *size) return detail::fill(err, ONEBIT_INVALID_ARGUMENT, "`mpi.communicator` has 4 bytes");
    std::memcpy(value, &static_cast<MpiRanks*>(self)->handle_, *size);
    return ONEBIT_OK;
  }

  const int32_t handle_;
  const onebit_rendezvous view_;
};

}  // namespace onebit
