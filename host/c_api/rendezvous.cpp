// SPDX-License-Identifier: Apache-2.0
// Where ranks meet. Each table that a caller gets keeps what is behind it, and can be interrupted.
#include "onebit/rendezvous.hpp"

#include <chrono>
#include <memory>
#include <utility>

#include "c_api/handles.hpp"
#include "onebit/mpi_ranks.hpp"

namespace onebit::c_api {
namespace {

// A table, and behind it what it needs.
struct OwnRendezvous : onebit_rendezvous {
  OwnRendezvous(std::shared_ptr<const void> of, const onebit_rendezvous& table, std::chrono::nanoseconds timeout)
      : kept(std::move(of)), waits(table, timeout) {
    static_cast<onebit_rendezvous&>(*this) = waits.view();
  }
  const std::shared_ptr<const void> kept;
  TcpRendezvous* processes = nullptr;  // where it is one
  InterruptibleRendezvous waits;
};

std::chrono::nanoseconds limit_of(int64_t timeout_ns) {
  if (timeout_ns <= 0) refuse("timeout_ns is " + std::to_string(timeout_ns) + "; expected more than 0");
  return std::chrono::nanoseconds(timeout_ns);
}

onebit_rendezvous* of_processes(const LaunchedRank& self, int64_t timeout_ns) {
  const auto timeout = limit_of(timeout_ns);
  const auto made = std::make_shared<TcpRendezvous>(self, timeout);
  auto* const own = new OwnRendezvous(made, made->view(), timeout);
  own->processes = made.get();
  return own;
}

LaunchedRank launched(const onebit_launched_rank& self) {
  if (self.port < 0 || self.port > 65535) refuse("there is no port " + std::to_string(self.port) + "; expected 0 to 65535");
  LaunchedRank rank;
  rank.rank = self.rank;
  rank.size = self.size;
  rank.local_rank = self.local_rank;
  rank.local_size = self.local_size;
  rank.host = text(self.host, "self.host");
  rank.port = static_cast<uint16_t>(self.port);
  rank.job = self.job == nullptr ? "" : self.job;
  return rank;
}

}  // namespace
}  // namespace onebit::c_api

using namespace onebit;
using namespace onebit::c_api;

extern "C" {

onebit_code onebit_rendezvous_local(int32_t ranks, onebit_rendezvous** out, onebit_error* err) {
  return call(err, [&] {
    required(out, "out");
    const auto group = std::make_shared<LocalRendezvous>(ranks);
    std::vector<std::unique_ptr<OwnRendezvous>> made;
    for (int rank = 0; rank < ranks; ++rank)
      made.push_back(std::make_unique<OwnRendezvous>(group, group->at(rank), InterruptibleRendezvous::kTimeout));
    for (size_t rank = 0; rank < made.size(); ++rank) out[rank] = made[rank].release();
  });
}
onebit_code onebit_rendezvous_tcp(const onebit_launched_rank* self, int64_t timeout_ns, onebit_rendezvous** out,
                                  onebit_error* err) {
  return call(err, [&] {
    onebit_rendezvous*& made = result(out);
    made = of_processes(launched(required_struct(self, "self", ONEBIT_FIRST_SIZE(onebit_launched_rank, port))), timeout_ns);
  });
}
onebit_code onebit_rendezvous_environment(int64_t timeout_ns, onebit_rendezvous** out, onebit_error* err) {
  return call(err, [&] {
    onebit_rendezvous*& made = result(out);
    limit_of(timeout_ns);
    if (const auto self = launched_rank_from_environment()) made = of_processes(*self, timeout_ns);
  });
}
onebit_code onebit_rendezvous_mpi(const onebit_mpi_ranks* self, onebit_rendezvous** out, onebit_error* err) {
  return call(err, [&] {
    onebit_rendezvous*& made = result(out);
    const onebit_mpi_ranks& of = required_struct(self, "self", ONEBIT_FIRST_SIZE(onebit_mpi_ranks, reserved));
    const auto ranks = std::make_shared<MpiRanks>(of.handle, of.rank, of.size, of.local_rank, of.local_size);
    made = new OwnRendezvous(ranks, ranks->view(), InterruptibleRendezvous::kTimeout);
  });
}
onebit_code onebit_rendezvous_interrupt(onebit_rendezvous* rendezvous, onebit_error* err) {
  return call(err, [&] {
    auto& own = static_cast<OwnRendezvous&>(required(rendezvous, "rendezvous"));
    own.waits.interrupt();
    if (own.processes != nullptr) own.processes->no_farewell();
  });
}
void onebit_rendezvous_free(onebit_rendezvous* rendezvous) { delete static_cast<OwnRendezvous*>(rendezvous); }
}
