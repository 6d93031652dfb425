// SPDX-License-Identifier: Apache-2.0
// One rank of a program whose session outlives MPI, in one of several ways: lifetime_rank WAY. Run it on 2 ranks.
//   alive    this program's MPI is finalized while a session lives; the session is used, and destroyed, afterwards
//   static   the same, and a static session is destroyed when main has returned
//   global   the same, of a global one, which is destroyed after all that is static in functions
//   own      onebit has started MPI, and ends it at exit: with a static session
//   own_global
//   fork     a child process ends, with its copy of a static session, while the ranks go on
//   killed   rank 1 is killed between begin() and step(), when some of its gradients have been sent
#include <mpi.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "onebit/mpi.hpp"
#include "onebit/session.hpp"

using namespace onebit;

namespace {

std::vector<float> parameter(5, 1), gradient(5, 1);
std::unique_ptr<Session> global;

std::unique_ptr<Session> make(const onebit_rendezvous& rendezvous) {
  const Manifest manifest = Manifest::parse(
      "[optimizer]\nplugin = \"adam\"\n[communicator]\nplugin = \"mpi\"\n[session]\nthreads = 2", "rank.toml", ".");
  Registry registry;
  registry.load(manifest);
  const Configuration configuration(registry, manifest);
  auto session =
      std::make_unique<Session>(registry, configuration, rendezvous, std::vector<Parameter>{{"weight", {5}, parameter.data()}});
  session->step({gradient.data()});
  return session;
}

std::unique_ptr<Session> make_on_own_mpi() {
  onebit_rendezvous nobody = {};
  nobody.struct_size = sizeof nobody;
  return make(nobody);
}

void keep_in_static(std::unique_ptr<Session> session) {
  static std::unique_ptr<Session> kept;
  kept = std::move(session);
}

// Answers whether the child ended well.
bool child_ends(Session& session) {
  const pid_t child = ::fork();
  if (child == 0) {
    try {
      session.step({gradient.data()});
      std::_Exit(3);
    } catch (const Error&) {
      std::exit(0);  // and so destroys what is static
    }
  }
  int status = 1;
  ::waitpid(child, &status, 0);
  return status == 0;
}

void use_after_finalize(std::unique_ptr<Session> session) {
  MPI_Finalize();
  try {
    session->step({gradient.data()});
  } catch (const Error& e) {
    std::printf("told: %s\n", e.what());
  }
}

int die_while_gradients_come(const MpiRendezvous& rendezvous) {
  const Manifest manifest = Manifest::parse(
      "[optimizer]\nplugin = \"adam\"\n[communicator]\nplugin = \"mpi\"\n[exchange]\nbucket_bytes = 4096\nahead_bytes = "
      "30000\n",
      "rank.toml", ".");
  Registry registry;
  registry.load(manifest);
  std::vector<float> values(9000, 1);
  std::vector<Parameter> parameters;
  for (int64_t t = 0; t < 3; ++t) parameters.push_back({"t" + std::to_string(t), {3000}, values.data() + 3000 * t});
  const std::vector<float> gradients(9000, 1);
  Session session(registry, Configuration(registry, manifest), rendezvous.view(), std::move(parameters));
  for (int step = 1; step <= 3; ++step) {
    session.begin();
    for (size_t t = 3; t-- > 0;) {
      if (step == 3 && t == 0 && session.rank() == 1) {
        std::this_thread::sleep_for(std::chrono::milliseconds(200));  // what has come is on its way
        ::raise(SIGKILL);
      }
      session.ready(t, gradients.data() + 3000 * t);
    }
    session.step();
  }
  std::printf("went on\n");
  return 0;
}

int run(const std::string& way) {
  const bool own = way.rfind("own", 0) == 0;
  int level = 0;
  if (!own) MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &level);
  std::unique_ptr<Session> session;
  if (own) {
    session = make_on_own_mpi();
  } else {
    const MpiRendezvous rendezvous(MPI_COMM_WORLD);
    if (way == "killed") return die_while_gradients_come(rendezvous);
    session = make(rendezvous.view());
  }
  if (way == "alive") {
    use_after_finalize(std::move(session));
    std::printf("done\n");
    return 0;
  }
  Session& kept = *session;
  way == "global" || way == "own_global" ? void(global = std::move(session)) : keep_in_static(std::move(session));
  if (way == "fork" && !child_ends(kept)) return 4;
  kept.step({gradient.data()});
  if (!own) MPI_Finalize();
  std::printf("done\n");
  return 0;
}

}  // namespace

int main(int, char** argv) {
  try {
    return run(argv[1]);
  } catch (const std::exception& e) {
    std::printf("failed: %s\n", e.what());
    return 1;
  }
}
