// MeshCommunicator on a mesh in memory: the cases of every communicator, and what is its own - broken streams, aborts from
// other threads, many in flight, memory.
#include <doctest/doctest.h>

#include <atomic>
#include <functional>
#include <thread>

#include "communicator_conformance.hpp"
#include "memory_mesh.hpp"
#include "onebit/mesh_communicator.hpp"

namespace {

using namespace onebit;
using conformance::Rank;
using test::MemoryMesh;
using test::MemoryNet;

Rank make(const std::shared_ptr<MemoryNet>& net, int rank, double timeout_s = 20) {
  return std::make_unique<MeshCommunicator>("memory", Services(nullptr), timeout_s, std::make_unique<MemoryMesh>(net, rank));
}

// Runs f(rank) in a thread for each rank; answers what each threw, "" where none did.
std::vector<std::string> outcomes(int ranks, const std::function<void(int)>& f) {
  std::vector<std::string> texts(static_cast<size_t>(ranks));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank)
    threads.emplace_back([&, rank] {
      try {
        f(rank);
      } catch (const std::exception& e) {
        texts[static_cast<size_t>(rank)] = e.what();
      }
    });
  for (std::thread& thread : threads) thread.join();
  return texts;
}

// Runs one case on so many ranks of one new net.
void run(int ranks, const std::function<void(Rank&)>& f) {
  const auto net = std::make_shared<MemoryNet>(ranks);
  const std::vector<std::string> texts = outcomes(ranks, [&](int rank) {
    Rank self = make(net, rank);
    f(self);
  });
  for (int rank = 0; rank < ranks; ++rank) {
    INFO("rank ", rank, " of ", ranks);
    CHECK(texts[static_cast<size_t>(rank)] == "");
  }
}

}  // namespace

#define ONEBIT_RUN(name)                                                            \
  TEST_CASE("mesh: " #name) {                                                       \
    for (int ranks = 1; ranks <= 4; ++ranks) run(ranks, onebit::conformance::name); \
  }
ONEBIT_COMMUNICATOR_CASES(ONEBIT_RUN)
