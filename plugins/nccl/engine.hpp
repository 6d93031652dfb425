// SPDX-License-Identifier: Apache-2.0
// A rank's part in a communicator: its operations, from the call until their results are there, and how they fail.
//
// Order.  Every operation has a number, the same on all ranks. A rank tells the hub that it has come to it, and what it
//   means by it. NCCL would hang, or write where it should not, if ranks meant different things; so the first time that a
//   rank sees a signature (kind, sizes and types, not the tag) NCCL gets the operation only when the hub has said that
//   all mean the same: wait blocks the host until it has. Later, operations of that signature go to NCCL at once, and if
//   the hub then finds that another rank means something else, the communicator ends, and what was received is void.
// Threads.  One mutex guards all state. The caller's thread posts, and issues what may be issued at once; the issuer
//   issues what was cleared later; the watcher listens to the hub, looks for what is finished, for limits that have
//   passed and for NCCL's errors, and is the one that aborts NCCL. NCCL is called outside of the mutex, by one thread at
//   a time but for abort.
// Life.  The watcher sends heartbeats to the hub, and hears the hub's; who is silent for Limits::timeout_ns is given up. What
// is
//   waited for may take Limits::stall_ns, unless its call says otherwise.
// Failures.  The first is kept; every operation that it concerns, and every later call, answers it. wait does not block
//   until an operation is finished: its stream does. So what fails after wait is told by the next call.
// Leaving.  A rank that is destroyed waits until the others are done with what it was part of; those that want more of it
//   are told.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <unordered_set>
#include <vector>

#include "hub.hpp"
#include "mover.hpp"
#include "onebit/services.hpp"
#include "operation.hpp"

namespace onebit::nccl {

struct Failure {
  Code code = Code::internal;
  uint64_t after = 0;  // operations up to this may still be finished
  std::string why;
};

// A rank's connection to the hub, which rank 0 has, too. A communicator of one rank has neither.
struct Connection {
  int rank = 0;
  int size = 1;
  std::unique_ptr<Hub> hub;
  Link link;  // goes first: the hub ends with it
};

class Engine {
 public:
  // Returns when all ranks are connected; on the current device.
  Engine(const Library& library, Connection connection, const Limits& limits);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }
  int device() const { return mover_.device(); }

  // fill(operation) says what is to be moved; what it throws, the other ranks are told.
  template <class F>
  Operation& post(Collective kind, const Call& call, F&& fill) {
    return post(kind, call, Fill{&fill, [](void* f, Operation& o) { (*static_cast<std::remove_reference_t<F>*>(f))(o); }});
  }
  bool test(Operation& operation);
  void wait(Operation& operation, int64_t timeout_ns);
  // Between hosts: answers what each rank said. Returns when all ranks have come.
  std::vector<std::string> exchange(Collective kind, const Call& call, std::string_view blob = {});
  void abort(std::string_view reason);

 private:
  using Lock = std::unique_lock<std::mutex>;

  // A function that is not kept, and so needs no memory.
  struct Fill {
    void* object;
    void (*call)(void* object, Operation& operation);
  };

  // engine.cpp
  void connect();
  Operation& post(Collective kind, const Call& call, Fill fill);
  Operation& begin(Collective kind, const Call& call);
  void tell(const Operation& operation, const Sizes& sizes, std::string_view blob);
  void refuse(const Operation& operation, const std::exception& why);
  void retire();
  const Failure* failure_of(const Operation& operation) const;
  [[noreturn]] void raise(const Operation& operation) const;
  void limit(Operation& operation, int64_t timeout_ns);
  void let_go(Lock& lock, const Operation& operation);
  void check_held(const Operation& operation) const;
  void leave(Lock& lock);
  void stop() noexcept;

  // engine_issue.cpp
  void run_issuer();
  bool can_issue();
  void issue(Lock& lock, Operation& operation);
  Operation* next_to_issue();

  // engine_watch.cpp
  void run_watcher();
  void look_after(Lock& lock);
  void find_finished();
  void look_at_limits();
  void listen(Lock& lock);
  int patience() const;
  void look_for_silence();
  void lose_hub();
  void hear(const Message& message, std::string_view body);
  void clear(uint64_t sequence, std::string_view blobs);
  void explain(uint64_t sequence);
  void report_done();
  void fail(Failure failure);
  void fail_here(Code code, const std::string& why);
  bool must_end() const;
  void end_nccl(Lock& lock);
  void wake();

  const int rank_, size_;
  const Limits limits_;
  const Library& library_;
  Mover mover_;
  std::unique_ptr<Hub> hub_;
  Link link_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::unique_ptr<Operation>> all_;
  std::vector<Operation*> free_, current_;  // current: in the order of their numbers
  std::unordered_set<uint64_t> known_;      // signatures that all ranks were seen to agree on
  uint64_t last_ = 0;                       // the number of the newest operation
  uint64_t done_ = 0;                       // all up to this are done
  uint64_t asked_ = 0, reported_ = 0;       // up to which the hub has asked for a report, and has one
  std::optional<Failure> failure_;
  SignsOfLife hub_signs_;
  bool hub_is_gone_ = false, hub_has_left_ = false, quiet_ = false;
  bool issuing_ = false, ended_ = false, stopping_ = false, asleep_ = false;
  Clock::time_point next_look_{};  // for NCCL's errors
  int wake_ = -1;                  // an eventfd
  std::thread watcher_, issuer_;
};

}  // namespace onebit::nccl
