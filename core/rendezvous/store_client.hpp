// SPDX-License-Identifier: Apache-2.0
// A rank's side of a store: one connection a request, and one that stays open to say that the rank is there. Thread-safe.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "rendezvous/store_call.hpp"
#include "rendezvous/store_protocol.hpp"

namespace onebit::store {

class Client {
 public:
  // Rank `rank` of `size`, of a job.
  Client(Place place, int rank, int size, uint64_t job);

  // Before any other call. Tries again until the store is there; throws Error(timeout) when it has not come. waiting: told now
  // and then why it is not.
  void join(std::chrono::nanoseconds timeout, const std::function<void(const std::string&)>& waiting = {});
  // Throws Error(peer_failed) when the store has gone.
  void put(std::string_view key, std::string_view value);
  // timeout_ns: for the key to be put; 0: no limit.
  std::string get(std::string_view key, int64_t timeout_ns);
  // After join: where it was found.
  const Place& place() const { return place_; }
  // This rank needs the store no more.
  void leave() { presence_.reset(); }

 private:
  Request request(Verb verb) const;
  std::string ask(Request request, std::string_view key, std::string_view value, std::chrono::nanoseconds timeout);
  bool try_ports(Clock::time_point deadline, std::string& why);
  void try_join(const Place& place, Clock::time_point deadline);
  std::string cannot_join(const Place& place) const;
  std::string cannot_reach() const;

  Clock::time_point taken_;  // when this rank was first found taken
  Place place_;
  const int rank_, size_;
  const uint64_t job_, visitor_;
  std::unique_ptr<Call> presence_;
};

}  // namespace onebit::store
