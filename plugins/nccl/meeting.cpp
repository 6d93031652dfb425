// SPDX-License-Identifier: Apache-2.0
// A rendezvous may be met at again: a place where nobody listens, or where this rank's seat is taken, is an old one, and its
// reader asks again until rank 0 has put the new one.
#include "meeting.hpp"

#include <algorithm>
#include <cstring>
#include <functional>
#include <thread>

namespace onebit::nccl {
namespace {

using namespace std::chrono_literals;

constexpr const char* kKey = "nccl.place";
constexpr auto kAskAgain = 5ms;

std::string text_of(const Rendezvous& rendezvous) {
  return "create on rank " + std::to_string(rendezvous.rank()) + " of " + std::to_string(rendezvous.size());
}

// Rank 0 sits at its own table: the hub knows all ranks alike.
Connection open(int ranks, const std::string& address, int64_t timeout_ns, const std::function<void(const Place&)>& publish) {
  Listener listener(ranks, address);
  const Place place = listener.place();
  Connection made;
  made.size = ranks;
  made.hub = std::make_unique<Hub>(std::move(listener), timeout_ns);
  try {
    publish(place);
    made.link = knock(place, 0, ranks, Clock::now() + std::chrono::nanoseconds(timeout_ns));
    if (!made.link) throw Error(Code::unavailable, "rank 0 can't reach the port that it listens at itself");
  } catch (...) {
    made.hub->give_up();
    throw;
  }
  return made;
}

[[noreturn]] void miss_rank_zero(const Rendezvous& rendezvous, int64_t timeout_ns) {
  throw Error(Code::timeout, text_of(rendezvous) + ": waited " + seconds_text(timeout_ns) +
                                 " for rank 0, which did not arrive, or can't be reached from here" + raise_timeout);
}

Place read_place(const Rendezvous& rendezvous, Clock::time_point end, int64_t timeout_ns) {
  Place place;
  const int64_t left_ns = std::chrono::nanoseconds(end - Clock::now()).count();
  if (left_ns <= 0) miss_rank_zero(rendezvous, timeout_ns);
  try {
    rendezvous.get(kKey, &place, sizeof place, left_ns);
  } catch (const Error& e) {
    if (e.code() == Code::timeout) miss_rank_zero(rendezvous, timeout_ns);
    throw;
  }
  if (place.magic != kMagic || place.count > place.addresses.size())
    throw Error(Code::state_mismatch, text_of(rendezvous) + ": rank 0 has another version of this plugin");
  return place;
}

Link find(const Rendezvous& rendezvous, int64_t timeout_ns) {
  const auto end = Clock::now() + std::chrono::nanoseconds(timeout_ns);
  for (;;) {
    const Place place = read_place(rendezvous, end, timeout_ns);
    try {
      if (Link link = knock(place, rendezvous.rank(), rendezvous.size(), end)) return link;
    } catch (const Error& e) {
      throw Error(e.code(), text_of(rendezvous) + ": " + e.what());
    }
    std::this_thread::sleep_for(kAskAgain);
  }
}

struct Wish {
  int32_t color = -1, key = 0;
};

// The ranks of this one's color, in the order of the new communicator.
std::vector<int> members_of(const std::vector<std::string>& wishes, int color) {
  std::vector<std::pair<int32_t, int>> found;
  for (size_t rank = 0; rank < wishes.size(); ++rank) {
    Wish wish;
    if (wishes[rank].size() != sizeof wish) continue;
    std::memcpy(&wish, wishes[rank].data(), sizeof wish);
    if (wish.color == color) found.emplace_back(wish.key, static_cast<int>(rank));
  }
  std::sort(found.begin(), found.end());
  std::vector<int> members;
  for (const auto& one : found) members.push_back(one.second);
  return members;
}

template <class T>
std::string_view bytes_of(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

}  // namespace

Connection meet(const Rendezvous& rendezvous, const std::string& address, int64_t timeout_ns) {
  const int rank = rendezvous.rank(), size = rendezvous.size();
  if (size < 1 || rank < 0 || rank >= size)
    throw Error(Code::invalid_argument, "the rendezvous gives rank " + std::to_string(rank) + " of " + std::to_string(size) +
                                            ": communicator 'nccl' does not start ranks, a host that knows them must");
  Connection made;
  made.rank = rank;
  made.size = size;
  if (size == 1) return made;
  if (rank != 0) {
    made.link = find(rendezvous, timeout_ns);
    return made;
  }
  return open(size, address, timeout_ns, [&](const Place& place) { rendezvous.put(kKey, &place, sizeof place); });
}

Connection divide(Engine& engine, int color, int key, const std::string& address, int64_t timeout_ns) {
  const Wish wish = {color, key};
  const std::vector<int> members = members_of(engine.exchange(Collective::split, Call(), bytes_of(wish)), color);
  Connection made;
  made.size = color < 0 ? 0 : static_cast<int>(members.size());
  made.rank = static_cast<int>(std::find(members.begin(), members.end(), engine.rank()) - members.begin());
  const bool leads = made.size > 1 && made.rank == 0;
  std::vector<std::string> places;
  if (leads)
    made = open(made.size, address, timeout_ns,
                [&](const Place& place) { places = engine.exchange(Collective::split, Call(), bytes_of(place)); });
  else
    places = engine.exchange(Collective::split, Call());
  if (made.size <= 1 || leads) return made;
  Place place;
  const std::string& said = places[static_cast<size_t>(members.front())];
  if (said.size() == sizeof place) std::memcpy(&place, said.data(), sizeof place);
  made.link = knock(place, made.rank, made.size, Clock::now() + std::chrono::nanoseconds(timeout_ns));
  if (!made.link)
    throw Error(Code::peer_failed, "split: rank " + std::to_string(members.front()) + ", which leads color " +
                                       std::to_string(color) + ", can't be reached from rank " + std::to_string(engine.rank()));
  return made;
}

}  // namespace onebit::nccl
