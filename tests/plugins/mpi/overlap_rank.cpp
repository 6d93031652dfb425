// SPDX-License-Identifier: Apache-2.0
// One rank of the proof that transfers go on while a rank computes. Run it on 2 ranks, with the path of a file that is not
// there. Rank 0 posts 8 MB, and from then on does not call the communicator until rank 1 has all of them and makes the file;
// without a thread that moves data meanwhile, it would wait in vain.
#include <chrono>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <thread>
#include <vector>

#include "mpi_rank.hpp"

namespace {

using namespace std::chrono_literals;

bool appears(const std::filesystem::path& file) {
  const auto end = std::chrono::steady_clock::now() + 30s;
  while (!std::filesystem::exists(file) && std::chrono::steady_clock::now() < end) std::this_thread::sleep_for(1ms);
  return std::filesystem::exists(file);
}

int run(onebit::Communicator& self, const std::filesystem::path& file) {
  constexpr int64_t kBytes = 4'000'000;
  std::vector<char> in(2 * kBytes, static_cast<char>(self.rank() + 1)), out(2 * kBytes);
  const onebit::Part parts[] = {{0, kBytes}, {kBytes, kBytes}};
  onebit::Request* request = self.all_to_all(in.data(), parts, out.data(), parts, onebit::Call());
  if (self.rank() == 0 && !appears(file)) return std::puts("nothing moved while rank 0 was busy"), 1;
  self.wait(request);
  if (self.rank() == 1) std::ofstream(file) << "done";
  self.barrier(onebit::Call());
  if (out[0] != 1 || out[2 * kBytes - 1] != 2) return std::puts("other bytes"), 1;
  if (self.rank() == 0) std::puts("8 MB moved while rank 0 was busy");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    onebit::Registry registry;
    return argc == 2 ? run(*onebit::test::mpi_communicator(registry), argv[1]) : 2;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
