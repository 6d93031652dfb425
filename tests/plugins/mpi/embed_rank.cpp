// SPDX-License-Identifier: Apache-2.0
// One rank of a program that uses MPI itself and gives onebit a communicator of its own. Run it on 4 ranks. Argument: "single",
// to see what onebit says about an MPI without threads; "threads", to see what it says where that communicator is selected.
#include <mpi.h>

#include <cstdio>
#include <cstring>
#include <exception>
#include <string>
#include <vector>

#include "onebit/mpi.hpp"
#include "onebit/session.hpp"

namespace {

// Two groups train apart, each on the mean of its own gradients. Answers whether this rank's parameter is its group's.
bool train(MPI_Comm group, int color, const std::string& communicator) {
  const onebit::Manifest manifest = onebit::Manifest::parse(
      "[optimizer]\nplugin = \"adam\"\nlr = 0.5\nbias_correction = false\n[communicator]\nplugin = \"" + communicator + '"',
      "embed.toml", ".");
  onebit::Registry registry;
  registry.load(manifest);
  const onebit::Configuration configuration(registry, manifest);
  const onebit::MpiRendezvous rendezvous(group);
  std::vector<float> parameter(5, 1);
  onebit::Session session(registry, configuration, rendezvous.view(), {{"weight", {5}, parameter.data()}});
  const float sign = session.size() == 1 ? 1 : session.rank() == 0 ? 3 : -1;  // the mean is 1, with the group's sign
  const std::vector<float> gradient(5, color == 0 ? sign : -sign);
  for (int step = 0; step < 3; ++step) session.step({gradient.data()});
  if (session.size() == 1) return parameter[4] < 1;
  return session.size() == 2 && (color == 0 ? parameter[4] < 1 : parameter[4] > 1);
}

int run(const std::string& communicator) {
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm group = MPI_COMM_NULL;
  MPI_Comm_split(MPI_COMM_WORLD, rank % 2, -rank, &group);
  const bool right = train(group, rank % 2, communicator);
  MPI_Comm_free(&group);
  std::printf("rank %d: %s\n", rank, right ? "trained with its group" : "WRONG");
  return right ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  const bool single = argc > 1 && std::strcmp(argv[1], "single") == 0;
  int level = 0, status = 1;
  MPI_Init_thread(&argc, &argv, single ? MPI_THREAD_SINGLE : MPI_THREAD_MULTIPLE, &level);
  try {
    status = run(argc > 1 && !single ? argv[1] : "mpi");
  } catch (const std::exception& e) {
    std::printf("%s\n", e.what());
  }
  MPI_Finalize();  // it is this program's MPI
  return status;
}
