// SPDX-License-Identifier: Apache-2.0
// One poll over all connections, and what each message asks for.
#include "hub.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "onebit/error.hpp"
#include "operation_title.hpp"

namespace onebit::nccl {
namespace {

using namespace std::chrono_literals;

constexpr auto kFarewell = 2s;        // for the last words to be taken by the network
constexpr uint64_t kAhead = 1 << 16;  // operations that a rank may be ahead of another: more is no rank of ours

Message of(Type type, int rank, uint64_t sequence = 0) {
  Message made;
  made.type = type;
  made.rank = rank;
  made.sequence = sequence;
  return made;
}

}  // namespace

Hub::Hub(Listener listener, int64_t timeout_ns)
    : listener_(std::move(listener)),
      roll_(listener_.place().ranks),
      seats_(static_cast<size_t>(roll_.ranks())),
      timeout_ns_(timeout_ns),
      signs_(seats_.size(), timeout_ns, Clock::now()),
      stop_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (stop_ < 0) throw Error(Code::unavailable, std::string("create: eventfd: ") + std::strerror(errno), errno);
  thread_ = std::thread([this] { run(); });
}

Hub::~Hub() {
  thread_.join();
  ::close(stop_);
}

void Hub::give_up() noexcept {
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t n = ::write(stop_, &one, sizeof one);
}

void Hub::run() {
  while (wait()) {
  }
  farewell();
}

// False: rank 0 is gone, or given up.
bool Hub::wait() {
  const auto add = [this](const Link& link) {
    polled_.push_back({link.fd(), static_cast<short>(POLLIN | (link.has_unsent() ? POLLOUT : 0)), 0});
  };
  polled_.clear();
  polled_.push_back({stop_, POLLIN, 0});
  polled_.push_back({listener_.fd(), POLLIN, 0});
  for (const Seat& seat : seats_) add(seat.link);  // poll passes over closed ones, of -1
  const size_t known = visitors_.size();
  for (const Link& visitor : visitors_) add(visitor);
  if (::poll(polled_.data(), polled_.size(), patience()) < 0) return true;
  if (polled_[0].revents != 0) return false;
  for (size_t rank = 0; rank < seats_.size(); ++rank) {
    const short events = polled_[2 + rank].revents;
    if ((events & POLLOUT) != 0) seats_[rank].link.flush();
    if ((events & ~POLLOUT) != 0) listen_to(static_cast<int>(rank));
  }
  for (size_t i = known; i-- > 0;)
    if (polled_[2 + seats_.size() + i].revents != 0 && !introduce(visitors_[i]))
      visitors_.erase(visitors_.begin() + static_cast<ptrdiff_t>(i));
  if (polled_[1].revents != 0) welcome();
  look_for_silence();
  return !seats_[0].gone;
}

// ms until heartbeats are due
int Hub::patience() const {
  const auto now = Clock::now();
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(signs_.next(now) - now).count();
  return static_cast<int>(std::clamp<int64_t>(left + 1, 1, 10'000));
}

// Rank 0 is of this process. Who leaves may be silent, and who takes nothing gets no heartbeats on top.
void Hub::look_for_silence() {
  const auto now = Clock::now();
  signs_.look(now);
  const bool due = signs_.due(now);
  for (size_t rank = 0; rank < seats_.size(); ++rank) {
    Seat& seat = seats_[rank];
    if (!seat.joined || seat.gone) continue;
    const int number = static_cast<int>(rank);
    if (due && !seat.link.has_unsent()) seat.link.send(of(Type::beat, number));
    if (rank > 0 && seat.left == 0 && signs_.silent(rank))
      fail(Code::timeout, number, "rank 0 " + silence_text("rank " + std::to_string(number), timeout_ns_));
  }
}

void Hub::welcome() {
  while (Link link = listener_.accept()) visitors_.push_back(std::move(link));
}

// False: the visitor is done with, be it seated or sent away.
bool Hub::introduce(Link& link) {
  const bool alive = link.receive();
  Message hello;
  std::string_view token;
  if (!link.next(hello, token)) return alive && link.sane();
  const Place& place = listener_.place();
  if (hello.type != Type::hello || token.size() != sizeof place.token ||
      std::memcmp(token.data(), place.token.data(), token.size()) != 0)
    return false;
  if (hello.code != place.ranks || hello.rank < 0 || hello.rank >= place.ranks) {
    Message refusal = of(Type::failure, hello.rank);
    refusal.code = static_cast<int32_t>(Code::state_mismatch);
    link.send(refusal, "rank 0 expects " + std::to_string(place.ranks) + " ranks, rank " + std::to_string(hello.rank) +
                           " expects " + std::to_string(hello.code));
    return false;
  }
  Seat& seat = seats_[static_cast<size_t>(hello.rank)];
  if (seat.joined || failed_) return false;
  seat.joined = true;
  signs_.hear(static_cast<size_t>(hello.rank), Clock::now());
  seat.link = std::move(link);
  seat.link.send(of(Type::welcome, hello.rank));
  if (std::all_of(seats_.begin(), seats_.end(), [](const Seat& s) { return s.joined; })) listener_.close();
  return false;
}

void Hub::listen_to(int rank) {
  Link& link = seats_[static_cast<size_t>(rank)].link;
  const bool alive = link.receive();
  signs_.hear(static_cast<size_t>(rank), Clock::now());
  Message message;
  std::string_view body;
  while (link.next(message, body)) take(rank, message, body);
  if (!alive || !link.sane()) lose(rank);
}

void Hub::take(int rank, const Message& message, std::string_view body) {
  switch (message.type) {
    case Type::post:
      return take_post(rank, message, body);
    case Type::parts:
      return take_sizes(rank, message, body);
    case Type::late:
      return take_late(rank, message, body);
    case Type::done: {
      uint64_t& done = seats_[static_cast<size_t>(rank)].done;
      done = std::max(done, message.sequence);
      return tell_quiet();
    }
    case Type::bye:
      return take_bye(rank, message.sequence);
    case Type::failure:
      return fail(static_cast<Code>(message.code), rank, std::string(body));
    case Type::beat:
      return;
    default:
      return lose(rank);
  }
}

void Hub::take_post(int rank, const Message& message, std::string_view body) {
  if (failed_) return;
  const bool makes_sense = message.sequence == roll_.next(rank) && message.sequence <= roll_.oldest() + kAhead &&
                           message.signature.kind <= Collective::split;
  if (!makes_sense) return lose(rank);
  std::string differs;
  Row& row = roll_.come(rank, message, body, differs);
  if (!differs.empty())
    return fail(Code::state_mismatch, rank,
                differs + ": every rank must issue the same collectives, in the same order and with matching sizes");
  if (!roll_.complete(row)) return;
  if (Roll::matches(row)) return go(row);
  ask_sizes(row);
}

void Hub::go(Row& row) {
  if (std::none_of(row.entries.begin(), row.entries.end(), [](const Entry& entry) { return entry.wants; })) return;
  blobs_.clear();
  for (const Entry& entry : row.entries) {
    const auto size = static_cast<uint32_t>(entry.blob.size());
    blobs_.append(reinterpret_cast<const char*>(&size), sizeof size).append(entry.blob);
  }
  for (int rank = 0; rank < roll_.ranks(); ++rank)
    if (row.entries[static_cast<size_t>(rank)].wants)
      seats_[static_cast<size_t>(rank)].link.send(of(Type::go, rank, row.sequence), blobs_);
}

// A copy is kept: the roll goes on.
void Hub::ask_sizes(const Row& row) {
  if (disputed_) return;
  disputed_ = row;
  broadcast(of(Type::explain, -1, row.sequence));
}

void Hub::take_sizes(int rank, const Message& message, std::string_view body) {
  if (!disputed_ || disputed_->sequence != message.sequence) return;
  roll_.explain(*disputed_, rank, body);
  if (disputed_->explained == roll_.ranks())
    fail(Code::state_mismatch, disputed_->first,
         title(disputed_->signature.kind, disputed_->sequence) + ": " + roll_.disagreement(*disputed_) +
             ": every rank must issue the same collectives, in the same order and with matching sizes");
}

void Hub::take_late(int rank, const Message& message, std::string_view body) {
  const std::vector<int> missing = roll_.missing(message.sequence);
  std::string why = "rank " + std::to_string(rank) + " waited " + std::string(body);
  if (missing.empty()) {
    why += ": all ranks came, but what moves the bytes did not finish";
  } else {
    why += " for " + ranks_text(missing) + ", which did not arrive";
    if (static_cast<Limit>(message.code) == Limit::stall) why += ", though alive";
  }
  why += advice(static_cast<Limit>(message.code));
  fail(Code::timeout, rank, why);
}

void Hub::take_bye(int rank, uint64_t sequence) {
  Seat& seat = seats_[static_cast<size_t>(rank)];
  seat.left = std::max<uint64_t>(sequence, 1);
  seat.done = std::max(seat.done, sequence);
  broadcast(of(Type::left, rank, sequence), {}, rank);
  tell_quiet();
}

// A connection that ends without a bye is a rank that died.
void Hub::lose(int rank) {
  Seat& seat = seats_[static_cast<size_t>(rank)];
  seat.link.close();
  if (seat.gone) return;
  seat.gone = true;
  if (seat.left == 0)
    fail(Code::peer_failed, rank, "rank " + std::to_string(rank) + " is gone: its connection to rank 0 was closed");
  tell_quiet();
}

void Hub::tell_quiet() {
  for (Seat& seat : seats_) {
    if (seat.left == 0 || seat.gone || seat.quiet) continue;
    seat.quiet =
        std::all_of(seats_.begin(), seats_.end(), [&](const Seat& other) { return other.gone || other.done >= seat.left; });
    if (seat.quiet) seat.link.send(of(Type::quiet, -1, seat.left));
  }
}

void Hub::fail(Code code, int rank, const std::string& why) {
  if (failed_) return;
  failed_ = true;
  Message message = of(Type::failure, rank);
  message.code = static_cast<int32_t>(code);
  broadcast(message, why);
}

void Hub::broadcast(const Message& message, std::string_view body, int except) {
  for (size_t rank = 0; rank < seats_.size(); ++rank)
    if (static_cast<int>(rank) != except) seats_[rank].link.send(message, body);
}

void Hub::farewell() {
  if (!seats_[0].joined) fail(Code::peer_failed, 0, "rank 0 has given up");
  const auto end = Clock::now() + kFarewell;
  const auto unsent = [](const Seat& seat) { return seat.link.has_unsent(); };
  while (std::any_of(seats_.begin(), seats_.end(), unsent) && Clock::now() < end) {
    for (Seat& seat : seats_) seat.link.flush();
    std::this_thread::sleep_for(1ms);
  }
}

}  // namespace onebit::nccl
