// SPDX-License-Identifier: Apache-2.0
// Blocking calls with a time limit, of asynchronous ones that run on a context of their own.
#include "rendezvous/store_call.hpp"

#include <fcntl.h>

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>

#include "onebit/error.hpp"

namespace onebit::store {
namespace {

namespace ip = boost::asio::ip;
using boost::system::error_code;
using ip::tcp;

}  // namespace

std::string Place::text() const {
  const std::string name = host.empty() ? "localhost" : host;
  const std::string first = (name.find(':') == std::string::npos ? name : '[' + name + ']') + ':' + std::to_string(port);
  return ports > 1 ? first + " to " + std::to_string(port + ports - 1) : first;
}

Call::Call(const Place& place, Clock::time_point deadline) : where_(place.text()) {
  const std::vector<tcp::endpoint> endpoints = find(place);
  run(deadline, "connecting to it", [&](auto done) {
    boost::asio::async_connect(socket_, endpoints, [done](error_code failed, const tcp::endpoint&) { done(failed); });
  });
  ::fcntl(socket_.native_handle(), F_SETFD, FD_CLOEXEC);
  error_code ignored;
  // Where nobody listens yet, the system may choose that very port for this end, and TCP lets a socket call itself.
  if (socket_.local_endpoint(ignored) == socket_.remote_endpoint(ignored)) throw Lost("Connection refused");
  socket_.set_option(boost::asio::socket_base::keep_alive(true), ignored);
}

// A name that can't be resolved yet may be one later: machines start in any order.
std::vector<tcp::endpoint> Call::find(const Place& place) {
  if (place.host.empty()) return {{ip::address_v4::loopback(), place.port}, {ip::address_v6::loopback(), place.port}};
  error_code failed;
  tcp::resolver resolver(io_);
  const auto found = resolver.resolve(place.host, std::to_string(place.port), tcp::resolver::numeric_service, failed);
  if (failed) throw Lost("the name '" + place.host + "' cannot be resolved, " + failed.message());
  return {found.begin(), found.end()};
}

// Runs one operation to its end; what has not ended by the deadline is cut off.
template <class Start>
void Call::run(Clock::time_point deadline, const char* what, Start start) {
  error_code result = boost::asio::error::would_block;
  start([&result](error_code failed) { result = failed; });
  io_.restart();
  io_.run_until(deadline);
  if (result == boost::asio::error::would_block) {
    error_code ignored;
    socket_.close(ignored);
    io_.restart();
    io_.run();
    throw Lost(std::string(what) + " took too long");
  }
  if (result == boost::asio::error::eof) throw Lost("it has closed the connection");
  if (result) throw Lost(result.message());
}

std::string Call::ask(Request request, std::string_view key, std::string_view value, Clock::time_point deadline) {
  request.head.key_bytes = static_cast<uint32_t>(key.size());
  request.head.value_bytes = static_cast<uint32_t>(value.size());
  const std::array<boost::asio::const_buffer, 3> parts = {boost::asio::buffer(&request, sizeof request),
                                                          boost::asio::buffer(key.data(), key.size()),
                                                          boost::asio::buffer(value.data(), value.size())};
  run(deadline, "sending it a request",
      [&](auto done) { boost::asio::async_write(socket_, parts, [done](error_code failed, size_t) { done(failed); }); });
  Reply reply;
  const auto receive = [&](void* bytes, size_t count) {
    run(deadline, "waiting for its answer", [&](auto done) {
      boost::asio::async_read(socket_, boost::asio::buffer(bytes, count), [done](error_code failed, size_t) { done(failed); });
    });
  };
  receive(&reply, sizeof reply);
  check_reply(reply);
  std::string bytes(reply.bytes, '\0');
  receive(bytes.data(), bytes.size());
  if (reply.code == kElsewhere) throw Elsewhere(bytes);
  if (reply.code == kTaken) throw Taken(bytes);
  if (reply.code == kGone) throw Lost(bytes);
  if (reply.code != ONEBIT_OK) throw Error(static_cast<Code>(static_cast<uint32_t>(reply.code)), bytes);
  return bytes;
}

void Call::check_reply(const Reply& reply) const {
  if (reply.magic != kMagic || reply.bytes > kMostValue || reply.code > kGone)
    throw Elsewhere(
        "what answers is not a rendezvous of onebit: another program has that port; set ONEBIT_PORT to one that is free on "
        "rank "
        "0's machine, the same on all ranks");
  if (reply.version != kVersion)
    throw Error(Code::state_mismatch, "rank 0 speaks version " + std::to_string(reply.version) +
                                          " of the rendezvous, this rank version " + std::to_string(kVersion) +
                                          ": start the same onebit everywhere");
}

}  // namespace onebit::store
