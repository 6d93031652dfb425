// SPDX-License-Identifier: Apache-2.0
// Rank 0's thread that all ranks of a communicator are connected to, rank 0 too. It keeps the roll, answers who is missing, and
// tells everybody how the communicator ended: the first failure is everybody's. It sends heartbeats to all, and gives up ranks
// from which none come.
//
// It lives until rank 0's connection closes, and has then told all it knows.
#pragma once

#include <poll.h>

#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "onebit/collectives/limits.hpp"
#include "place.hpp"
#include "roll.hpp"

namespace onebit::nccl {

class Hub {
 public:
  // timeout_ns: the silence after which a rank counts as dead.
  Hub(Listener listener, int64_t timeout_ns);
  ~Hub();
  Hub(const Hub&) = delete;
  Hub& operator=(const Hub&) = delete;
  // Ends the thread though rank 0 has never connected.
  void give_up() noexcept;

 private:
  struct Seat {
    Link link;
    bool joined = false;
    bool gone = false;   // its connection is closed
    uint64_t left = 0;   // the last operation it was part of, once it has said bye
    uint64_t done = 0;   // all up to this is finished
    bool quiet = false;  // was told that it can go
  };

  void run();
  bool wait();
  int patience() const;
  void look_for_silence();
  void welcome();
  bool introduce(Link& link);
  void listen_to(int rank);
  void take(int rank, const Message& message, std::string_view body);
  void take_post(int rank, const Message& message, std::string_view body);
  void go(Row& row);
  void ask_sizes(const Row& row);
  void take_sizes(int rank, const Message& message, std::string_view body);
  void take_late(int rank, const Message& message, std::string_view body);
  void take_bye(int rank, uint64_t sequence);
  void lose(int rank);
  void tell_quiet();
  void fail(Code code, int rank, const std::string& why);
  void farewell();
  void broadcast(const Message& message, std::string_view body = {}, int except = -1);

  Listener listener_;
  Roll roll_;
  std::vector<Seat> seats_;
  const int64_t timeout_ns_;
  SignsOfLife signs_;           // by rank
  std::vector<Link> visitors_;  // connected, not introduced
  std::vector<pollfd> polled_;
  std::string blobs_;  // of one go
  std::optional<Row> disputed_;
  bool failed_ = false;
  int stop_ = -1;  // an eventfd
  std::thread thread_;
};

}  // namespace onebit::nccl
