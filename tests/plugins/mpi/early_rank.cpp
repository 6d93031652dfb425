// SPDX-License-Identifier: Apache-2.0
// One rank that trains twice with each optimizer, with all gradients of a step at once, and with steps that begin before these
// are there, and saves both into FOLDER/OPTIMIZER/at_once and .../early. Run it under mpirun: early_rank FOLDER.
#include <cstdio>
#include <exception>
#include <limits>

#include "support/gradients.hpp"
#include "support/sessions.hpp"

namespace {

using namespace onebit;
using namespace onebit::test;

const Tensors model = {std::vector<float>(9000, 0.5F), std::vector<float>(17, -1.0F), std::vector<float>(5000, 0.25F)};

const char* const optimizers[][2] = {
    {"adam", ""},
    {"lamb", ""},
    {"onebit_adam", "freeze_step = 4\n"},
    {"onebit_lamb", "freeze_step = 4\n"},
    {"zeroone_adam", "var_freeze_step = 4\nvar_update_scaler = 2\nlocal_step_scaler = 8\nlocal_step_clipper = 4\n"}};

// A step that can't be used, and some without one of the gradients, are among them.
std::vector<const float*> gradients_of(Tensors& values, int64_t step, int rank) {
  values = noisy(model, step, rank);
  if (step == 9 && rank == 1) values[0][11] = std::numeric_limits<float>::quiet_NaN();
  std::vector<const float*> given = pointers(values);
  if (step % 4 == 1) given[1] = nullptr;
  if (step % 5 == 2 && rank == 0) given[2] = nullptr;
  return given;
}

void train(const std::string& optimizer, const std::string& keys, bool early, const std::filesystem::path& folder) {
  const std::string toml = "[optimizer]\nplugin = \"" + optimizer + "\"\nlr = 0.01\n" + keys +
                           "[compressor]\nplugin = \"onebit\"\n[communicator]\nplugin = \"mpi\"\n"
                           "[exchange]\nbucket_bytes = 16384\nahead_bytes = 40000\n";
  onebit_rendezvous nobody = {};
  nobody.struct_size = sizeof nobody;
  Tensors own = model;
  Session session(plugins(), configure(toml), nobody, parameters_of(own));
  for (int64_t step = 1; step <= 20; ++step) {
    Tensors values;
    const std::vector<const float*> given = gradients_of(values, step, session.rank());
    if (!early) {
      session.step(given);
      continue;
    }
    session.begin();
    for (size_t t = given.size(); t-- > 0;)
      if (given[t] != nullptr) session.ready(t, given[t]);
    session.step();
  }
  session.save(folder / (early ? "early" : "at_once"));
  const auto steps = static_cast<int64_t>(session.traffic().agreement_bytes) / ((session.size() - 1) * 48);
  if (session.rank() == 0) std::printf("%s: %s agreements\n", optimizer.c_str(), steps > 30 ? "two" : "single");
}

}  // namespace

int main(int, char** argv) {
  try {
    for (const auto& [optimizer, keys] : optimizers)
      for (const bool early : {false, true}) train(optimizer, keys, early, std::filesystem::path(argv[1]) / optimizer);
    return 0;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
