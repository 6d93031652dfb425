// SPDX-License-Identifier: Apache-2.0
// Mesh: all that the author of a new transport (TCP, shared memory, RDMA, QUIC, ...) writes. MeshCommunicator makes a whole
// communicator of it: collectives in flight, matching, sums, timeouts, failures, split and abort.
#pragma once

#include <cstddef>
#include <cstdint>

#include "onebit/collectives/machine.hpp"

namespace onebit {

// A stream of bytes in each direction between each pair of ranks: in order, complete, never merged with another's. Its
// constructor connects this rank with all others; its destructor lets go.
//
// Threads.   One thread at a time calls these functions, not always the same one; wake alone may come at any time.
// Failures.  send and receive throw Error(Code::peer_failed, why) when a stream is broken or its other end has closed it; they
//            are not called for that peer again. Errors of wait are the end of the whole communicator.
// Patience.  No function but wait ever waits; timeouts are MeshCommunicator's.
class Mesh {
 public:
  Mesh(int rank, int size) : rank_(rank), size_(size) {}
  virtual ~Mesh() = default;
  Mesh(const Mesh&) = delete;
  Mesh& operator=(const Mesh&) = delete;
  int rank() const { return rank_; }
  int size() const { return size_; }

  // Takes as many of these bytes as go now, from the first on, and answers how many: 0 when none do. They were read when it
  // returns. bytes > 0; peer is never this rank.
  virtual size_t send(int peer, const void* data, size_t bytes) = 0;
  // Gives as many bytes as are there now, at most `bytes`, and answers how many: 0 when there are none.
  virtual size_t receive(int peer, void* data, size_t bytes) = 0;

  struct Watch {
    bool receive, send;
  };
  // Returns when something can be received from, or sent to, a peer that is watched for it, when wake was called, or when the
  // time is over (timeout_ns < 0: never). It may return early. watches: one for each rank; this rank's is empty.
  virtual void wait(const Watch* watches, int64_t timeout_ns) = 0;
  // Ends the wait under way, or else the next one. From any thread.
  virtual void wake() noexcept = 0;

  // The same number on ranks of one machine, another on others.
  virtual uint64_t machine() const { return machine_number(); }

 private:
  int rank_, size_;
};

}  // namespace onebit
