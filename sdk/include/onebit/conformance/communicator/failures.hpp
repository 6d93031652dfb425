// SPDX-License-Identifier: Apache-2.0
// Cases of ranks that do not come, give up or are gone.
#pragma once

#include <chrono>
#include <thread>

#include "onebit/conformance/communicator/mismatches.hpp"

namespace onebit::conformance {

// The last rank does not come: the others are told whom they waited for, in what. Coming late, it is told as well.
inline void missing_rank(Rank& self) {
  constexpr int64_t kTimeout = 50'000'000;
  Rank part = self->split(0, 0);
  const int last = part->size() - 1;
  if (last == 0) return;
  Vector<float> io(std::vector<float>(8, 1));
  const auto post = [&] { return part->all_reduce(io.tensor, io.tensor, ReduceOp::sum, Call(1, kTimeout)); };
  Request* request = part->rank() == last ? nullptr : post();
  self->barrier(Call());  // now all have come but the last
  if (part->rank() != last) {
    const Error error = error_of("a rank that does not come", [&] { part->wait(request, kTimeout); });
    require(error.code() == Code::timeout, std::string("another code: ") + error.what());
    require_text(error, "all_reduce");
    require_text(error, rank_text(last));
  }
  self->barrier(Call());
  // What it comes to is complete where the others' parts were on their way before they gave up; then the next one is not.
  const auto come_late = [&] {
    part->wait(post());
    part->wait(post());
  };
  if (part->rank() == last) error_of("coming late", come_late);
  self->barrier(Call());
}

// The last rank aborts, from another thread, while the others wait: they get its reason, and get it again later.
inline void abort_ends_waits(Rank& self) {
  Rank part = self->split(0, 0);
  const int last = part->size() - 1;
  Vector<float> io(std::vector<float>(8, 1));
  const auto issue = [&] { part->wait(part->all_reduce(io.tensor, io.tensor, ReduceOp::sum, Call())); };
  if (part->rank() == last) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    std::thread([&] { part->abort("the data ran out"); }).join();
  }
  for (int again = 0; again < 3; ++again) {
    const Error error = error_of("an aborted communicator", issue);
    require(error.code() == Code::aborted, std::string("another code: ") + error.what());
    require_text(error, "the data ran out");
    require_text(error, rank_text(last));
  }
  self->barrier(Call());
}

// The last rank goes while the others wait for it: they are told, and told again later.
inline void destroyed_peer(Rank& self) {
  Rank part = self->split(0, 0);
  const int last = part->size() - 1;
  if (part->rank() == last) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    part.reset();
  }
  Vector<float> io(std::vector<float>(8, 1));
  for (int again = 0; part && again < 2; ++again) {
    const Error error =
        error_of("a peer that is gone", [&] { part->wait(part->all_reduce(io.tensor, io.tensor, ReduceOp::sum, Call())); });
    require(error.code() == Code::peer_failed, std::string("another code: ") + error.what());
    require_text(error, rank_text(last));
  }
  self->barrier(Call());
}

}  // namespace onebit::conformance
