// SPDX-License-Identifier: Apache-2.0
// One rank of a run that is saved after every step, or that goes on from a checkpoint. Run it under mpirun. Arguments: the
// configuration, the last step, the folder to save into; to go on, also the checkpoint.
#include <cstdio>
#include <exception>

#include "core/saving/saving_runs.hpp"

namespace {

using namespace onebit;
using namespace onebit::test;

void run(const Configuration& configuration, int64_t last, const fs::path& root, const fs::path& from) {
  onebit_rendezvous nobody = {};
  nobody.struct_size = sizeof nobody;
  Tensors own = from.empty() ? saved_model() : garbage(0);
  Session session(plugins(), configuration, nobody, shaped(own));
  if (!from.empty()) {
    const LoadReport report = session.load(from);
    require(report.afresh.empty() && report.changed.empty() && report.refused.empty(), "something was not restored");
    session.save(root);
  }
  for (int64_t step = session.next_step(); step <= last; ++step) {
    take_step(session, step);
    session.save(root);
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc < 4) return 2;
    run(Configuration(plugins(), Manifest::load(argv[1])), std::stoll(argv[2]), argv[3], argc > 4 ? argv[4] : "");
    return 0;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
