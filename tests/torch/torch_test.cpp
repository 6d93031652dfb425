// libtorch as judge: our adam is its AdamW, our models are what tensors_of says, and its tensors are told as they are.
#include <torch/torch.h>
#undef CHECK  // libtorch's, which would end the program
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "models.hpp"
#include "onebit/torch.hpp"
#include "sessions.hpp"

using onebit::host::make_model;
using onebit::host::tensors_of;

namespace {

struct Net : torch::nn::Module {
  Net() {
    register_module("first", first);
    register_module("second", second);
  }
  torch::Tensor forward(const torch::Tensor& x) { return second(torch::tanh(first(x))); }
  torch::nn::Linear first{7, 33};
  torch::nn::Linear second{33, 5};
};

torch::Tensor input(int rank, int step) {
  return torch::sin(torch::arange(4 * 7, torch::kFloat32) * 0.7 + 1.3 * step + 2.1 * rank).reshape({4, 7});
}
torch::Tensor loss_of(Net& net, int rank, int step) {
  return net.forward(input(rank, step)).pow(2).mean() + net.forward(input(rank, step)).sum() * 0.1;
}

void copy(const Net& from, const Net& to) {
  const torch::NoGradGuard no_gradients;
  for (size_t i = 0; i < from.parameters().size(); ++i) to.parameters()[i].copy_(from.parameters()[i]);
}

double largest_difference(const Net& a, const Net& b) {
  double largest = 0;
  for (size_t i = 0; i < a.parameters().size(); ++i)
    largest = std::max(largest, (a.parameters()[i] - b.parameters()[i]).abs().max().item<double>());
  return largest;
}

// libtorch's optimizer on the mean loss of all ranks' data.
void reference_step(Net& net, torch::optim::AdamW& optimizer, int ranks, int step) {
  optimizer.zero_grad();
  torch::Tensor loss = torch::zeros({});
  for (int rank = 0; rank < ranks; ++rank) loss = loss + loss_of(net, rank, step) / ranks;
  loss.backward();
  optimizer.step();
}

const std::string kAdam =
    "[optimizer]\nplugin = \"adam\"\nlr = 0.003\nweight_decay = 0.02\nbetas = [0.9, 0.99]\neps = 1e-7\n"
    "[communicator]\nplugin = \"threads\"\n";

}  // namespace

TEST_CASE("adam equals torch::optim::AdamW within 1e-6 over 50 steps") {
  for (const int ranks : {1, 2}) {
    CAPTURE(ranks);
    std::vector<Net> nets(static_cast<size_t>(ranks));
    Net reference;
    copy(reference, nets[0]);  // rank 0's are broadcast
    torch::optim::AdamW optimizer(
        reference.parameters(),
        torch::optim::AdamWOptions(0.003).weight_decay(0.02).betas(std::make_tuple(0.9, 0.99)).eps(1e-7));
    const onebit::Configuration configuration = onebit::test::configure(kAdam);
    onebit::LocalRendezvous rendezvous(ranks);
    double worst = 0, moved = 0;
    Net start;
    copy(reference, start);
    onebit::host::run_ranks(ranks, [&](int rank) {
      Net& net = nets[static_cast<size_t>(rank)];
      onebit::Session session(onebit::test::plugins(), configuration, rendezvous.at(rank), onebit::parameters_of(net));
      for (int step = 0; step < 50; ++step) {
        net.zero_grad();
        loss_of(net, rank, step).backward();
        session.step(onebit::gradients_of(net));
        if (rank != 0) continue;
        reference_step(reference, optimizer, ranks, step);
        worst = std::max(worst, largest_difference(net, reference));
      }
    });
    moved = largest_difference(reference, start);
    CHECK(moved > 0.05);
    CHECK(worst < 1e-6);
  }
}

TEST_CASE("a model has the tensors that tensors_of promises, with the initial values of its seed") {
  for (const auto& [known, parameters] : {std::pair<const char*, int64_t>{"cnn", 56714}, {"mlp", 24571770}}) {
    const std::string name = known;  // clang 14 lets no lambda, such as CAPTURE, see what was unpacked
    CAPTURE(name);
    const auto model = make_model(name, 1), same = make_model(name, 1), other = make_model(name, 2);
    const auto expected = tensors_of(name), found = model->parameters();
    REQUIRE(found.size() == expected.size());
    int64_t all = 0;
    for (size_t i = 0; i < found.size(); ++i) {
      CHECK(found[i].name == expected[i].name);
      CHECK(found[i].shape == expected[i].shape);
      const auto count = static_cast<size_t>(onebit::host::elements_of(found[i]));
      CHECK(std::equal(found[i].data, found[i].data + count, same->parameters()[i].data));
      CHECK(!std::equal(found[i].data, found[i].data + count, other->parameters()[i].data));
      all += static_cast<int64_t>(count);
    }
    CHECK(all == parameters);
  }
  for (const auto& make : {+[] { tensors_of("gpt"); }, +[] { make_model("gpt", 1); }})
    CHECK_THROWS_WITH_AS(make(), "unknown model 'gpt'; there are: cnn, mlp", onebit::Error);
}

TEST_CASE("every model takes images and gives every parameter a gradient") {
  std::vector<float> pixels(3 * 28 * 28);
  for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = std::sin(0.1f * static_cast<float>(i));
  const std::vector<int64_t> labels = {0, 9, 4};
  for (const char* name : {"cnn", "mlp"}) {
    CAPTURE(name);
    const auto model = make_model(name, 1);
    const double loss = model->learn({pixels.data(), labels.data(), 3, 28, 28});
    CHECK(loss == doctest::Approx(std::log(10.0)).epsilon(0.1));  // before it has learnt anything
    const auto gradients = model->gradients();
    REQUIRE(gradients.size() == tensors_of(name).size());
    CHECK(std::count(gradients.begin(), gradients.end(), nullptr) == 0);
  }
}

TEST_CASE("frozen parameters stay out, and gradients that are not there are NULL") {
  Net net;
  net.first->weight.set_requires_grad(false);
  const auto parameters = onebit::parameters_of(net);
  REQUIRE(parameters.size() == 3);
  CHECK(parameters[0].name == "first.bias");
  CHECK(parameters[1].shape[0] == 5);
  CHECK(parameters[1].shape[1] == 33);
  CHECK(parameters[1].data == net.second->weight.data_ptr<float>());
  const std::vector<const float*> none(3, nullptr);
  CHECK(onebit::gradients_of(net) == none);
  net.second(torch::ones({1, 33})).sum().backward();
  const auto gradients = onebit::gradients_of(net);
  CHECK(gradients[0] == nullptr);
  CHECK(gradients[1] == net.second->weight.grad().data_ptr<float>());
}

TEST_CASE("a gradient in another memory format is brought in order") {
  Net net;
  net.second->weight.mutable_grad() = torch::arange(5 * 33, torch::kFloat32).reshape({33, 5}).t();
  const auto gradients = onebit::gradients_of(net);
  CHECK(gradients[2][1] == 5);  // row 0, column 1
}

TEST_CASE("tensors that a session can't take are named") {
  Net doubles;
  doubles.to(torch::kFloat64);
  CHECK_THROWS_WITH_AS(onebit::parameters_of(doubles), doctest::Contains("parameter of 'first.weight' is"), onebit::Error);
  Net strided;
  strided.first->weight.set_data(torch::ones({7, 33}).t());
  CHECK_THROWS_WITH_AS(onebit::parameters_of(strided), doctest::Contains("expected contiguous fp32"), onebit::Error);
}
