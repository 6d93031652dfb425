// SPDX-License-Identifier: Apache-2.0
// A caller step by step: prefix, head, body, answer; each step names the next.
#include "rendezvous/store_connection.hpp"

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/asio/completion_condition.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <utility>

#include "rendezvous/rendezvous_rules.hpp"

namespace onebit::store {
namespace {

using boost::system::error_code;

std::string address_of(const boost::asio::ip::tcp::socket& socket) {
  namespace ip = boost::asio::ip;
  error_code gone;
  const auto peer = socket.remote_endpoint(gone);
  if (gone) return "a caller";
  const ip::address address = peer.address();
  if (address.is_v4() || !address.to_v6().is_v4_mapped()) return address.to_string();
  return ip::make_address_v4(ip::v4_mapped, address.to_v6()).to_string();
}

constexpr const char* kOtherJob = "rank 0 there belongs to another job: give each job a port of its own (ONEBIT_PORT)";

[[noreturn]] void mismatch(const std::string& text) { throw Error(Code::state_mismatch, text); }

}  // namespace

Connection::Connection(boost::asio::ip::tcp::socket socket, Board& board, OnOver on_over)
    : socket_(std::move(socket)),
      deadline_(socket_.get_executor()),
      board_(board),
      on_over_(std::move(on_over)),
      caller_(address_of(socket_)) {}

void Connection::start() {
  limit(kPatience);
  read(&request_.prefix, sizeof request_.prefix, &Connection::on_prefix);
}

// Goes on with `next`, unless the caller has gone or this has ended it.
auto Connection::then(Step next) {
  return [self = shared_from_this(), next](error_code failed, size_t) {
    if (self->state_ == State::over) return;
    if (failed) return self->cut();
    try {
      (*self.*next)();
    } catch (const Error& why) {
      self->refuse(static_cast<uint32_t>(why.code()), why.what());
    }
  };
}

void Connection::read(void* bytes, size_t count, Step next) {
  boost::asio::async_read(socket_, boost::asio::buffer(bytes, count), then(next));
}

void Connection::on_prefix() {
  if (request_.prefix.magic != kMagic) {
    board_.note_refusal(caller_, "it does not speak as a rank of onebit");
    return cut();
  }
  if (request_.prefix.version != kVersion)
    mismatch("rank 0 speaks version " + std::to_string(kVersion) + " of the rendezvous, this rank version " +
             std::to_string(request_.prefix.version) + ": start the same onebit everywhere");
  read(&request_.head, sizeof request_.head, &Connection::on_head);
}

void Connection::check_head() const {
  const Head& head = request_.head;
  const uint32_t size = head.size, rank = head.rank;
  if (size != static_cast<uint32_t>(board_.size()))
    mismatch("rank 0 was told of " + std::to_string(board_.size()) + " ranks, this one of " + std::to_string(size) +
             ": give all the same WORLD_SIZE");
  if (rank >= size) mismatch("there is no rank " + std::to_string(rank) + " of " + std::to_string(size));
  if (head.key_bytes > kMostKey || head.value_bytes > kMostValue)
    throw Error(Code::invalid_argument, "a key of " + std::to_string(head.key_bytes) + " bytes and a value of " +
                                            std::to_string(head.value_bytes) + " are more than a rendezvous takes");
}

// The body grows with what arrives, not with what was announced.
void Connection::on_head() {
  if (request_.head.job != board_.job()) return refuse(kElsewhere, kOtherJob);
  check_head();
  const size_t bytes = size_t{request_.head.key_bytes} + request_.head.value_bytes;
  boost::asio::async_read(socket_, boost::asio::dynamic_buffer(body_, bytes), boost::asio::transfer_exactly(bytes),
                          then(&Connection::on_body));
}

void Connection::on_body() {
  try {
    serve();
  } catch (const std::bad_alloc&) {
    throw Error(Code::out_of_memory, "rank 0 is out of memory");
  }
}

void Connection::serve() {
  const std::string key = body_.substr(0, request_.head.key_bytes);
  switch (static_cast<Verb>(static_cast<uint32_t>(request_.prefix.verb))) {
    case Verb::join:
      return join();
    case Verb::put:
      board_.put(key, body_.substr(key.size()));
      return answer(ONEBIT_OK, nullptr);
    case Verb::get:
      return get(key);
  }
  throw Error(Code::unsupported, "a rendezvous has no verb " + std::to_string(request_.prefix.verb));
}

void Connection::join() {
  const auto rank = static_cast<int>(request_.head.rank);
  const std::string name = "rank " + std::to_string(rank);
  const Board::Coming coming = board_.come(rank, request_.head.visitor, caller_);
  if (coming == Board::Coming::gone) return refuse(kGone, name + " has been there and gone: rank 0 has not begun anew since");
  if (coming == Board::Coming::taken)
    return refuse(kTaken, "another process is " + name + " already, at " + board_.caller(rank) +
                              ": was RANK given twice, or is an older run still going on?");
  joined_ = true;
  error_code ignored;
  socket_.set_option(boost::asio::socket_base::keep_alive(true), ignored);
  answer(ONEBIT_OK, nullptr);
}

void Connection::get(const std::string& key) {
  if (Value value = board_.find(key)) return answer(ONEBIT_OK, std::move(value));
  state_ = State::waiting;
  wait_ = board_.wait(key, [self = shared_from_this()](const Value& value) { self->answer(ONEBIT_OK, value); });
  const int64_t asked = request_.head.timeout_ns;
  limit(asked > 0 ? std::min(std::chrono::nanoseconds(asked), std::chrono::nanoseconds(kLongestWait)) : kLongestWait);
  watch();
}

void Connection::refuse(uint32_t code, const std::string& why) {
  board_.note_refusal(caller_, why);
  answer(code, std::make_shared<const std::string>(why));
}

void Connection::answer(uint32_t code, Value bytes) {
  state_ = State::answering;
  limit(kPatience);
  bytes_ = bytes == nullptr ? std::make_shared<const std::string>() : std::move(bytes);
  reply_.code = code;
  reply_.bytes = static_cast<uint32_t>(bytes_->size());
  const std::array<boost::asio::const_buffer, 2> parts = {boost::asio::buffer(&reply_, sizeof reply_),
                                                          boost::asio::buffer(*bytes_)};
  boost::asio::async_write(socket_, parts, then(&Connection::on_answered));
}

void Connection::on_answered() {
  if (!joined_ || dismissed_) return cut();
  state_ = State::present;
  deadline_.cancel();
  watch();
}

// A caller that waits or is present has nothing to say: what comes from it is that it has gone.
void Connection::watch() {
  const auto gone = [self = shared_from_this()](error_code, size_t) {
    if (self->state_ == State::waiting || self->state_ == State::present) self->cut();
  };
  boost::asio::async_read(socket_, boost::asio::buffer(&stray_, 1), gone);
}

// Of waits that were replaced by a later one, a handler may already be under way: it finds that its time has not come.
void Connection::limit(std::chrono::nanoseconds time) {
  deadline_.expires_after(time);
  deadline_.async_wait([self = shared_from_this()](error_code cancelled) {
    if (!cancelled && self->deadline_.expiry() <= std::chrono::steady_clock::now()) self->on_time_out();
  });
}

void Connection::on_time_out() {
  if (state_ == State::over || state_ == State::present) return;
  if (state_ != State::waiting) {
    board_.note_refusal(caller_, "it did not say in time what it wants, or take its answer");
    return cut();
  }
  board_.forget(wait_);
  const std::string key = body_.substr(0, request_.head.key_bytes);
  answer(ONEBIT_TIMEOUT,
         std::make_shared<const std::string>(timeout_text(key, request_.head.timeout_ns) + board_.missing_text()));
}

void Connection::dismiss() {
  dismissed_ = true;
  if (state_ == State::answering) return;
  if (state_ != State::waiting) return cut();
  board_.forget(wait_);
  const std::string key = body_.substr(0, request_.head.key_bytes);
  answer(ONEBIT_PEER_FAILED, std::make_shared<const std::string>("rank 0 has left the rendezvous, and no rank had put " +
                                                                 quoted_key(key) + ": it has ended; see what it says"));
}

void Connection::cut() {
  if (state_ == State::over) return;
  if (state_ == State::waiting) board_.forget(wait_);
  if (joined_) board_.leave(static_cast<int>(request_.head.rank));
  state_ = State::over;
  error_code ignored;
  socket_.close(ignored);
  deadline_.cancel();
  on_over_(*this);
}

}  // namespace onebit::store
