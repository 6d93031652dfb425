// SPDX-License-Identifier: Apache-2.0
// The embedding that the README shows: Session in somebody's own libtorch loop. The part between the marks is quoted there; it
// comes before all other headers, for it needs none.
// [embed]
#include <onebit/data_parallel.hpp>
// [embed]

namespace {

// What everybody has already: a model, data, a loss.
struct Line : torch::nn::Module {
  Line() { register_module("linear", linear); }
  torch::Tensor forward(const torch::Tensor& x) { return linear(x); }
  torch::nn::Linear linear{1, 1};
};
using Model = Line;

torch::Tensor loss_of(Model& model, int rank, int step) {
  const torch::Tensor x =
      torch::tensor({0.1f * static_cast<float>(step % 10), 1.0f + static_cast<float>(rank)}).reshape({2, 1});
  return torch::mse_loss(model.forward(x), 3 * x - 1);
}

// [embed]
void train(Model& model, const std::string& config, const onebit_rendezvous& rendezvous, int steps) {
  onebit::Manifest manifest = onebit::Manifest::load(config);
  onebit::Registry registry;
  registry.load(manifest);  // the plugins that the manifest names, and the built-in ones
  onebit::Configuration configuration(registry, manifest);
  onebit::Session session(registry, configuration, rendezvous, onebit::parameters_of(model));
  onebit::DataParallel parallel(model, session);
  for (int step = 0; step < steps; ++step) {
    model.zero_grad();
    loss_of(model, session.rank(), step).backward();  // sends gradients as they come
    session.step();                                   // in place of optimizer.step()
  }
}
// [embed]

}  // namespace

#undef CHECK  // libtorch's, which would end the program
#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>
#include <vector>

#include "launch/ranks.hpp"
#include "onebit/rendezvous.hpp"
#include "support/scratch_folder.hpp"

namespace {

const char* const kManifest =
    "[optimizer]\nplugin = \"onebit_adam\"\nfreeze_step = 100\nlr = 0.05\n"
    "[compressor]\nplugin = \"onebit\"\n[communicator]\nplugin = \"threads\"\n";

}  // namespace

TEST_CASE("the embedding of the README trains a model, the same on all ranks") {
  const ScratchFolder folder;
  const std::string config = folder.file("config.toml", kManifest).string();
  onebit::LocalRendezvous rendezvous(2);
  std::vector<Model> models(2);
  onebit::host::run_ranks(2, [&](int rank) { train(models[static_cast<size_t>(rank)], config, rendezvous.at(rank), 600); });
  for (size_t k = 0; k < 2; ++k) CHECK(torch::equal(models[0].parameters()[k], models[1].parameters()[k]));
  CHECK(std::fabs(models[0].linear->weight.item<float>() - 3) < 0.1);
  CHECK(std::fabs(models[0].linear->bias.item<float>() + 1) < 0.1);
}

TEST_CASE("the embedding of the README takes the manifests of configs/ as they are") {
  int trained = 0;
  for (const auto& entry : std::filesystem::directory_iterator(ONEBIT_SOURCE_DIR "/configs")) {
    if (entry.path().stem() == "nccl") continue;  // which is for GPUs
    CAPTURE(entry.path().string());
    onebit::LocalRendezvous alone(1);
    Model model;
    const torch::Tensor before = model.linear->weight.detach().clone();
    CHECK_NOTHROW(train(model, entry.path().string(), alone.at(0), 3));
    CHECK_FALSE(torch::equal(model.linear->weight, before));
    ++trained;
  }
  CHECK(trained >= 5);
}
