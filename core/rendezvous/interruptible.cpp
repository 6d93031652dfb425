// SPDX-License-Identifier: Apache-2.0
// Waiting in short turns, between which it is looked whether somebody has called it off.
#include <algorithm>

#include "onebit/rendezvous.hpp"
#include "rendezvous/rendezvous_rules.hpp"

namespace onebit {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::nanoseconds kTurn = std::chrono::milliseconds(200);

}  // namespace

InterruptibleRendezvous::InterruptibleRendezvous(const onebit_rendezvous& of, std::chrono::nanoseconds timeout)
    : of_(of),
      timeout_(timeout),
      view_{sizeof(onebit_rendezvous),    of.rank, of.size, of.local_rank, of.local_size, this, &InterruptibleRendezvous::put,
            &InterruptibleRendezvous::get} {}

void InterruptibleRendezvous::check(std::string_view key) const {
  if (interrupted_) throw Error(Code::aborted, "the wait for " + quoted_key(key) + " was interrupted");
}

onebit_code InterruptibleRendezvous::put(void* self, onebit_str key, const void* value, size_t size, onebit_error* err) {
  const auto& meeting = *static_cast<InterruptibleRendezvous*>(self);
  const onebit_code refused = detail::guard(err, [&] { meeting.check(onebit::view(key)); });
  return refused != ONEBIT_OK ? refused : meeting.of_.put(meeting.of_.ctx, key, value, size, err);
}

onebit_code InterruptibleRendezvous::get(void* self, onebit_str key, void* value, size_t capacity, size_t* size,
                                         int64_t timeout_ns, onebit_error* err) {
  const auto& meeting = *static_cast<InterruptibleRendezvous*>(self);
  const std::chrono::nanoseconds limit(
      timeout_ns < 0 ? meeting.timeout_.count() : std::min(timeout_ns == 0 ? kLongestTimeout : timeout_ns, kLongestTimeout));
  const auto begin = Clock::now();
  onebit_code code = ONEBIT_TIMEOUT;
  while (code == ONEBIT_TIMEOUT) {
    const std::chrono::nanoseconds left = limit - (Clock::now() - begin);
    code = detail::guard(err, [&] {
      meeting.check(onebit::view(key));
      if (left.count() <= 0) throw Error(Code::timeout, timeout_text(onebit::view(key), limit.count()));
    });
    if (code != ONEBIT_OK) return code;
    code = meeting.of_.get(meeting.of_.ctx, key, value, capacity, size, std::min(left, kTurn).count(), err);
  }
  return code;
}

}  // namespace onebit
