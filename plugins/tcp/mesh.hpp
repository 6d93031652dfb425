// SPDX-License-Identifier: Apache-2.0
// Bytes between ranks over TCP: one connection for each pair, or several, which share the bytes of each direction.
#pragma once

#include <sys/eventfd.h>

#include <vector>

#include "onebit/mesh.hpp"
#include "onebit/tcp/meeting.hpp"

namespace onebit::tcp {

// Where in a stream of bytes that several connections share its next byte is: they take turns, every `kTurn` bytes, on both
// ends alike, so that nothing about it has to be sent. While one connection waits for its window, what the others hold in the
// system's buffers is on its way.
class Turns {
 public:
  explicit Turns(size_t streams) : streams_(streams) {}
  size_t stream() const { return stream_; }
  // How many of so many bytes are for this connection.
  size_t share(size_t bytes) const { return streams_ == 1 || bytes < left_ ? bytes : left_; }
  void advance(size_t bytes) {
    if (streams_ == 1) return;
    left_ -= bytes;
    if (left_ > 0) return;
    left_ = kTurn;
    stream_ = (stream_ + 1) % streams_;
  }

 private:
  static constexpr size_t kTurn = size_t{64} << 10;
  size_t streams_, stream_ = 0;
  size_t left_ = kTurn;
};

class TcpMesh final : public Mesh {
 public:
  // Returns when this rank is connected with all others; throws as Meeting does.
  TcpMesh(const Settings& settings, const Rendezvous& rendezvous);
  ~TcpMesh() override;
  TcpMesh(const TcpMesh&) = delete;
  TcpMesh& operator=(const TcpMesh&) = delete;

  size_t send(int peer, const void* data, size_t bytes) override;
  size_t receive(int peer, void* data, size_t bytes) override;
  void wait(const Watch* watches, int64_t timeout_ns) override;
  void wake() noexcept override;

 private:
  int connection(int peer, const Turns& turns) const {
    return connections_[static_cast<size_t>(peer) * streams_ + turns.stream()].number();
  }

  const size_t streams_;
  const Descriptor wake_;
  const std::vector<Descriptor> connections_;  // of each rank `streams_`; none of the own one
  std::vector<Turns> sending_, receiving_;     // by rank
  std::vector<pollfd> polled_;                 // wake_, and what is watched
};

}  // namespace onebit::tcp
