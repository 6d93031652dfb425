// SPDX-License-Identifier: Apache-2.0
// Messages between this rank and its peers over one MPI communicator: control messages and payload. Only the engine's thread
// uses it, so nothing here is locked.
#pragma once

#include <mpi.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "message.hpp"

namespace onebit::mpi {

struct Operation;

// What the transport tells the engine.
class Listener {
 public:
  // May move the message away.
  virtual void on_message(int peer, Message& message) = 0;
  // A payload message of this operation, to or from its rank `rank`, is through. received: from.
  virtual void on_payload(Operation& operation, int peer, int rank, bool received) = 0;
  virtual void on_error(int peer, int code) = 0;

 protected:
  ~Listener() = default;
};

class Transport {
 public:
  static constexpr int64_t kPiece = int64_t{1} << 22;  // a sign of life each, and little that waits in front of others

  // Takes the communicator over.
  explicit Transport(MPI_Comm comm);
  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }

  // Starts and stops listening to the peers' control messages. release: nothing more will come from any of them.
  void open();
  void close(bool release);

  // A message to write on, for tell.
  Message blank();
  void tell(int peer, Message message);
  // A tag for payload to this peer.
  int32_t next_tag(int peer);
  // Payload, at most kPiece bytes, in the same order on both sides; on_payload is told.
  void send(int peer, int32_t tag, const char* from, int64_t bytes, Operation& operation, int rank);
  void receive(int peer, int32_t tag, char* to, int64_t bytes, Operation& operation, int rank);
  // Unless the one before has not left yet: a peer that takes nothing gets no more of them.
  void beat(int peer);
  // Gives up what this operation waits to receive, as far as nothing of it has come; what has ended is told to on_payload.
  void cancel(const Operation& operation);

  // Moves what can be moved, and tells what is through; answers whether something is. `collect` may be called without a lock.
  bool collect();
  void deliver(Listener& listener);
  // No control message is on its way.
  bool quiet() const { return telling_ == 0; }

 private:
  enum class Purpose : uint8_t { listen, tell, beat, send, receive };
  struct Task {
    Purpose purpose;
    int peer = 0;
    int rank = 0;
    Operation* operation = nullptr;
    Message message;
  };

  void keep_unsent();
  void add(MPI_Request request, Task task);
  void listen(int peer, Message message);
  void deliver(Listener& listener, Task& task, int code);

  MPI_Comm comm_;
  int rank_ = 0, size_ = 0;
  int32_t last_tag_ = 0;       // MPI's largest
  std::vector<int32_t> tags_;  // by peer: the last one used
  int telling_ = 0;
  std::vector<bool> beating_;          // by peer: a heartbeat is on its way
  std::vector<MPI_Request> requests_;  // parallel to tasks_
  std::vector<Task> tasks_;
  std::vector<int> done_;
  std::vector<MPI_Status> statuses_;
  bool statuses_tell_errors_ = false;
  std::vector<std::pair<Task, int>> through_;  // with MPI's code
  std::vector<Message> spare_;
};

}  // namespace onebit::mpi
