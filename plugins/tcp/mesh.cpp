// SPDX-License-Identifier: Apache-2.0
// Sending and receiving what goes at once, and waiting until more does.
#include "mesh.hpp"

#include "onebit/error.hpp"

namespace onebit::tcp {
namespace {

// What send(2) or recv(2) answered: how many bytes went.
size_t moved(ssize_t bytes) {
  if (bytes >= 0) return static_cast<size_t>(bytes);
  if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) return 0;
  throw Error(Code::peer_failed, std::string("its connection broke: ") + std::strerror(errno), errno);
}

// move(turns, first byte, how many) moves what goes now over one connection; it is the next one's turn when all went.
template <class Move>
size_t move_all(Turns& turns, size_t bytes, Move&& move) {
  size_t total = 0;
  while (total < bytes) {
    const size_t most = turns.share(bytes - total), went = move(total, most);
    turns.advance(went);
    total += went;
    if (went < most) break;
  }
  return total;
}

}  // namespace

TcpMesh::TcpMesh(const Settings& settings, const Rendezvous& rendezvous)
    : Mesh(rendezvous.rank(), rendezvous.size()),
      streams_(static_cast<size_t>(settings.streams)),
      wake_(checked(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), "eventfd")),
      connections_(Meeting(settings, rendezvous).take()),
      sending_(static_cast<size_t>(size()), Turns(streams_)),
      receiving_(sending_) {
  polled_.reserve(2 * static_cast<size_t>(size()) + 1);
}

TcpMesh::~TcpMesh() { part(connections_); }

size_t TcpMesh::send(int peer, const void* data, size_t bytes) {
  Turns& turns = sending_[static_cast<size_t>(peer)];
  const auto* from = static_cast<const char*>(data);
  return move_all(turns, bytes, [&](size_t first, size_t most) {
    return moved(::send(connection(peer, turns), from + first, most, MSG_DONTWAIT | MSG_NOSIGNAL));
  });
}

size_t TcpMesh::receive(int peer, void* data, size_t bytes) {
  Turns& turns = receiving_[static_cast<size_t>(peer)];
  auto* to = static_cast<char*>(data);
  return move_all(turns, bytes, [&](size_t first, size_t most) {
    const ssize_t received = ::recv(connection(peer, turns), to + first, most, MSG_DONTWAIT);
    if (received == 0 && first == 0) throw Error(Code::peer_failed, "it has closed its connection");
    return moved(received);
  });
}

void TcpMesh::wait(const Watch* watches, int64_t timeout_ns) {
  polled_.clear();
  polled_.push_back({wake_.number(), POLLIN, 0});
  for (int peer = 0; peer < size(); ++peer) {
    const auto rank = static_cast<size_t>(peer);
    if (watches[peer].receive) polled_.push_back({connection(peer, receiving_[rank]), POLLIN, 0});
    if (watches[peer].send) polled_.push_back({connection(peer, sending_[rank]), POLLOUT, 0});
  }
  wait_for(polled_, timeout_ns);
  uint64_t count = 0;
  if (polled_.front().revents != 0) (void)!::read(wake_.number(), &count, sizeof count);
}

void TcpMesh::wake() noexcept {
  const uint64_t one = 1;
  (void)!::write(wake_.number(), &one, sizeof one);
}

}  // namespace onebit::tcp
