// SPDX-License-Identifier: Apache-2.0
// Joining until the store is there, and asking it.
#include "rendezvous/store_client.hpp"

#include <algorithm>
#include <random>
#include <thread>
#include <utility>

#include "onebit/error.hpp"
#include "rendezvous/rendezvous_rules.hpp"

namespace onebit::store {
namespace {

constexpr auto kFirstPause = std::chrono::milliseconds(10);
constexpr auto kLongestPause = std::chrono::seconds(1);
constexpr auto kFirstWord = std::chrono::seconds(5);   // on why a rank still waits; or after a quarter of all its time
constexpr auto kLook = std::chrono::seconds(3);        // at one port of several
constexpr auto kInsist = std::chrono::seconds(2);      // on being a rank: one that has just gone may seem to be there
constexpr auto kRoundTrip = std::chrono::seconds(10);  // of the network, besides what a request itself waits for

std::string seconds_text(std::chrono::nanoseconds time) {
  const auto milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(time).count();
  if (milliseconds % 1000 != 0) return std::to_string(milliseconds) + " ms";
  return std::to_string(milliseconds / 1000) + " s";
}

uint64_t number_by_chance() {
  std::random_device device;
  return (uint64_t{device()} << 32U) | device();
}

}  // namespace

Client::Client(Place place, int rank, int size, uint64_t job)
    : place_(std::move(place)), rank_(rank), size_(size), job_(job), visitor_(number_by_chance()) {}

Request Client::request(Verb verb) const {
  Request request;
  request.prefix.verb = static_cast<uint32_t>(verb);
  request.head.rank = static_cast<uint32_t>(rank_);
  request.head.size = static_cast<uint32_t>(size_);
  request.head.job = job_;
  request.head.visitor = visitor_;
  return request;
}

void Client::join(std::chrono::nanoseconds timeout, const std::function<void(const std::string&)>& waiting) {
  const auto begin = Clock::now(), deadline = begin + std::min(timeout, std::chrono::nanoseconds(kLongestTimeout));
  std::string why;
  std::chrono::milliseconds pause = kFirstPause;
  std::chrono::nanoseconds word = std::min<std::chrono::nanoseconds>(kFirstWord, timeout / 4);
  while (!try_ports(deadline, why)) {
    if (Clock::now() + pause >= deadline)
      throw Error(Code::timeout, cannot_reach() + " within " + seconds_text(timeout) + ": " + why +
                                     "; is rank 0 started, is its address right (MASTER_ADDR), and its port open?");
    if (waiting && Clock::now() - begin >= word) {
      waiting(cannot_reach() + " yet: " + why + "; it tries for " + seconds_text(timeout));
      word = 2 * (Clock::now() - begin);
    }
    std::this_thread::sleep_for(pause);
    pause = std::min<std::chrono::milliseconds>(2 * pause, kLongestPause);
  }
}

std::string Client::cannot_reach() const {
  return "rank " + std::to_string(rank_) + " could not reach rank 0's rendezvous at " + place_.text();
}

// Where there are several ports, what others have to say at theirs tells more than that nobody is at the rest.
bool Client::try_ports(Clock::time_point deadline, std::string& why) {
  for (int i = 0; i < place_.ports; ++i) {
    const Place one = {place_.host, static_cast<uint16_t>(place_.port + i), 1};
    try {
      try_join(one, std::min(deadline, Clock::now() + (place_.ports > 1 ? kLook : kRoundTrip)));
      place_ = one;
      return true;
    } catch (const Elsewhere& other) {
      if (place_.ports == 1) throw Error(Code::state_mismatch, cannot_join(one) + other.what());
      why = "at " + std::to_string(one.port) + " " + other.what();
    } catch (const Taken& taken) {
      if (taken_ == Clock::time_point()) taken_ = Clock::now();
      if (Clock::now() - taken_ > kInsist) throw Error(Code::state_mismatch, cannot_join(one) + taken.what());
      why = taken.what();
    } catch (const Lost& lost) {
      if (i == 0) why = lost.what();
    } catch (const Error& refused) {
      throw Error(refused.code(), cannot_join(one) + refused.what());
    }
  }
  return false;
}

void Client::try_join(const Place& place, Clock::time_point deadline) {
  auto call = std::make_unique<Call>(place, deadline);
  call->ask(request(Verb::join), "", "", deadline);
  presence_ = std::move(call);
}

std::string Client::cannot_join(const Place& place) const {
  return "rank " + std::to_string(rank_) + " cannot join rank 0's rendezvous at " + place.text() + ": ";
}

std::string Client::ask(Request request, std::string_view key, std::string_view value, std::chrono::nanoseconds timeout) {
  if (key.size() > kMostKey || value.size() > kMostValue)
    throw Error(Code::invalid_argument, "a rendezvous takes keys of " + std::to_string(kMostKey) + " bytes and values of " +
                                            std::to_string(kMostValue) + " at the most, not " + std::to_string(key.size()) +
                                            " and " + std::to_string(value.size()));
  try {
    const auto begin = Clock::now();
    return Call(place_, begin + kRoundTrip).ask(request, key, value, begin + kRoundTrip + timeout);
  } catch (const Lost& lost) {
    throw Error(Code::peer_failed, "rank " + std::to_string(rank_) + " lost rank 0's rendezvous at " + place_.text() +
                                       ", asking for " + quoted_key(key) + ": " + lost.what() +
                                       "; has rank 0 ended? See what it says");
  }
}

void Client::put(std::string_view key, std::string_view value) { ask(request(Verb::put), key, value, kPatience); }

std::string Client::get(std::string_view key, int64_t timeout_ns) {
  Request wanted = request(Verb::get);
  wanted.head.timeout_ns = timeout_ns;
  const std::chrono::nanoseconds wait = kLongestWait;
  return ask(wanted, key, "", timeout_ns > 0 ? std::min(wait, std::chrono::nanoseconds(timeout_ns)) : wait);
}

}  // namespace onebit::store
