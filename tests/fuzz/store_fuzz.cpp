// SPDX-License-Identifier: Apache-2.0
// What a caller may say to rank 0's store: any bytes over a connection, in any pieces. It is answered or cut off, and the store
// goes on.
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/connect_pair.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/write.hpp>

#include "rendezvous/store_connection.hpp"

namespace {

using namespace onebit::store;
using boost::asio::ip::tcp;
using Pair = boost::asio::local::stream_protocol::socket;

// One thread: the caller's bytes fit the socket's buffers, so it need not wait for the store to take them. Its sockets are a
// pair that is connected from the start, because libFuzzer's timer (SIGALRM without SA_RESTART) interrupts a connect that
// waits.
class Loop {
 public:
  void serve(const uint8_t* bytes, size_t size) {
    boost::system::error_code cut_off;
    Pair caller(io_), other(io_);
    boost::asio::local::connect_pair(caller, other);
    tcp::socket called(io_, tcp::v4(), other.release());
    Board board(2, 7);
    board.put("there", "a value");
    bool over = false;
    std::make_shared<Connection>(std::move(called), board, [&over](Connection&) { over = true; })->start();
    boost::asio::write(caller, boost::asio::buffer(bytes, size), cut_off);
    caller.shutdown(Pair::shutdown_send, cut_off);
    io_.restart();
    io_.run();
    if (!over || board.find("there") == nullptr) __builtin_trap();
  }

 private:
  boost::asio::io_context io_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  static Loop& loop = *new Loop;
  loop.serve(bytes, std::min<size_t>(size, 60000));
  return 0;
}
