// SPDX-License-Identifier: Apache-2.0
// Two sessions of one process that end in an unusual order: session_lifetimes WAY [COMMUNICATOR]. Exit status 0, and nothing
// but "done" is said, when all is well. The communicator is `threads`, or that one, over the loopback interface.
//   static      they are destroyed when main has returned
//   registry    the registry goes first, and steps are taken without it
//   rendezvous  the rendezvous goes first, likewise
//   model       the parameters go first
//   fork        a child process ends, with its copy of the sessions, while they go on here
//   fork_step   a child process takes a step
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "onebit/configuration.hpp"
#include "onebit/registry.hpp"
#include "onebit/rendezvous.hpp"
#include "onebit/session.hpp"

using namespace onebit;

namespace {

constexpr int kRanks = 2;
constexpr int64_t kElements = 20'000;

void on_all(const std::function<void(size_t)>& f) {
  std::vector<std::thread> threads;
  for (size_t rank = 0; rank < kRanks; ++rank) threads.emplace_back([&f, rank] { f(rank); });
  for (std::thread& thread : threads) thread.join();
}

// All that a run has, to be let go piece by piece.
struct Run {
  std::optional<Registry> registry{std::in_place};
  std::optional<LocalRendezvous> rendezvous{std::in_place, kRanks};
  std::vector<std::vector<float>> models{kRanks, std::vector<float>(kElements, 1)};
  std::vector<std::unique_ptr<Session>> sessions{kRanks};

  explicit Run(const std::string& name) {
    const std::string communicator = name.empty() ? "plugin = \"threads\"" : "plugin = \"" + name + "\"\ninterface = \"lo\"";
    const Manifest manifest =
        Manifest::parse("[optimizer]\nplugin = \"adam\"\n[session]\nthreads = 3\n[communicator]\ntimeout = 20\n" + communicator,
                        "run.toml", ".");
    registry->load(manifest);
    const Configuration configuration(*registry, manifest);
    on_all([&](size_t rank) {
      sessions[rank] = std::make_unique<Session>(*registry, configuration, rendezvous->at(static_cast<int>(rank)),
                                                 std::vector<Parameter>{{"weight", {kElements}, models[rank].data()}});
    });
    step();
  }
  void step() {
    const std::vector<float> gradient(kElements, 0.5F);
    on_all([&](size_t rank) { sessions[rank]->step({gradient.data()}); });
  }
};

// Answers how a child process that does this ended; 9 when it did not in a minute.
int in_child(const std::function<void()>& f) {
  const pid_t child = ::fork();
  if (child == 0) {
    f();
    std::exit(0);  // and so destroys what is static
  }
  int status = 0;
  for (int waited = 0; ::waitpid(child, &status, WNOHANG) == 0; ++waited) {
    if (waited == 6000) ::kill(child, SIGKILL);
    ::usleep(10'000);
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 9;
}

// In a fork, on a model that belongs to a session of the process before it.
void train_anew(std::vector<float>& model) {
  Registry registry;
  const Manifest manifest =
      Manifest::parse("[optimizer]\nplugin = \"adam\"\n[communicator]\nplugin = \"threads\"", "run.toml", ".");
  registry.load(manifest);
  LocalRendezvous rendezvous(1);
  Session session(registry, Configuration(registry, manifest), rendezvous.at(0), {{"weight", {kElements}, model.data()}});
  const std::vector<float> gradient(kElements, 0.5F);
  session.step({gradient.data()});
}

int run(const std::string& way, const std::string& communicator) {
  static Run all(communicator);
  if (way == "registry") all.registry.reset();
  if (way == "rendezvous") all.rendezvous.reset();
  if (way == "fork" && in_child([] {}) != 0) return 3;
  if (way == "fork" && in_child([] { train_anew(all.models[0]); }) != 0) return 4;
  if (way == "fork_step")
    return in_child([] {
      try {
        all.sessions[0]->step({nullptr});
      } catch (const Error& e) {
        std::printf("%s\n", e.what());
      }
    });
  all.step();
  if (way == "registry" || way == "rendezvous") all.sessions.clear();
  if (way == "model") all.models.clear();
  if (way == "model") all.sessions.clear();
  return 0;
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 2) return 2;
  try {
    const int status = run(arguments[1], count > 2 ? arguments[2] : "");
    if (status == 0) std::printf("done\n");
    return status;
  } catch (const std::exception& e) {
    std::printf("failed: %s\n", e.what());
    return 1;
  }
}
