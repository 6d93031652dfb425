// SPDX-License-Identifier: Apache-2.0
// One rank of three that are processes, joined by `tcp`: tcp_rank VICTIM SIGNAL. The victim gives itself the signal, KILL or
// STOP, in the middle of a collective; the others say what they are told, and how long that took.
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <string>
#include <vector>

#include "onebit/manifest.hpp"
#include "onebit/registry.hpp"
#include "onebit/rendezvous.hpp"

using namespace onebit;

namespace {

constexpr int64_t kBytes = 40'000'000;

std::unique_ptr<Communicator> join(const Registry& registry, const onebit_rendezvous& rendezvous) {
  const ComponentInfo& tcp = registry.find(Kind::communicator, "tcp");
  const Manifest manifest =
      Manifest::parse("[communicator]\nplugin = \"tcp\"\ninterface = \"lo\"\ntimeout = 10", "rank.cpp", ".");
  return registry.make_communicator(tcp, ResolvedTable(manifest, "communicator", tcp.options, true), rendezvous);
}

// The victim's part never comes.
void gather(Communicator& self, int victim, int signal) {
  const auto size = static_cast<size_t>(self.size());
  std::vector<char> in(kBytes), out(kBytes * size);
  std::vector<Part> parts(size);
  for (size_t r = 0; r < size; ++r) parts[r] = {static_cast<int64_t>(r) * kBytes, kBytes};
  Request* request = self.all_gather(in.data(), out.data(), parts.data(), Call());
  if (self.rank() == victim) ::kill(::getpid(), signal);
  self.wait(request, -1);
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 3) return 2;
  const int victim = std::atoi(arguments[1]), signal = std::string(arguments[2]) == "STOP" ? SIGSTOP : SIGKILL;
  Registry registry;
  registry.load(Registry::default_folder() / "onebit_plugin_tcp.so");
  const TcpRendezvous rendezvous(launched_rank_from_environment().value());
  const auto self = join(registry, rendezvous.view());
  self->barrier(Call());
  const auto begin = std::chrono::steady_clock::now();
  try {
    gather(*self, victim, signal);
    return 3;
  } catch (const Error& e) {
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    std::printf("[rank %d] code %d %s: %s\n", self->rank(), static_cast<int>(e.code()), seconds < 40 ? "in time" : "late",
                e.what());
    return 0;
  }
}
