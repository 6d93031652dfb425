// SPDX-License-Identifier: Apache-2.0
// The engine of a communicator and of all that were split from it: a thread of its own makes every MPI call, so that transfers
// go on while the ranks compute.
//
// Threads.  Callers put operations into a queue and wait on a condition; one mutex guards everything but MPI's own work. The
//   thread polls, for MPI has no wait that ends at a deadline; between polls it sleeps 20 to 200 us while something is under
//   way.
// Protocol. A rank that comes to a collective tells every peer what it brings and what it expects, little payload inline. Where
//   both have come and agree, larger payload follows in messages of its own; so nothing is sent that its receiver does not
//   expect, and whoever is late is known by name.
// Life.     The thread sends heartbeats, whatever this rank does. A rank is given up when its process is silent for
//   Limits::timeout_ns; one that lives has Limits::stall_ns to come, or to move a piece of payload.
// Failures. A mismatch or a refused call ends one operation. abort, a timeout or an error of MPI ends the communicator. Payload
//   that is under way then may stay so for ever: after a second its buffers are given up, and the process must not call
//   MPI_Finalize any more (process.hpp). Before MPI_Finalize ends MPI, shut_down ends the thread, if nobody did so before.
#pragma once

#include <mpi.h>

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "context.hpp"
#include "onebit/collectives/limits.hpp"
#include "onebit/services.hpp"
#include "operation.hpp"
#include "transport.hpp"

namespace onebit::mpi {

class Engine final : private Listener {
 public:
  // Takes the MPI communicator over.
  Engine(MPI_Comm comm, const Services& services, const Limits& limits);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  int rank() const { return transport_.rank(); }
  int size() const { return transport_.size(); }

  Context& open(uint64_t id, int rank, std::vector<int> peers);
  void close(Context& context) noexcept;

  Operation& post(Context& context, const Offer& offer);
  // The rank's next call is one that it can't make: the others must not wait for it.
  void refuse(Context& context, Collective kind, const Error& why);
  bool test(Operation& operation);
  // Takes the operation back, unless it throws Code::timeout.
  void wait(Operation& operation, int64_t timeout_ns);
  void abort(Context& context, std::string_view reason);
  // The last moment at which MPI may be called: the end of every communicator, and of the thread.
  void shut_down() noexcept;

 private:
  using Lock = std::unique_lock<std::mutex>;

  // engine.cpp: on the threads of callers
  Operation& take_spare();
  Lateness lateness(const Operation& operation, Clock::time_point start, int64_t limit) const;
  Clock::time_point last_sign(const Operation& operation) const;
  void time_out(Operation& operation, const std::string& why);
  void say_goodbye(Context& context, const char* why);
  bool has_said_all() const;
  void end(Context& context, Failure failure);
  void tell_all(const Context& context, Header header, const std::string& text);
  void give_back(Operation& operation);

  // engine_thread.cpp: on the engine's thread
  void run();
  void move();
  void break_down(const std::string& reason);
  void pause(Lock& lock);
  void beat();
  void pump(Operation& operation, int rank);
  void start_posted(Lock& lock);
  void start(Lock& lock, Operation& operation);
  void announce(Operation& operation);
  void meet(Operation& operation, int rank, const Header& header, const Message& message);
  void advance(Lock& lock, Operation& operation);
  void complete(Operation& operation);
  void fail(Operation& operation, const Failure& failure, bool tell);
  void settle(Operation& operation);
  void sweep();
  void on_message(int peer, Message& message) override;
  void on_payload(Operation& operation, int peer, int rank, bool received) override;
  void on_error(int peer, int code) override;
  void handle(Context& context, Message& message);
  void handle_post(Context& context, const Header& header, Message& message);

  Transport transport_;
  const Services services_;
  std::mutex mutex_;
  std::condition_variable work_, changed_, quiet_;
  bool stop_ = false;
  bool broken_ = false;  // the thread has ended
  bool over_ = false;    // and MPI may not be called any more
  bool clean_ = true;    // nobody can send anything to this engine any more
  std::map<uint64_t, std::unique_ptr<Context>> contexts_;
  std::set<uint64_t> closed_;
  std::map<uint64_t, std::vector<Message>> unknown_;  // for contexts that this rank has not opened yet
  std::deque<Operation*> posted_;
  std::deque<std::pair<int, Message>> outbox_;
  std::vector<Operation*> moved_;                                  // something of them was delivered
  std::vector<Context*> ended_;                                    // to be swept
  std::vector<std::pair<Operation*, Clock::time_point>> failing_;  // payload under way, given up at that time
  const Limits limits_;
  SignsOfLife signs_;                     // by MPI rank, as are
  std::vector<Clock::time_point> heard_;  // when anything but a heartbeat came from it
  std::vector<std::unique_ptr<Operation>> operations_;
  std::vector<Operation*> spare_;
  int open_operations_ = 0;
  std::chrono::microseconds nap_{0};
  std::thread thread_;
};

}  // namespace onebit::mpi
