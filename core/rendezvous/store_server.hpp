// SPDX-License-Identifier: Apache-2.0
// Serves a store to the ranks of a job, on a thread of its own.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <thread>

#include "rendezvous/store_board.hpp"
#include "rendezvous/store_call.hpp"
#include "rendezvous/store_connection.hpp"

namespace onebit::store {

class Server {
 public:
  // At the first of these ports that is free; port 0: at any. Throws Error(unavailable) where none can be had.
  Server(const Place& place, int size, uint64_t job);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Where it listens, as rank 0 itself reaches it; an unspecified address: on all interfaces.
  const boost::asio::ip::tcp::endpoint& where() const { return where_; }
  // Ends the store when all ranks have come and gone, or after this time. The destructor: at once.
  void close(std::chrono::nanoseconds patience);

 private:
  void run();
  void accept();
  void accept_again();
  void welcome(boost::asio::ip::tcp::socket socket);
  void on_over(Connection& connection);
  void end();

  Board board_;  // before io_, whose handlers use it to the last
  std::set<std::shared_ptr<Connection>> connections_;
  boost::asio::io_context io_{1};
  boost::asio::ip::tcp::acceptor acceptor_;
  boost::asio::steady_timer pause_, patience_;
  boost::asio::ip::tcp::endpoint where_;
  bool full_ = false, closing_ = false, ended_ = false;
  std::thread thread_;
};

}  // namespace onebit::store
