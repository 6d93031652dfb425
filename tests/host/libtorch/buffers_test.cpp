// SPDX-License-Identifier: Apache-2.0
// broadcast_buffers: what a module keeps besides its parameters, on all ranks as on rank 0.
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "doctest_beside_torch.hpp"
#include "launch/ranks.hpp"
#include "onebit/error.hpp"
#include "onebit/torch.hpp"
#include "support/sessions.hpp"

using onebit::Error;

namespace {

struct Normed : torch::nn::Module {
  Normed() {
    register_module("linear", linear);
    register_module("norm", norm);
  }
  torch::Tensor forward(const torch::Tensor& x) { return norm(linear(x)); }
  torch::nn::Linear linear{6, 5};
  torch::nn::BatchNorm1d norm{5};
};

using Make = std::function<std::shared_ptr<torch::nn::Module>(int rank)>;
using Body = std::function<void(torch::nn::Module& module, onebit::Session& session)>;

// The text of the error on each rank.
std::vector<std::string> run(int ranks, const Make& make, const Body& body) {
  const onebit::Configuration configuration = onebit::test::configure(
      "[optimizer]\nplugin = \"adam\"\nlr = 0.01\n[communicator]\nplugin = \"threads\"\ntimeout = 60\n");
  std::vector<std::string> found(static_cast<size_t>(ranks));
  onebit::LocalRendezvous rendezvous(ranks);
  onebit::host::run_ranks(ranks, [&](int rank) {
    try {
      const auto module = make(rank);
      onebit::Session session(onebit::test::plugins(), configuration, rendezvous.at(rank), onebit::parameters_of(*module));
      body(*module, session);
    } catch (const Error& e) {
      found[static_cast<size_t>(rank)] = e.what();
    }
  });
  return found;
}

// A module that tests give buffers.
struct Kept : torch::nn::Module {
  torch::Tensor weight = register_parameter("weight", torch::ones({2}));
};

}  // namespace

TEST_CASE("BatchNorm's running values drift apart, and are those of rank 0 after broadcast_buffers") {
  std::vector<std::shared_ptr<Normed>> modules;
  for (int rank = 0; rank < 3; ++rank) modules.push_back(std::make_shared<Normed>());
  modules[1]->norm->running_var.fill_(7);  // ranks begin with other ones, too
  torch::Tensor first;
  const auto errors = run(
      3, [&](int rank) { return modules[static_cast<size_t>(rank)]; },
      [&](torch::nn::Module& module, onebit::Session& session) {
        auto& normed = static_cast<Normed&>(module);
        for (int step = 0; step < 3; ++step) {
          module.zero_grad();
          const torch::Tensor x = torch::sin(torch::arange(8 * 6, torch::kFloat32) * (1 + session.rank()) + step).view({8, 6});
          normed.forward(x).pow(2).sum().backward();
          session.step(onebit::gradients_of(module));
        }
        session.communicator().barrier(onebit::Call());
        if (session.rank() == 0) {
          CHECK(!torch::equal(modules[0]->norm->running_mean, modules[2]->norm->running_mean));  // so DDP sends them
          modules[0]->norm->num_batches_tracked.fill_(1234567890123);
          first = modules[0]->norm->running_var.clone();
        }
        session.communicator().barrier(onebit::Call());
        const uint64_t sent = session.traffic().other_bytes;
        onebit::broadcast_buffers(module, session);
        if (session.rank() == 0) CHECK(session.traffic().other_bytes > sent);
      });
  for (const std::string& text : errors) CHECK(text == "");
  for (const auto& module : modules) {
    CHECK(torch::equal(module->norm->running_mean, modules[0]->norm->running_mean));
    CHECK(torch::equal(module->norm->running_var, first));
    CHECK(module->norm->num_batches_tracked.item<int64_t>() == 1234567890123);
  }
}

TEST_CASE("buffers of any type and order arrive, and keep theirs") {
  std::vector<std::shared_ptr<Kept>> modules;
  const std::vector<torch::ScalarType> types = {torch::kFloat64, torch::kBFloat16, torch::kFloat16, torch::kBool,
                                                torch::kUInt8};
  for (int rank = 0; rank < 2; ++rank) {
    const auto module = std::make_shared<Kept>();
    for (size_t t = 0; t < types.size(); ++t)
      module->register_buffer("b" + std::to_string(t), torch::full({3}, 1 - rank, torch::TensorOptions(types[t])));
    module->register_buffer("none", torch::empty({0}));
    module->register_buffer("undefined", torch::Tensor());
    module->register_buffer("turned", torch::arange(6 * (1 - rank), 6 * (1 - rank) + 6).view({2, 3}).t());
    modules.push_back(module);
  }
  for (const std::string& text : run(
           2, [&](int rank) { return modules[static_cast<size_t>(rank)]; },
           [](torch::nn::Module&module, onebit::Session&session) { onebit::broadcast_buffers(module, session); }))
    CHECK(text == "");
  const auto buffers = modules[1]->named_buffers();
  for (size_t t = 0; t < types.size(); ++t) {
    CHECK((buffers["b" + std::to_string(t)].scalar_type() == types[t]));
    CHECK(buffers["b" + std::to_string(t)].to(torch::kFloat32).sum().item<float>() == 3);
  }
  CHECK(torch::equal(buffers["turned"], torch::arange(6, 12).view({2, 3}).t()));
  CHECK(!buffers["turned"].is_contiguous());
}

TEST_CASE("ranks with other buffers, or with one that can't be sent, are told so, all of them") {
  const auto told = [](const std::function<void(Kept&)>& change) {
    return run(
        3,
        [&](int rank) {
          const auto module = std::make_shared<Kept>();
          module->register_buffer("mean", torch::zeros({4}));
          if (rank == 1) change(*module);
          return module;
        },
        [](torch::nn::Module& module, onebit::Session& session) { onebit::broadcast_buffers(module, session); });
  };
  const auto more = told([](Kept& module) { module.register_buffer("mask", torch::zeros({2, 2})); });
  CHECK(more[1] ==
        "rank 1 has other buffers than rank 0: 'mask' (Float [2, 2]) where rank 0 has none more: make the same module on every "
        "rank");
  for (const size_t rank : {0U, 2U}) CHECK(more[rank].find("rank 1 has other buffers than rank 0") != std::string::npos);
  const auto other = told([](Kept& module) { module.named_buffers()["mean"].set_data(torch::zeros({5})); });
  CHECK(other[1].find("'mean' (Float [5]) where rank 0 has 'mean' (Float [4])") != std::string::npos);
  const auto sparse = told([](Kept& module) { module.register_buffer("s", torch::ones({2}).to_sparse()); });
  for (const std::string& text : sparse) CHECK(text.find("buffer 's' is Sparse") != std::string::npos);
}
