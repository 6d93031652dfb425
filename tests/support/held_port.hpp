// SPDX-License-Identifier: Apache-2.0
// A port of the loopback interface that is this test's as long as the object lives: no other socket gets it by chance, callers
// are refused, and a rank 0 that is told of it can serve there.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <cstdint>

namespace onebit::test {

// Bound, and not listening: with SO_REUSEADDR on both sides Linux lets one more socket bind it, and listen.
class HeldPort {
 public:
  HeldPort() {
    socket_.open(boost::asio::ip::tcp::v4());
    socket_.set_option(boost::asio::socket_base::reuse_address(true));
    socket_.bind({boost::asio::ip::address_v4::loopback(), 0});
  }
  uint16_t port() const { return socket_.local_endpoint().port(); }

 private:
  boost::asio::io_context io_;
  boost::asio::ip::tcp::socket socket_{io_};
};

}  // namespace onebit::test
