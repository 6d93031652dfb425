// SPDX-License-Identifier: Apache-2.0
// DataParallel: session.step(gradients_of(module)) is the judge, to the bit, on two ranks.
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "doctest_beside_torch.hpp"
#include "launch/ranks.hpp"
#include "onebit/data_parallel.hpp"
#include "onebit/error.hpp"
#include "support/error_text.hpp"
#include "support/scratch_folder.hpp"
#include "support/sessions.hpp"

using onebit::DataParallel;
using onebit::Session;
using onebit::test::error_of;

namespace {

const char* const kParallelToml =
    "[optimizer]\nplugin = \"onebit_adam\"\nfreeze_step = 4\nlr = 0.01\n[compressor]\nplugin = \"onebit\"\n"
    "[communicator]\nplugin = \"threads\"\ntimeout = 60\n[exchange]\nbucket_bytes = 4096\n";

// A convolution in another memory format, a tied weight, a buffer, and a head that is used now and then.
struct Mixed : torch::nn::Module {
  Mixed() {
    register_module("conv", conv);
    register_module("norm", norm);
    register_module("first", first);
    register_module("second", second);
    register_module("head", head);
    register_parameter("tied", first->weight);
    to_channels_last();
  }
  void to_channels_last() { conv->weight.set_data(conv->weight.detach().clone(torch::MemoryFormat::ChannelsLast)); }
  // All but the normalisation, as mixed precision does it.
  void to_half(torch::ScalarType type) {
    for (torch::nn::Module* part : std::initializer_list<torch::nn::Module*>{conv.get(), first.get(), second.get(), head.get()})
      part->to(type);
    to_channels_last();
  }
  torch::Tensor features(const torch::Tensor& x) {
    const torch::Tensor seen = norm(conv(x.to(conv->weight.dtype())).to(torch::kFloat32)).relu().flatten(1);
    return seen.to(first->weight.dtype()).matmul(first->weight.t());
  }
  torch::Tensor loss(const torch::Tensor& x, bool with_head) {
    const torch::Tensor middle = second(features(x).relu());
    const torch::Tensor end = middle.matmul(first->weight.slice(1, 0, 24)).pow(2).mean();
    return with_head ? end + head(middle).sin().mean() : end;
  }
  torch::nn::Conv2d conv{torch::nn::Conv2dOptions(3, 8, 3)};
  torch::nn::BatchNorm2d norm{8};
  torch::nn::Linear first{torch::nn::LinearOptions(8 * 4, 24).bias(false)}, second{24, 24}, head{24, 3};
};

torch::Tensor pixels_of(int rank, int step) {
  torch::manual_seed(1000 * rank + step);
  return torch::randn({4, 3, 4, 4});
}

using Pass = std::function<void(Mixed&, DataParallel*, int rank, int step)>;

// The parameters of both ranks after some steps, in which `pass` makes the gradients.
std::vector<torch::Tensor> train_mixed(bool parallel, const Pass& pass, torch::ScalarType type, int steps = 12) {
  onebit::LocalRendezvous rendezvous(2);
  std::vector<std::shared_ptr<Mixed>> models;
  for (int rank = 0; rank < 2; ++rank) {
    torch::manual_seed(7);
    models.push_back(std::make_shared<Mixed>());
    if (type != torch::kFloat32) models.back()->to_half(type);
  }
  onebit::host::run_ranks(2, [&](int rank) {
    torch::set_num_threads(1);
    Mixed& model = *models[static_cast<size_t>(rank)];
    Session session(onebit::test::plugins(), onebit::test::configure(kParallelToml), rendezvous.at(rank),
                    onebit::parameters_of(model));
    const auto made = parallel ? std::make_unique<DataParallel>(model, session) : nullptr;
    for (int step = 1; step <= steps; ++step) {
      pass(model, made.get(), rank, step);
      if (parallel)
        session.step();
      else
        session.step(onebit::gradients_of(model));
    }
  });
  std::vector<torch::Tensor> after;
  for (const auto& model : models)
    for (const torch::Tensor& parameter : model->parameters()) after.push_back(parameter.detach().clone());
  return after;
}

torch::Tensor pixels(int rank, int step) {
  static std::mutex random;  // libtorch's generator is the process's
  const std::lock_guard<std::mutex> lock(random);
  return pixels_of(rank, step);
}

void check_same_steps(const Pass& pass, torch::ScalarType type = torch::kFloat32) {
  const std::vector<torch::Tensor> found = train_mixed(true, pass, type), expected = train_mixed(false, pass, type);
  REQUIRE(found.size() == expected.size());
  for (size_t i = 0; i < found.size(); ++i) {
    CAPTURE(i);
    CHECK(torch::equal(found[i], expected[i]));
    CHECK(torch::equal(found[i], found[(i + found.size() / 2) % found.size()]));  // the other rank's
  }
}

// One rank, and its DataParallel. before: what is done to the model before there is a session.
struct Alone {
  explicit Alone(const std::function<void(Mixed&)>& before = nullptr)
      : session(onebit::test::plugins(), onebit::test::configure(kParallelToml), rendezvous.at(0), parameters(before)),
        parallel(model, session) {}
  std::vector<onebit::Parameter> parameters(const std::function<void(Mixed&)>& before) {
    if (before) before(model);
    return onebit::parameters_of(model);
  }
  onebit::LocalRendezvous rendezvous{1};
  Mixed model;
  Session session;
  const DataParallel parallel;
};

}  // namespace

TEST_CASE("DataParallel: the same steps, with a head that is used now and then, or on one rank") {
  check_same_steps([](Mixed& model, DataParallel*, int rank, int step) {
    model.zero_grad();
    for (torch::Tensor& parameter : model.parameters()) parameter.mutable_grad() = torch::Tensor();
    model.loss(pixels(rank, step), step % 3 == 0 || (step % 5 == 0 && rank == 0)).backward();
  });
}

TEST_CASE("DataParallel: parameters of 16 bits, beside some of fp32: sums of fp32 gradients, and masters that learn") {
  const Pass pass = [](Mixed& model, DataParallel*, int rank, int step) {
    for (torch::Tensor& parameter : model.parameters()) parameter.mutable_grad() = torch::Tensor();
    model.loss(pixels(rank, step), step % 3 == 0).backward();
    CHECK(onebit::detail::is_half(model.first->weight.grad()));
  };
  check_same_steps(pass, torch::kBFloat16);
}

TEST_CASE("DataParallel: a module of bf16 is one of fp32 that had the same gradients, rounded") {
  torch::manual_seed(5);
  torch::nn::Linear half(40, 32), whole(40, 32);
  half->to(torch::kBFloat16);
  {
    const torch::NoGradGuard no_gradients;
    whole->weight.copy_(half->weight);
    whole->bias.copy_(half->bias);
  }
  onebit::LocalRendezvous first(1), second(1);
  const onebit::Configuration configuration = onebit::test::configure(kParallelToml);
  Session trains_half(onebit::test::plugins(), configuration, first.at(0), onebit::parameters_of(*half));
  Session trains_whole(onebit::test::plugins(), configuration, second.at(0), onebit::parameters_of(*whole));
  CHECK(trains_half.footprint().masters == 4 * (40 * 32 + 32));
  CHECK(trains_whole.footprint().masters == 0);
  const DataParallel parallel(*half, trains_half);
  for (int step = 1; step <= 20; ++step) {
    half->zero_grad();
    if (step == 7) half->weight.mutable_grad() = torch::zeros({32, 40});  // as Module::to() leaves an fp32 gradient
    half(torch::randn({4, 40}).to(torch::kBFloat16)).pow(2).sum().backward();
    whole->weight.mutable_grad() = half->weight.grad().to(torch::kFloat32);
    whole->bias.mutable_grad() = half->bias.grad().to(torch::kFloat32);
    trains_half.step();
    trains_whole.step(onebit::gradients_of(*whole));
    CHECK(torch::equal(half->weight, whole->weight.to(torch::kBFloat16)));
    CHECK(torch::equal(half->bias, whole->bias.to(torch::kBFloat16)));
  }
  CHECK(!torch::equal(half->weight.to(torch::kFloat32), whole->weight));  // which are the masters
}

TEST_CASE("DataParallel: gradients that zero_grad() has left as zeros") {
  check_same_steps([](Mixed& model, DataParallel*, int rank, int step) {
    for (torch::Tensor& parameter : model.parameters())
      if (parameter.grad().defined()) parameter.mutable_grad().zero_();
    model.loss(pixels(rank, step), step % 3 == 0).backward();
  });
}

TEST_CASE("DataParallel: accumulation under no_sync, also of what the last pass does not reach") {
  check_same_steps([](Mixed& model, DataParallel* parallel, int rank, int step) {
    for (torch::Tensor& parameter : model.parameters()) parameter.mutable_grad() = torch::Tensor();
    {
      std::unique_ptr<DataParallel::NoSync> guard;
      if (parallel != nullptr) guard = std::make_unique<DataParallel::NoSync>(*parallel);
      model.loss(pixels(rank, 100 + step), true).backward();
    }
    model.loss(pixels(rank, step), false).backward();
  });
}

TEST_CASE("DataParallel: two passes that reach different parameters, no pass at all, and create_graph") {
  check_same_steps([](Mixed& model, DataParallel*, int rank, int step) {
    for (torch::Tensor& parameter : model.parameters()) parameter.mutable_grad() = torch::Tensor();
    if (step % 4 == 2) return;
    const torch::Tensor x = pixels(rank, step);
    model.head(model.second(torch::ones({2, 24})).detach()).sum().backward();
    model.conv(x).pow(3).mean().backward({}, c10::nullopt, step % 2 == 0);
  });
}

TEST_CASE("DataParallel: parameters that are loaded or converted between steps") {
  const ScratchFolder folder;
  {
    torch::manual_seed(11);
    torch::save(std::make_shared<Mixed>()->parameters(), (folder / "model.pt").string());
  }
  check_same_steps([&](Mixed& model, DataParallel*, int rank, int step) {
    if (step == 5) {
      std::vector<torch::Tensor> loaded;
      torch::load(loaded, (folder / "model.pt").string());
      for (size_t i = 0; i < loaded.size(); ++i) model.parameters()[i].set_data(loaded[i].detach());
      model.to_channels_last();
    }
    if (step == 8) {
      model.to(torch::kFloat64);
      model.to(torch::kFloat32);
    }
    for (torch::Tensor& parameter : model.parameters()) parameter.mutable_grad() = torch::Tensor();
    model.loss(pixels(rank, step), true).backward();
  });
}

TEST_CASE("DataParallel: hooks are there again after a module was loaded") {
  Alone alone;
  Mixed& model = alone.model;
  Session& session = alone.session;
  for (int step = 1; step <= 3; ++step) {
    if (step == 2) {
      model.to(torch::kFloat64);
      model.to(torch::kFloat32);
      model.to_channels_last();
    }
    for (torch::Tensor& parameter : model.parameters()) parameter.mutable_grad() = torch::Tensor();
    model.loss(pixels(0, step), true).backward();
    CHECK(session.begun() == (step != 2));  // the graph of the first pass after it has accumulators without hooks
    session.step();
  }
}

TEST_CASE("DataParallel: gradients that share memory, as autograd makes them of sums of views") {
  struct Sums : torch::nn::Module {
    Sums() {
      a = register_parameter("a", torch::ones({300}));
      b = register_parameter("b", torch::ones({300}) * 2);
    }
    torch::Tensor a, b;
  };
  std::vector<torch::Tensor> found;
  for (const bool parallel : {false, true}) {
    onebit::LocalRendezvous rendezvous(1);
    Sums model;
    Session session(onebit::test::plugins(), onebit::test::configure(kParallelToml), rendezvous.at(0),
                    onebit::parameters_of(model));
    const auto made = parallel ? std::make_unique<DataParallel>(model, session) : nullptr;
    for (int step = 1; step <= 6; ++step) {
      for (torch::Tensor& parameter : model.parameters())
        if (parameter.grad().defined()) parameter.mutable_grad().zero_();
      (model.a.unsqueeze(0) + model.b.unsqueeze(0)).pow(2).sum().backward();
      parallel ? session.step() : session.step(onebit::gradients_of(model));
    }
    found.push_back(torch::cat({model.a, model.b}).detach().clone());
  }
  CHECK(torch::equal(found[0], found[1]));
}

TEST_CASE("DataParallel: gradients that are clipped by hand, after they may have been sent, are an error") {
  Alone alone;
  Mixed& model = alone.model;
  Session& session = alone.session;
  model.loss(pixels(0, 1), true).backward();
  torch::nn::utils::clip_grad_norm_(model.parameters(), 1e9);  // leaves them as they are
  session.step();
  model.zero_grad();
  model.loss(pixels(0, 2), true).backward();
  torch::nn::utils::clip_grad_norm_(model.parameters(), 1e-3);
  const std::string error = error_of([&] { session.step(); });
  CHECK_MESSAGE(error.find("' was changed between backward() and step()") != std::string::npos, error);
  CHECK_MESSAGE(error.find("session.clip_norm") != std::string::npos, error);
}

TEST_CASE("DataParallel: a second pass to the same parameter is an error that names it, from backward()") {
  Alone alone;
  Mixed& model = alone.model;
  model.loss(pixels(0, 1), false).backward();
  const std::string error = error_of([&] { model.loss(pixels(0, 2), false).backward(); });
  CHECK_MESSAGE(error.find("' was announced twice in one step") != std::string::npos, error);
  CHECK_MESSAGE(error.find("no_sync()") != std::string::npos, error);
}

TEST_CASE("DataParallel: without it gradients go nowhere, and a module may die before it") {
  onebit::LocalRendezvous rendezvous(1);
  auto model = std::make_shared<Mixed>();
  Session session(onebit::test::plugins(), onebit::test::configure(kParallelToml), rendezvous.at(0),
                  onebit::parameters_of(*model));
  {
    const DataParallel parallel(*model, session);
    model->loss(pixels(0, 1), true).backward();
    session.step();
  }
  model->zero_grad();
  model->loss(pixels(0, 2), true).backward();
  CHECK_FALSE(session.begun());
  session.step(onebit::gradients_of(*model));
  const torch::Tensor loss = model->loss(pixels(0, 3), true);
  const DataParallel parallel(*model, session);
  model.reset();
  loss.backward();
  CHECK(session.begun());
  CHECK(session.step().number == 3);
}

TEST_CASE("DataParallel: what may not happen between backward() and step(), and two at a time") {
  Alone alone;
  Mixed& model = alone.model;
  Session& session = alone.session;
  CHECK(error_of([&] { const DataParallel another(model, session); }).find("announced by somebody else") != std::string::npos);
  model.loss(pixels(0, 1), false).backward();
  session.step();
  model.zero_grad();
  model.loss(pixels(0, 2), false).backward();
  model.second->weight.set_data(model.second->weight.detach().clone());
  const std::string error = error_of([&] { session.step(); });
  CHECK_MESSAGE(error.find("'second.weight' was given other memory between backward() and step()") != std::string::npos, error);
}

TEST_CASE("DataParallel: parameters that are not trainable take no part, and one that ceases to be is an error") {
  Alone alone([](Mixed& model) { model.conv->weight.requires_grad_(false); });
  Mixed& model = alone.model;
  Session& session = alone.session;
  const torch::Tensor before = model.conv->weight.clone();
  model.loss(pixels(0, 1), true).backward();
  session.step();
  CHECK(torch::equal(model.conv->weight, before));
  model.zero_grad();
  model.second->weight.requires_grad_(false);
  const std::string error = error_of([&] {
    model.loss(pixels(0, 2), true).backward();
    session.step();
  });
  CHECK_MESSAGE(error.find("parameter 'second.weight' is not trainable") != std::string::npos, error);
}

TEST_CASE("DataParallel: parameters that become trainable, or are tied no longer, are an error") {
  const auto told = [](const std::function<void(Mixed&)>& before, const std::function<void(Mixed&)>& change) {
    Alone alone(before);
    Mixed& model = alone.model;
    Session& session = alone.session;
    model.loss(pixels(0, 1), true).backward();
    session.step();
    model.zero_grad();
    change(model);
    return error_of([&] {
      model.loss(pixels(0, 2), true).backward();
      session.step();
    });
  };
  CHECK(told([](Mixed& model) { model.conv->weight.requires_grad_(false); },
             [](Mixed& model) { model.conv->weight.requires_grad_(true); })
            .find("parameter 'conv.weight' is trainable") == 0);
  CHECK(told(
            [](Mixed& model) {
              model.head->weight.set_data(torch::zeros({24, 24}));
              model.head->bias.set_data(torch::zeros({24}));
              model.head->weight.set_data(model.second->weight.detach());  // the same memory
            },
            [](Mixed& model) { model.head->weight.set_data(model.head->weight.detach().clone()); })
            .find("no longer in the same memory") != std::string::npos);
}
