// SPDX-License-Identifier: Apache-2.0
// Which tensor is meant, where a module ties weights, is loaded or converted, freezes layers, keeps channels last: libtorch's
// optimizer on the same module is the judge.
#include <functional>
#include <memory>
#include <string>

#include "doctest_beside_torch.hpp"
#include "onebit/error.hpp"
#include "onebit/torch.hpp"
#include "support/error_text.hpp"
#include "support/scratch_folder.hpp"
#include "support/sessions.hpp"

using onebit::Error;
using onebit::test::error_of;

namespace {

const char* const kToml =
    "[optimizer]\nplugin = \"adam\"\nlr = 0.01\nweight_decay = 0.01\n[communicator]\nplugin = \"threads\"\ntimeout = 60\n";

// One rank's session on a module.
struct Trainer {
  explicit Trainer(const torch::nn::Module& module)
      : session(onebit::test::plugins(), onebit::test::configure(kToml), rendezvous.at(0), onebit::parameters_of(module)) {}
  onebit::LocalRendezvous rendezvous{1};
  onebit::Session session;
};

torch::optim::AdamW judge_of(std::vector<torch::Tensor> parameters) {
  return torch::optim::AdamW(std::move(parameters), torch::optim::AdamWOptions(0.01).weight_decay(0.01));
}

// One linear layer, whose gradient is known.
struct Layer : torch::nn::Module {
  Layer() { register_module("linear", linear); }
  void learn() {
    zero_grad();
    linear(torch::ones({2, 64})).sum().backward();
  }
  torch::nn::Linear linear{64, 64};
};

struct Head : torch::nn::Module {
  explicit Head(const torch::Tensor& weight) : weight(register_parameter("weight", weight)) {}
  torch::Tensor weight;
};

// A language model's, whose head is its embedding.
struct Tied : torch::nn::Module {
  Tied() {
    register_module("embed", embed);
    head = register_module("head", std::make_shared<Head>(embed->weight));
  }
  torch::Tensor loss() {
    const torch::Tensor symbols = torch::arange(32);
    return torch::nn::functional::cross_entropy(torch::matmul(embed(symbols), head->weight.t()), (symbols + 1) % 32);
  }
  torch::nn::Embedding embed{32, 16};
  std::shared_ptr<Head> head;
};

}  // namespace

TEST_CASE("a tied weight is one parameter, stepped once: the path of AdamW over it") {
  torch::manual_seed(3);
  Tied tied, reference;
  reference.embed->weight.set_data(tied.embed->weight.detach().clone());
  REQUIRE(tied.named_parameters().size() == 2);  // if libtorch begins to list it once, this test is of nothing
  Trainer trainer(tied);
  REQUIRE(onebit::parameters_of(tied).size() == 1);
  CHECK(onebit::parameters_of(tied)[0].name == "embed.weight");
  torch::optim::AdamW optimizer = judge_of({reference.embed->weight});
  for (int step = 0; step < 20; ++step) {
    tied.zero_grad();
    tied.loss().backward();
    trainer.session.step(onebit::gradients_of(tied));
    optimizer.zero_grad();
    reference.loss().backward();
    optimizer.step();
  }
  CHECK((tied.embed->weight - reference.embed->weight).abs().max().item<float>() < 1e-5);
}

TEST_CASE("a module under two names is one, and so is a tensor with the memory of another, which adds its gradient") {
  struct Twice : torch::nn::Module {
    Twice() {
      register_module("a", layer);
      register_module("b", layer.ptr());
    }
    torch::nn::Linear layer{8, 8};
  } twice;
  CHECK(onebit::parameters_of(twice).size() == 2);
  CHECK(onebit::gradients_of(twice).size() == 2);

  struct Pair : torch::nn::Module {
    torch::Tensor a = register_parameter("a", torch::ones({3, 4}));
    torch::Tensor b = register_parameter("b", a.detach());
    torch::Tensor unused = register_parameter("unused", torch::ones({3}));
  } pair;
  REQUIRE(!pair.a.is_same(pair.b));
  CHECK(onebit::parameters_of(pair).size() == 2);
  (2 * pair.a).sum().backward();
  CHECK(onebit::gradients_of(pair)[0].data == pair.a.grad().data_ptr<float>());
  (5 * pair.b).sum().backward();
  const onebit::ModelGradients both = onebit::gradients_of(pair);
  CHECK(both[0].data[11] == 7);
  CHECK(both[1].data == nullptr);
  CHECK(pair.a.grad()[0][0].item<float>() == 2);
}

TEST_CASE("a parameter that is a view of another's memory is refused by both names") {
  struct Views : torch::nn::Module {
    explicit Views(const std::function<torch::Tensor(torch::Tensor)>& view) {
      const torch::Tensor whole = torch::ones({4, 4});
      register_parameter("whole", whole);
      register_parameter("view", view(whole));
    }
  };
  using View = std::function<torch::Tensor(torch::Tensor)>;
  for (const View& view :
       std::initializer_list<View>{[](const auto& t) { return t[1]; }, [](const auto& t) { return t.t(); },
                                   [](const auto& t) { return t.view(-1); }, [](const auto& t) { return t.slice(0, 1); }}) {
    const Views views(view);
    const std::string text = error_of([&] { Trainer{views}; });
    CAPTURE(text);
    CHECK(text.find("'whole' and 'view'") != std::string::npos);
  }
  const Layer layer;
  Trainer first(layer);
  CHECK(error_of([&] { Trainer{layer}; }).find("'linear.weight' is the same memory as 'linear.weight' of another session") !=
        std::string::npos);
}

TEST_CASE("what gives a module's tensors other memory is followed") {
  const ScratchFolder folder;
  using Change = std::function<void(std::shared_ptr<Layer>&)>;
  const Change load = [&](std::shared_ptr<Layer>& layer) {
    torch::save(layer, (folder / "layer.pt").string());
    torch::load(layer, (folder / "layer.pt").string());
  };
  const Change convert = [](std::shared_ptr<Layer>& layer) {
    layer->to(torch::kFloat64);
    layer->to(torch::kFloat32);
  };
  const Change set = [](std::shared_ptr<Layer>& layer) {
    for (torch::Tensor& p : layer->parameters()) p.set_data(p.detach().clone());
  };
  for (const Change& change : {load, convert, set}) {
    auto layer = std::make_shared<Layer>();
    Trainer trainer(*layer);
    torch::nn::Linear reference(64, 64);
    for (size_t i = 0; i < 2; ++i) reference->parameters()[i].set_data(layer->parameters()[i].detach().clone());
    torch::optim::AdamW optimizer = judge_of(reference->parameters());
    for (int step = 0; step < 6; ++step) {
      if (step == 3) change(layer);
      for (torch::Tensor& p : layer->parameters()) p.mutable_grad() = torch::Tensor();  // to() leaves those of the other type
      layer->learn();
      trainer.session.step(onebit::gradients_of(*layer));
      optimizer.zero_grad();
      reference(torch::ones({2, 64})).sum().backward();
      optimizer.step();
    }
    CHECK((layer->linear->weight - reference->weight).abs().max().item<float>() < 1e-6);
    CHECK((layer->linear->bias - reference->bias).abs().max().item<float>() < 1e-6);
  }
}

TEST_CASE("a module that was loaded, or has gone, leaves the session memory that it may use") {
  auto layer = std::make_shared<Layer>();
  Trainer trainer(*layer);
  const std::weak_ptr<Layer> gone = layer;
  const uint64_t hash = trainer.session.parameter_hash();
  for (torch::Tensor& p : layer->parameters()) p.set_data(torch::zeros_like(p));
  CHECK(trainer.session.parameter_hash() == hash);  // where the last step found them
  layer->learn();
  trainer.session.step(onebit::gradients_of(*layer));
  CHECK(trainer.session.parameter_hash() != hash);
  layer.reset();
  CHECK(gone.expired());
  trainer.session.parameter_hash();
}

TEST_CASE("other trainable tensors than the session's are told by name") {
  struct Rivals : torch::nn::Module {
    Rivals() {
      register_module("g", g);
      register_module("d", d);
    }
    void let_train(bool first, bool second) {
      for (torch::Tensor& p : g->parameters()) p.set_requires_grad(first);
      for (torch::Tensor& p : d->parameters()) p.set_requires_grad(second);
    }
    torch::nn::Linear g{4, 4}, d{128, 128};
  };
  const auto told = [](bool first, bool now_first, bool now_second) {
    Rivals rivals;
    rivals.let_train(first, !first);
    Trainer trainer(rivals);
    trainer.session.step(onebit::gradients_of(rivals));
    rivals.let_train(now_first, now_second);
    const torch::Tensor before = rivals.g->weight.detach().clone();
    const std::string text = error_of([&] { trainer.session.step(onebit::gradients_of(rivals)); });
    CHECK(torch::equal(before, rivals.g->weight));
    return text;
  };
  CHECK(told(true, false, true) ==
        "step() got gradients of other tensors than the session was made with: 'd.weight' and 1 more are new to it, and "
        "'g.weight' and 1 more are missing; which tensors are trainable, and what they are called, may not change as long as a "
        "session lives: make a new one");
  CHECK(told(false, true, false).find("'g.weight' and 1 more are new to it") != std::string::npos);
  CHECK(told(true, true, true).find("'d.weight' and 1 more are new to it; which") != std::string::npos);
  CHECK(told(true, false, false).find("'g.weight' and 1 more are missing") != std::string::npos);
}

TEST_CASE("a module converted or reshaped for good is refused by name at the next step") {
  const auto told = [](const std::function<void(Layer&)>& change) {
    Layer layer;
    Trainer trainer(layer);
    change(layer);
    return error_of([&] { trainer.session.step(onebit::gradients_of(layer)); });
  };
  CHECK(told([](Layer& layer) { layer.to(torch::kFloat64); }).find("parameter of 'linear.weight' is CPUDoubleType") == 0);
  CHECK(told([](Layer& layer) { layer.linear->bias.set_data(torch::zeros({65})); }) ==
        "parameter 'linear.bias' has shape [65] now, and had [64] when the session was made: a session's tensors stay as they "
        "are; make a new one where they change");
  CHECK(told([](Layer& layer) {
          layer.linear->weight.set_data(torch::zeros({64, 64}).t());
        }).find("parameter 'linear.weight' has another order in memory (strides [1, 64])") == 0);
  CHECK(told([](Layer& layer) {
          layer.linear->bias.set_data(layer.linear->weight.detach()[0]);
        }).find("parameters 'linear.weight' and 'linear.bias': the second is a part of the memory of the first") == 0);
}

TEST_CASE("convolutions that are channels last: the path of AdamW, whatever order their gradients come in") {
  struct Convolution : torch::nn::Module {
    Convolution() { register_module("conv", conv); }
    torch::Tensor loss(int step) {
      const torch::Tensor x =
          torch::sin(torch::arange(2 * 3 * 6 * 6, torch::kFloat32) * (0.1 + 0.01 * step)).view({2, 3, 6, 6});
      return conv(x).pow(2).mean();
    }
    torch::nn::Conv2d conv{torch::nn::Conv2dOptions(3, 8, 3)};
  } module, reference;
  const auto& weight = module.conv->weight;
  weight.set_data(weight.detach().contiguous(torch::MemoryFormat::ChannelsLast));
  REQUIRE(!weight.is_contiguous());
  for (size_t i = 0; i < 2; ++i) reference.parameters()[i].set_data(module.parameters()[i].detach().contiguous().clone());
  Trainer trainer(module);
  torch::optim::AdamW optimizer = judge_of(reference.parameters());
  for (int step = 0; step < 10; ++step) {
    optimizer.zero_grad();
    reference.loss(step).backward();
    module.zero_grad();
    module.loss(step).backward();
    if (step % 2 == 1) weight.mutable_grad() = weight.grad().contiguous();
    trainer.session.step(onebit::gradients_of(module));
    optimizer.step();
    CHECK(weight.grad().strides() == weight.strides());
  }
  CHECK((weight - reference.conv->weight).abs().max().item<float>() < 1e-6);
  CHECK(!weight.is_contiguous());
}
