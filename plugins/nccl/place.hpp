// SPDX-License-Identifier: Apache-2.0
// Where rank 0 of a communicator listens, and how the other ranks knock there.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <string>

#include "message.hpp"

namespace onebit::nccl {

using Clock = std::chrono::steady_clock;

struct Address {
  uint32_t family = 0;  // AF_INET or AF_INET6
  std::array<unsigned char, 16> bytes{};
};

// Travels through the rendezvous, or through the communicator that is split.
struct Place {
  uint32_t magic = kMagic;
  uint32_t port = 0;
  uint64_t machine = 0;  // where it is, as machine() has it
  std::array<uint64_t, 2> token{};
  int32_t ranks = 0;
  uint32_t count = 0;  // of addresses
  std::array<Address, 16> addresses{};
};
static_assert(std::is_trivially_copyable_v<Place>);

class Listener {
 public:
  // address: the one that the others shall use; "": all of this machine's.
  Listener(int ranks, const std::string& address);
  Listener(Listener&& other) noexcept;
  Listener& operator=(Listener&&) = delete;
  ~Listener() { close(); }

  const Place& place() const { return place_; }
  int fd() const { return fd_; }
  void close() noexcept;
  // A connection, closed where there is none.
  Link accept() const;

 private:
  int fd_ = -1;
  Place place_;
};

// Connects this rank to the place, and is welcomed there. A closed link: nobody is there, or this rank's seat is taken; the
// place may be an old one. Throws Error with the hub's words when it refuses this rank.
Link knock(const Place& place, int rank, int ranks, Clock::time_point end);

}  // namespace onebit::nccl
