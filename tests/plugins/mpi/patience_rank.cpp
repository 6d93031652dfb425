// SPDX-License-Identifier: Apache-2.0
// One rank of a group whose rank 1 takes its time: patience_rank late, or stall. Run it on 2 ranks. Exit status: 0 when each
// finds what it expects.
//   late   rank 1 sleeps for three times communicator.timeout between two collectives; and much payload goes in many pieces
//   stall  rank 1 lives, but does not come within communicator.stall
#include <chrono>
#include <cstdio>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "mpi_rank.hpp"
#include "onebit/conformance/communicator.hpp"

using namespace onebit;
using namespace std::chrono_literals;

namespace {

void late(Communicator& self) {
  self.barrier(Call());
  if (self.rank() == 1) std::this_thread::sleep_for(6s);
  std::vector<float> values(10'000'000);  // 40 MB: 5 pieces each way, twice
  const auto value = [](size_t i) { return static_cast<float>(i % 1000); };
  for (size_t i = 0; i < values.size(); ++i) values[i] = value(i) * static_cast<float>(self.rank() + 1);
  conformance::Vector<float> io(std::move(values));
  self.wait(self.all_reduce(io.tensor, io.tensor, ReduceOp::sum, Call()), -1);
  for (size_t i = 0; i < io.values.size(); ++i) conformance::require(io.values[i] == 3 * value(i), "other sums");
  std::printf("rank %d: rank 1 came, late\n", self.rank());
}

void stall(Communicator& self) {
  self.barrier(Call());
  if (self.rank() == 1) std::this_thread::sleep_for(3s);
  const Error e = conformance::error_of("a rank that does not come", [&] { self.barrier(Call()); });
  conformance::require(e.code() == Code::timeout, e.what());
  std::printf("rank %d: %s\n", self.rank(), e.what());
}

}  // namespace

int main(int, char** argv) {
  try {
    const std::string way = argv[1];
    Registry registry;
    const auto self = test::mpi_communicator(registry, way == "late" ? "2" : "60\nstall = 0.5");
    way == "late" ? late(*self) : stall(*self);
    return 0;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
