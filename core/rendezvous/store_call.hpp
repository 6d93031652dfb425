// SPDX-License-Identifier: Apache-2.0
// One connection to a store, with a time limit on all that it does: connect, send a request, receive its answer.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <chrono>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "rendezvous/store_protocol.hpp"

namespace onebit::store {

using Clock = std::chrono::steady_clock;

// Where a store is.
struct Place {
  std::string host;  // name or address; "": this machine
  uint16_t port = 0;
  uint16_t ports = 1;        // it is at one of so many, from `port` on
  std::string text() const;  // "node7:29500", "[fe80::1]:29501 to 29508"
};

// No connection, or no more: it may be worth another try.
class Lost : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Something else answers there: another program, or the store of another job.
class Elsewhere : public Lost {
 public:
  using Lost::Lost;
};

// Another process is this rank.
class Taken : public Lost {
 public:
  using Lost::Lost;
};

class Call {
 public:
  // To the first port of the place. Throws Lost.
  Call(const Place& place, Clock::time_point deadline);
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  // The bytes of the answer. Throws Error with what the store refuses, or state_mismatch where it is of another version; Lost,
  // Elsewhere, Taken.
  std::string ask(Request request, std::string_view key, std::string_view value, Clock::time_point deadline);

 private:
  std::vector<boost::asio::ip::tcp::endpoint> find(const Place& place);
  template <class Start>
  void run(Clock::time_point deadline, const char* what, Start start);
  void check_reply(const Reply& reply) const;

  boost::asio::io_context io_{1};
  boost::asio::ip::tcp::socket socket_{io_};
  const std::string where_;
};

}  // namespace onebit::store
