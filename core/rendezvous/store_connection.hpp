// SPDX-License-Identifier: Apache-2.0
// One caller of a store: reads its request, answers it, and, when it was a join, notices when it goes. Lives as long as an
// operation on its socket or timer is under way.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <memory>
#include <string>

#include "onebit/error.hpp"
#include "rendezvous/store_board.hpp"
#include "rendezvous/store_protocol.hpp"

namespace onebit::store {

class Connection final : public std::enable_shared_from_this<Connection> {
 public:
  // on_over: called once, when there is nothing more to expect of this connection.
  using OnOver = std::function<void(Connection&)>;
  Connection(boost::asio::ip::tcp::socket socket, Board& board, OnOver on_over);
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  void start();
  // The store closes: who waits is told, an answer under way goes out, all others are cut off.
  void dismiss();
  void cut();

 private:
  enum class State { reading, waiting, answering, present, over };
  using Step = void (Connection::*)();

  void read(void* bytes, size_t count, Step next);
  auto then(Step next);
  void on_prefix();
  void on_head();
  void on_body();
  void check_head() const;
  void serve();
  void join();
  void get(const std::string& key);
  void answer(uint32_t code, Value bytes);
  void refuse(uint32_t code, const std::string& why);
  void on_answered();
  void watch();
  void limit(std::chrono::nanoseconds time);
  void on_time_out();

  boost::asio::ip::tcp::socket socket_;
  boost::asio::steady_timer deadline_;
  Board& board_;
  OnOver on_over_;
  const std::string caller_;  // its address
  State state_ = State::reading;
  Request request_;
  std::string body_;  // key, then value
  uint64_t wait_ = 0;
  bool joined_ = false, dismissed_ = false;
  Reply reply_;
  Value bytes_;
  char stray_ = 0;
};

}  // namespace onebit::store
