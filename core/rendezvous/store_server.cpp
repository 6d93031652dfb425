// SPDX-License-Identifier: Apache-2.0
// Listening, and closing when all are served.
#include "rendezvous/store_server.hpp"

#include <fcntl.h>

#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/post.hpp>
#include <utility>
#include <vector>

#include "onebit/error.hpp"

namespace onebit::store {
namespace {

namespace ip = boost::asio::ip;
using boost::system::error_code;
using ip::tcp;

constexpr auto kAcceptAgain = std::chrono::milliseconds(100);  // when the process has no file descriptor to spare
constexpr auto kLastAnswers = std::chrono::seconds(1);
constexpr size_t kMostCallersBesides = 128;

// Where to listen, in order of preference. Only an address of this machine alone keeps others out: a name may mean another
// address elsewhere.
std::vector<ip::address> addresses_for(const std::string& host) {
  if (host == "localhost") return {ip::address_v4::loopback(), ip::address_v6::loopback()};
  error_code is_name;
  const ip::address address = ip::make_address(host, is_name);
  if (!is_name && address.is_loopback()) return {address};
  return {ip::address_v6::any(), ip::address_v4::any()};
}

void listen(tcp::acceptor& acceptor, const tcp::endpoint& where) {
  acceptor.open(where.protocol());
  ::fcntl(acceptor.native_handle(), F_SETFD, FD_CLOEXEC);
  acceptor.set_option(tcp::acceptor::reuse_address(true));
  if (where.address().is_v6()) acceptor.set_option(ip::v6_only(false));
  acceptor.bind(where);
  acceptor.listen();
}

// A machine without IPv6 refuses to open or to bind it; then the other choice is told of.
error_code listen_at(tcp::acceptor& acceptor, const std::vector<ip::address>& addresses, uint16_t port) {
  error_code failed;
  for (const ip::address& address : addresses) {
    try {
      listen(acceptor, {address, port});
      return {};
    } catch (const boost::system::system_error& e) {
      failed = e.code();
      error_code ignored;
      acceptor.close(ignored);
      if (failed == boost::asio::error::address_in_use) break;
    }
  }
  return failed;
}

void listen_in(tcp::acceptor& acceptor, const Place& place) {
  const std::vector<ip::address> addresses = addresses_for(place.host);
  error_code failed;
  for (int i = 0; i < place.ports; ++i) {
    failed = listen_at(acceptor, addresses, static_cast<uint16_t>(place.port + i));
    if (!failed) return;
  }
  throw Error(Code::unavailable,
              "rank 0 cannot serve the rendezvous at " + place.text() + ": " + failed.message() +
                  "; set ONEBIT_PORT to a port that is free on rank 0's machine, the same on all ranks",
              failed.value());
}

}  // namespace

Server::Server(const Place& place, int size, uint64_t job) : board_(size, job), acceptor_(io_), pause_(io_), patience_(io_) {
  listen_in(acceptor_, place);
  where_ = acceptor_.local_endpoint();
  accept();
  thread_ = std::thread([this] { run(); });
}

Server::~Server() { close(std::chrono::nanoseconds(0)); }

void Server::close(std::chrono::nanoseconds patience) {
  if (!thread_.joinable()) return;
  boost::asio::post(io_, [this, patience] {
    closing_ = true;
    if (board_.done() || patience.count() <= 0) return end();
    patience_.expires_after(patience);
    patience_.async_wait([this](error_code cancelled) {
      if (!cancelled) end();
    });
  });
  thread_.join();
  connections_.clear();  // before io_, which they use
}

// A handler that throws (memory is short) loses its own connection; the others go on.
void Server::run() {
  for (;;) {
    try {
      io_.run();
      return;
    } catch (const std::exception& e) {
      board_.note_refusal("a caller", e.what());
    }
  }
}

// With too many callers at once, those that come wait in the system's queue until others have been served, or cut off.
void Server::accept() {
  full_ = connections_.size() >= 4 * static_cast<size_t>(board_.size()) + kMostCallersBesides;
  if (full_) return;
  acceptor_.async_accept([this](error_code failed, tcp::socket socket) {
    if (!acceptor_.is_open()) return;
    if (failed) return accept_again();
    accept();
    welcome(std::move(socket));
  });
}

void Server::accept_again() {
  pause_.expires_after(kAcceptAgain);
  pause_.async_wait([this](error_code cancelled) {
    if (!cancelled && acceptor_.is_open()) accept();
  });
}

void Server::welcome(tcp::socket socket) {
  ::fcntl(socket.native_handle(), F_SETFD, FD_CLOEXEC);
  const auto connection = std::make_shared<Connection>(std::move(socket), board_, [this](Connection& over) { on_over(over); });
  connections_.insert(connection);
  connection->start();
}

void Server::on_over(Connection& connection) {
  connections_.erase(connection.shared_from_this());
  if (full_ && acceptor_.is_open()) accept();
  if (ended_ || (closing_ && board_.done())) end();
}

// Answers that are under way still go out. Stops when they have, or after kLastAnswers.
void Server::end() {
  if (!ended_) {
    ended_ = true;
    error_code ignored;
    acceptor_.close(ignored);
    pause_.cancel();
    patience_.expires_after(kLastAnswers);
    patience_.async_wait([this](error_code cancelled) {
      if (!cancelled) io_.stop();
    });
    for (const auto& connection : std::vector(connections_.begin(), connections_.end())) connection->dismiss();
  }
  if (connections_.empty()) io_.stop();
}

}  // namespace onebit::store
