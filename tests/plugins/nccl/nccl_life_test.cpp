// SPDX-License-Identifier: Apache-2.0
// The communicator `nccl` and ranks that take their time, stall, or are silent.
#include "nccl_on_cpu/nccl_ranks.hpp"
#include "plugins/nccl/hub.hpp"

namespace {

using namespace onebit;
using namespace onebit::test;

// Two ranks made with these options.
std::vector<std::string> on_two(const std::string& options, const std::function<void(int, Rank&)>& f) {
  LocalRendezvous rendezvous(2);
  return outcomes(2, [&](int rank) {
    Rank self = make(rendezvous.at(rank), options);
    f(rank, self);
  });
}

}  // namespace

TEST_CASE("nccl: a rank that lives may take longer than the timeout, between collectives and before its first") {
  const auto texts = on_two("timeout = 3", [](int rank, Rank& self) {
    Sum sum(self, 100);
    for (int again = 0; again < 2; ++again) {
      if (rank == 1) std::this_thread::sleep_for(5s);
      device(self).inner().wait(sum.post());
      device(self).own_stream().finish();
      self->barrier(Call());
    }
  });
  for (const std::string& text : texts) CHECK(text == "");
}

TEST_CASE("nccl: a rank that lives but does not come is given up after the stall, which the error names") {
  std::atomic<bool> over{false};
  const auto texts = on_two("timeout = 60\nstall = 0.5", [&](int rank, Rank& self) {
    self->barrier(Call());
    while (rank == 1 && !over) std::this_thread::sleep_for(1ms);
    const Error error = error_of([&] { self->barrier(Call()); });
    over = true;
    conformance::require(error.code() == Code::timeout, std::string("another code: ") + error.what());
    conformance::require_text(error,
                              "rank 0 waited 0.5 s in barrier (operation 2) for rank 1, which did not arrive, though alive");
    conformance::require_text(error, "raise communicator.stall");
  });
  for (const std::string& text : texts) CHECK(text == "");
}

TEST_CASE("nccl: the hub tells all that a rank is silent though its connection is whole, and sends heartbeats") {
  nccl::Listener listener(3, "127.0.0.1");
  const nccl::Place place = listener.place();
  nccl::Hub hub(std::move(listener), 1'000'000'000);
  std::vector<nccl::Link> links;
  for (int rank = 0; rank < 3; ++rank) links.push_back(nccl::knock(place, rank, 3, nccl::Clock::now() + 60s));
  int beats = 0;
  std::vector<std::string> told(3);
  const auto end = nccl::Clock::now() + 60s;
  while ((told[0].empty() || told[2].empty()) && nccl::Clock::now() < end) {
    for (const int rank : {0, 2}) {
      nccl::Link& link = links[static_cast<size_t>(rank)];
      nccl::Message said;
      said.type = nccl::Type::beat;
      said.rank = rank;
      link.send(said);
      link.receive();
      std::string_view body;
      while (link.next(said, body)) {
        beats += said.type == nccl::Type::beat ? 1 : 0;
        if (said.type != nccl::Type::failure) continue;
        CHECK(said.code == ONEBIT_TIMEOUT);
        told[static_cast<size_t>(rank)] = body;
      }
    }
    std::this_thread::sleep_for(10ms);
  }
  CHECK(beats > 0);
  for (const int rank : {0, 2}) {
    const std::string& text = told[static_cast<size_t>(rank)];
    CHECK_MESSAGE(has(text, "rank 0 waited for rank 1, of which nothing was heard for 1 s"), text);
  }
  links.clear();
}
