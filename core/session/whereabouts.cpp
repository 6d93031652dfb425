// SPDX-License-Identifier: Apache-2.0
// Where a session is when something goes wrong: the step, the bucket, the process.
#include <string>

#include "session/session_impl.hpp"

namespace onebit {

Error Session::Impl::in_step(const Error& e) const {
  if (e.code() != Code::timeout && e.code() != Code::peer_failed && e.code() != Code::aborted) return e;
  std::string where = " (step " + std::to_string(next_step);
  if (const int64_t b = exchange->current_bucket(); b >= 0) {
    const Bucket& bucket = layout.buckets[static_cast<size_t>(b)];
    const auto name = [&](int64_t block) {
      return '\'' + replicas.parameters()[static_cast<size_t>(layout.blocks[static_cast<size_t>(block)].tensor)].name + '\'';
    };
    const std::string first = name(bucket.first_block), last = name(bucket.first_block + bucket.block_count - 1);
    where += ", bucket " + std::to_string(b) + " of " + std::to_string(layout.buckets.size()) + ": tensor" +
             (first == last ? ' ' + first : "s " + first + " to " + last);
  }
  return {e.code(), e.what() + where + ')', e.native()};
}

void Session::Impl::require_own_process() const {
  if (process == ::getpid()) return;
  throw Error(Code::unavailable, "this session was made in process " + std::to_string(process) + "; process " +
                                     std::to_string(::getpid()) +
                                     " is a fork of it and can't use it: make sessions after fork()");
}

}  // namespace onebit
