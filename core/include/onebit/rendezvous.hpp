// SPDX-License-Identifier: Apache-2.0
// Where ranks meet before they have a communicator: a key/value store, which N threads of one process share, or which rank 0
// serves to other processes over TCP.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "onebit/abi.h"

namespace onebit {

// For ranks that are threads: one for all ranks of a process. It may go when their sessions are made (see session.hpp).
class LocalRendezvous {
 public:
  explicit LocalRendezvous(int ranks);
  LocalRendezvous(const LocalRendezvous&) = delete;
  LocalRendezvous& operator=(const LocalRendezvous&) = delete;

  int ranks() const { return static_cast<int>(views_.size()); }
  // What rank r gives to its Session.
  const onebit_rendezvous& at(int rank) const { return views_.at(static_cast<size_t>(rank)); }

 private:
  static onebit_code put(void* self, onebit_str key, const void* value, size_t size, onebit_error* err);
  static onebit_code get(void* self, onebit_str key, void* value, size_t capacity, size_t* size, int64_t timeout_ns,
                         onebit_error* err);

  std::mutex mutex_;
  std::condition_variable arrived_;
  std::map<std::string, std::vector<char>, std::less<>> values_;
  std::vector<onebit_rendezvous> views_;
};

// This process as one rank of a job that a launcher such as torchrun, or a person, started.
struct LaunchedRank {
  int rank = 0;
  int size = 1;
  int local_rank = 0;  // among the ranks of this machine: which GPU is its own
  int local_size = 1;
  std::string host = "localhost";  // rank 0's name or address
  uint16_t port = 0;               // of rank 0's store
  uint16_t ports = 1;              // from there on, of which rank 0 takes the first that is free; the others look for it
  std::string job;                 // tells this job from another that calls at the same port; the same on all ranks
};

// What torchrun and its kin put into the environment; none where neither RANK nor WORLD_SIZE is set, unless another launcher
// (mpirun, srun, ...) started several processes and MASTER_ADDR and a port tell them where to meet: rank and size are then its.
// Throws Error(invalid_argument) that names the variable where they are incomplete, make no sense, or contradict what another
// launcher says of many ranks.
//   RANK, WORLD_SIZE               this rank, of so many
//   LOCAL_RANK, LOCAL_WORLD_SIZE   the same among the ranks of its machine. What is left out is taken from a launcher that
//   tells
//                                  the same rank and size, as OMPI_COMM_WORLD_LOCAL_RANK; else it is as if all were on one
//   MASTER_ADDR, MASTER_PORT       where rank 0 is, a name or an address, [::1] or ::1; one rank alone needs neither
//   ONEBIT_PORT                    the port of the store, where it is not to be MASTER_PORT
//   TORCHELASTIC_USE_AGENT_STORE   "True": torchrun's own store is at MASTER_PORT. Unless ONEBIT_PORT is set, ours is then at
//                                  the first free one of the 8 ports after it.
//   TORCHELASTIC_RUN_ID            the job
std::optional<LaunchedRank> launched_rank_from_environment();

// For ranks that are processes: one in each. Rank 0 serves the store, on all interfaces, or on the loopback one alone where
// host is "localhost" or such an address; whoever reaches it can read and write what ranks put there, as with torch's. Names,
// IPv4 and IPv6. Values have 16 MiB at the most, keys 4 KiB. Calls are thread-safe.
//
// Rank 0's outlives the other ranks' need of it: its destructor waits until they have come and gone, for `farewell` at the
// most, and not while an exception unwinds. Who still waits for a key then is told so (peer_failed).
class TcpRendezvous {
 public:
  // Rank 0: begins to serve; port 0: a free one. Others: return when rank 0 has taken them in; they may come before it. Throws
  // Error: unavailable (the port is taken), timeout (no rank 0 there), state_mismatch (something else there, another job,
  // version or number of ranks, or a rank that is there already), invalid_argument. timeout: of this, and of get unless told.
  // Ranks may meet again at the same place, each when its last TcpRendezvous is gone. waiting: told now and then, by this
  // thread, why a rank is still not taken in, such as a name that cannot be resolved, for it may be later.
  explicit TcpRendezvous(const LaunchedRank& self, std::chrono::nanoseconds timeout = std::chrono::minutes(5),
                         std::chrono::nanoseconds farewell = std::chrono::seconds(10),
                         const std::function<void(const std::string& why)>& waiting = {});
  ~TcpRendezvous();
  TcpRendezvous(const TcpRendezvous&) = delete;
  TcpRendezvous& operator=(const TcpRendezvous&) = delete;

  // Where rank 0 serves.
  uint16_t port() const;
  // The destructor does not wait: the run is given up. Any thread.
  void no_farewell();
  // What this rank gives to its Session; good as long as this lives.
  const onebit_rendezvous& view() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

// A rendezvous whose waits another thread can end, such as one that was told Ctrl-C. of: lives as long.
class InterruptibleRendezvous {
 public:
  static constexpr std::chrono::minutes kTimeout{5};
  // timeout: of get unless told.
  explicit InterruptibleRendezvous(const onebit_rendezvous& of, std::chrono::nanoseconds timeout = kTimeout);
  InterruptibleRendezvous(const InterruptibleRendezvous&) = delete;
  InterruptibleRendezvous& operator=(const InterruptibleRendezvous&) = delete;

  // What waits, and what would later, fails with Code::aborted within a fifth of a second.
  void interrupt() { interrupted_ = true; }
  // What this rank gives to its Session; good as long as this lives.
  const onebit_rendezvous& view() const { return view_; }

 private:
  void check(std::string_view key) const;
  static onebit_code put(void* self, onebit_str key, const void* value, size_t size, onebit_error* err);
  static onebit_code get(void* self, onebit_str key, void* value, size_t capacity, size_t* size, int64_t timeout_ns,
                         onebit_error* err);

  const onebit_rendezvous& of_;
  const std::chrono::nanoseconds timeout_;
  std::atomic<bool> interrupted_{false};
  const onebit_rendezvous view_;
};

}  // namespace onebit
