// SPDX-License-Identifier: Apache-2.0
// One rank of a program whose session outlives MPI, in one of several ways: lifetime_rank WAY. Run it on 2 ranks.
//   alive    this program's MPI is finalized while a session lives; the session is used, and destroyed, afterwards
//   static   the same, and a static session is destroyed when main has returned
//   global   the same, of a global one, which is destroyed after all that is static in functions
//   own      onebit has started MPI, and ends it at exit: with a static session
//   own_global
//   fork     a child process ends, with its copy of a static session, while the ranks go on
#include <mpi.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
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

int run(const std::string& way) {
  const bool own = way.rfind("own", 0) == 0;
  int level = 0;
  if (!own) MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &level);
  std::unique_ptr<Session> session;
  if (own) {
    session = make_on_own_mpi();
  } else {
    const MpiRendezvous rendezvous(MPI_COMM_WORLD);
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
