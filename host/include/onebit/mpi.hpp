// SPDX-License-Identifier: Apache-2.0
// For trainers that use MPI themselves: a Session whose ranks are those of an MPI communicator of theirs. Header only; needs
// MPI, and a manifest with communicator.plugin = "mpi".
//
//   MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided);
//   onebit::MpiRendezvous rendezvous(comm);
//   onebit::Session session(registry, configuration, rendezvous.view(), parameters);
#pragma once

#include <mpi.h>

#include <cstdint>
#include <cstring>

#include "onebit/abi.h"
#include "onebit/error.hpp"

namespace onebit {

class MpiRendezvous {
 public:
  // Collective. comm stays the caller's, must outlive the creation of the session, and is used for nothing but being
  // duplicated.
  explicit MpiRendezvous(MPI_Comm comm) : handle_(static_cast<int32_t>(MPI_Comm_c2f(comm))) {
    view_.struct_size = sizeof view_;
    MPI_Comm_rank(comm, &view_.rank);
    MPI_Comm_size(comm, &view_.size);
    MPI_Comm machine = MPI_COMM_NULL;
    MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &machine);
    MPI_Comm_rank(machine, &view_.local_rank);
    MPI_Comm_size(machine, &view_.local_size);
    MPI_Comm_free(&machine);
    view_.ctx = this;
    view_.put = [](void*, onebit_str, const void*, size_t, onebit_error* err) noexcept {
      return detail::fill(err, ONEBIT_UNSUPPORTED, kWayOut);
    };
    view_.get = get;
  }
  MpiRendezvous(const MpiRendezvous&) = delete;
  MpiRendezvous& operator=(const MpiRendezvous&) = delete;

  const onebit_rendezvous& view() const { return view_; }

 private:
  static constexpr const char* kWayOut =
      "the ranks of an onebit::MpiRendezvous are processes of MPI, and all that they find there is their MPI communicator: set "
      "communicator.plugin = \"mpi\" in the manifest. Communicators that meet at a store, such as nccl, take an "
      "onebit::TcpRendezvous of the same ranks";
  // All there is to find is the communicator itself.
  static onebit_code get(void* self, onebit_str key, void* value, size_t capacity, size_t* size, int64_t,
                         onebit_error* err) noexcept {
    if (onebit::view(key) != "mpi.communicator") return detail::fill(err, ONEBIT_UNSUPPORTED, kWayOut);
    *size = sizeof(int32_t);
    if (capacity < *size) return detail::fill(err, ONEBIT_INVALID_ARGUMENT, "`mpi.communicator` has 4 bytes");
    std::memcpy(value, &static_cast<MpiRendezvous*>(self)->handle_, *size);
    return ONEBIT_OK;
  }

  int32_t handle_;
  onebit_rendezvous view_{};
};

}  // namespace onebit
