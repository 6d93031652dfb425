// SPDX-License-Identifier: Apache-2.0
// The engine of a MeshCommunicator and of all that were split from it: tells peers what this rank comes to, matches what they
// tell, and moves bytes.
//
// Threads.  One mutex guards everything but the moving of bytes, and sums. Those belong to whoever drives: a caller that waits
//   does it itself, so that little messages need no other thread; when nobody waits the engine's own thread drives, so that
//   transfers go on while ranks compute. It sleeps in Mesh::wait while something is under way, else it is parked.
// Protocol. A rank that comes to a collective tells every peer what it brings and what it expects, little payload inline. Where
//   both have come and agree, larger payload follows; so nothing is sent that its receiver does not expect, and whoever is late
//   is known by name. Messages carry the number of their communicator: those made by split share the streams.
// Life.    The engine's thread sends heartbeats, whatever this rank does. A rank is given up when its process is silent for
//   Limits::timeout_ns; one that lives has Limits::stall_ns to come.
// Failures. A mismatch or a refused call ends one operation, for every rank. abort, a timeout or a lost peer ends the
//   communicator, and the other ranks are told why.
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "onebit/collectives/limits.hpp"
#include "onebit/mesh/context.hpp"
#include "onebit/mesh/wire.hpp"
#include "onebit/services.hpp"

namespace onebit::mesh {

class Engine final : private WireListener {
 public:
  Engine(std::unique_ptr<Mesh> mesh, const Services& services, const Limits& limits);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  const Mesh& mesh() const { return *mesh_; }

  Context& open(uint64_t id, int rank, std::vector<int> peers);
  void close(Context& context) noexcept;

  Operation& post(Context& context, const Offer& offer);
  // The rank's next call is one that it can't make: the others must not wait for it.
  void refuse(Context& context, Collective kind, const Error& why);
  bool test(Operation& operation);
  // Takes the operation back, unless it throws Code::timeout.
  void wait(Operation& operation, int64_t timeout_ns);
  void abort(Context& context, std::string_view reason);

 private:
  static constexpr auto kFarewell = std::chrono::seconds(2);    // for the last messages to leave
  static constexpr auto kSpin = std::chrono::microseconds(30);  // about what it costs to sleep and be woken

  // calls.hpp: on behalf of callers
  Operation& take_spare();
  static void check_held(const Operation& operation) {
    if (!operation.held)
      throw Error(Code::invalid_argument, "the request was given back already: wait may be called once for each");
  }
  Lateness lateness(const Operation& operation, Clock::time_point start, int64_t limit) const;
  Clock::time_point last_sign(const Operation& operation) const;
  void time_out(Lock& lock, Operation& operation, const std::string& why);
  void pass(Lock& lock, Context& context, Code code, const std::string& text);
  void end(Context& context, Failure failure, bool tell);
  void tell_all(const Context& context, Header header, const std::string& text);
  void nudge(Lock& lock);

  // drive.hpp: moving bytes
  bool busy() const;
  template <class Done>
  void drive(Lock& lock, Clock::time_point deadline, std::chrono::microseconds spin, Done&& done);
  void run();
  void beat(Lock& lock);
  bool step(Lock& lock);
  void sleep(Lock& lock, Clock::time_point deadline);
  void break_down(const std::string& reason) noexcept;
  void lose(Lock& lock, int peer, const Error& why);

  // protocol.hpp: what ranks tell each other
  void announce(Operation& operation);
  void meet(Operation& operation, int rank, const Message& message);
  void hear_early(Operation& operation);
  void miss_gone(Operation& operation);
  void advance(Lock& lock, Operation& operation);
  void complete(Operation& operation);
  void fail(Operation& operation, const Failure& failure, bool tell);
  void handle(Context& context, const Message& message);
  void handle_post(Context& context, const Message& message);
  void handle_leave(Context& context, const Header& header);
  void retire(Context& context);
  Place place(int peer, const Header& header) override;
  void on_control(int peer, Message& message) override;
  void on_received(Operation& operation, int) override { moved_.push_back(&operation); }
  void on_sent(Operation& operation, int rank) override;
  void use(Operation* operation) override;

  Wire& wire(const Context& context, int rank) { return wires_[static_cast<size_t>(context.peer(rank))]; }

  const std::unique_ptr<Mesh> mesh_;
  const Services services_;
  std::mutex mutex_;
  std::condition_variable parked_, changed_;
  bool stop_ = false, driven_ = false, sleeping_ = false;
  std::vector<Wire> wires_;  // by the Mesh's rank; the own one stays empty
  const Limits limits_;
  SignsOfLife signs_;                     // by the Mesh's rank, as are
  std::vector<Clock::time_point> heard_;  // when anything but heartbeats came from it, or went to it
  std::vector<Mesh::Watch> watches_;
  std::map<uint64_t, std::unique_ptr<Context>> contexts_;
  std::map<uint64_t, std::vector<Message>> unknown_;  // for contexts that this rank has not opened yet
  std::vector<Operation*> moved_;                     // something of them has come, or gone
  Operation* used_ = nullptr;                         // its memory is in use without the lock
  std::vector<std::unique_ptr<Operation>> operations_;
  std::vector<Operation*> spare_;
  int open_operations_ = 0;
  std::thread thread_;
};

}  // namespace onebit::mesh
