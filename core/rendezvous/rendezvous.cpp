// SPDX-License-Identifier: Apache-2.0
// The in-process rendezvous: a map behind a mutex, and a condition variable for those who came before the value.
#include "onebit/rendezvous.hpp"

#include <algorithm>

#include "rendezvous/rendezvous_rules.hpp"

namespace onebit {
namespace {

constexpr int64_t kDefaultTimeout = 300'000'000'000;  // ns

}  // namespace

LocalRendezvous::LocalRendezvous(int ranks) {
  if (ranks < 1) throw Error(Code::invalid_argument, "a rendezvous needs at least 1 rank, not " + std::to_string(ranks));
  for (int rank = 0; rank < ranks; ++rank)
    views_.push_back({sizeof(onebit_rendezvous), rank, ranks, rank, ranks, this, &LocalRendezvous::put, &LocalRendezvous::get});
}

// A key that is put again has the new value from then on.
onebit_code LocalRendezvous::put(void* self, onebit_str key, const void* value, size_t size, onebit_error* err) {
  return detail::guard(err, [&] {
    require_value(view(key), value, size);
    auto& meeting = *static_cast<LocalRendezvous*>(self);
    const char* bytes = static_cast<const char*>(value);
    std::vector<char> copy(bytes, bytes + size);
    const std::lock_guard lock(meeting.mutex_);
    meeting.values_.insert_or_assign(std::string(view(key)), std::move(copy));
    meeting.arrived_.notify_all();
  });
}

onebit_code LocalRendezvous::get(void* self, onebit_str key, void* value, size_t capacity, size_t* size, int64_t timeout_ns,
                                 onebit_error* err) {
  return detail::guard(err, [&] {
    auto& meeting = *static_cast<LocalRendezvous*>(self);
    std::unique_lock lock(meeting.mutex_);
    auto found = meeting.values_.end();
    const auto is_there = [&] { return (found = meeting.values_.find(view(key))) != meeting.values_.end(); };
    const int64_t limit = timeout_ns < 0 ? kDefaultTimeout : std::min(timeout_ns, kLongestTimeout);
    if (limit == 0) {
      meeting.arrived_.wait(lock, is_there);
    } else if (!meeting.arrived_.wait_for(lock, std::chrono::nanoseconds(limit), is_there)) {
      throw Error(Code::timeout, timeout_text(view(key), limit));
    }
    hand_over(view(key), {found->second.data(), found->second.size()}, value, capacity, size);
  });
}

}  // namespace onebit
