// SPDX-License-Identifier: Apache-2.0
// libtorch as judge: our adam is its AdamW, our models are what tensors_of says, and its tensors are told as they are.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "data_sets/text.hpp"
#include "data_sets/words.hpp"
#include "doctest_beside_torch.hpp"
#include "libtorch/gpt.hpp"
#include "models/models.hpp"
#include "onebit/torch.hpp"
#include "support/sessions.hpp"

using onebit::host::Batch;
using onebit::host::make_model;
using onebit::host::Model;
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
  for (const auto& [known, parameters] : {std::pair<const char*, int64_t>{"cnn", 56714},
                                          {"mlp", 24571770},
                                          {"mlp_deep", 24925834},
                                          {"resnet", 77754},
                                          {"gpt", 3226112},
                                          {"lstm", 2146816}}) {
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
      const bool fixed = (name == "gpt" && found[i].shape.size() == 1) || found[i].name.find("norm") != std::string::npos ||
                         found[i].name == "head.bias";
      const bool drawn = !fixed;  // others are 1 in norms, 0 in biases
      CHECK(std::equal(found[i].data, found[i].data + count, other->parameters()[i].data) != drawn);
      if (!drawn) CHECK(*found[i].data == (found[i].name.find("weight") == std::string::npos ? 0 : 1));
      all += static_cast<int64_t>(count);
    }
    CHECK(all == parameters);
  }
  for (const auto& make : {+[] { tensors_of("rnn"); }, +[] { make_model("rnn", 1); }})
    CHECK_THROWS_WITH_AS(make(), "unknown model 'rnn'; there are: cnn, mlp, mlp_deep, resnet, gpt, lstm", onebit::Error);
}

TEST_CASE("every model takes images and gives every parameter a gradient") {
  std::vector<float> pixels(3 * 28 * 28);
  for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = std::sin(0.1f * static_cast<float>(i));
  const std::vector<int64_t> labels = {0, 9, 4};
  for (const char* name : {"cnn", "mlp", "mlp_deep", "resnet"}) {
    CAPTURE(name);
    const auto model = make_model(name, 1);
    const Batch batch = {3, 1, labels.data(), pixels.data(), nullptr, 28, 28};
    const double loss = model->learn(batch, false);
    CHECK(loss == doctest::Approx(std::log(10.0)).epsilon(0.1));  // before it has learnt anything
    CHECK(model->judge(batch).loss == doctest::Approx(3 * loss));
    const auto gradients = model->gradients();
    REQUIRE(gradients.size() == tensors_of(name).size());
    CHECK(std::count(gradients.begin(), gradients.end(), nullptr) == 0);
  }
}

namespace {

// Symbols to read and to foretell, of `count` samples.
struct Symbols {
  std::vector<int64_t> inputs, targets;
  int64_t window;
  explicit Symbols(int64_t count, int64_t length = onebit::host::kWindow) : window(length) {
    for (int64_t i = 0; i < count * window; ++i) {
      inputs.push_back(i * i % 97);
      targets.push_back((i + 1) * (i + 1) % 97);
    }
  }
  Batch batch(int64_t first, int64_t count) const {
    const int64_t at = first * window;
    return {count, window, targets.data() + at, nullptr, inputs.data() + at, 0, 0};
  }
};

std::vector<float> values_of(Model& model, const std::vector<const float*>& tensors) {
  std::vector<float> values;
  const auto parameters = model.parameters();
  for (size_t i = 0; i < tensors.size(); ++i)
    values.insert(values.end(), tensors[i], tensors[i] + onebit::host::elements_of(parameters[i]));
  return values;
}

double largest(const std::vector<float>& values) {
  double most = 0;
  for (const float value : values) most = std::max(most, std::fabs(static_cast<double>(value)));
  return most;
}

}  // namespace

TEST_CASE("models of text begin knowing nothing, have gradients everywhere, and learn") {
  for (const char* name : {"gpt", "lstm"}) {
    CAPTURE(name);
    const auto model = make_model(name, 1);
    const bool by_words = onebit::host::kind_of_model(name) == onebit::host::SampleKind::words;
    const Symbols text(2, by_words ? onebit::host::kWordWindow : onebit::host::kWindow);
    const double first = model->learn(text.batch(0, 2), false);
    CHECK(first == doctest::Approx(std::log(by_words ? onebit::host::kVocabulary : onebit::host::kSymbols)).epsilon(0.03));
    const onebit::host::Judgement judgement = model->judge(text.batch(0, 2));
    CHECK(judgement.loss == doctest::Approx(static_cast<double>(2 * text.window) * first));
    CHECK(judgement.losses.size() == static_cast<size_t>(2 * text.window));
    CHECK(std::accumulate(judgement.losses.begin(), judgement.losses.end(), 0.0) == doctest::Approx(judgement.loss));
    const auto parameters = model->parameters();
    for (int step = 0; step < 5; ++step) {
      const auto gradients = model->gradients();
      REQUIRE(gradients.size() == parameters.size());
      for (size_t i = 0; i < parameters.size(); ++i) {
        REQUIRE(gradients[i] != nullptr);
        const std::vector<float> gradient(gradients[i], gradients[i] + onebit::host::elements_of(parameters[i]));
        CHECK_MESSAGE(largest(gradient) > 0, parameters[i].name);
        for (size_t k = 0; k < gradient.size(); ++k) parameters[i].data[k] -= (by_words ? 10.0f : 0.3f) * gradient[k];
      }
      model->learn(text.batch(0, 2), false);
    }
    CHECK(model->learn(text.batch(0, 2), false) < first - 0.3);
  }
}

TEST_CASE("label smoothing: what is learnt, and not what is judged by") {
  const Symbols text(1);
  const auto plain = make_model("gpt", 1), smooth = make_model("gpt", 1);
  smooth->set_label_smoothing(0.25);
  const torch::NoGradGuard no_gradients;
  const torch::Tensor inputs = torch::tensor(text.inputs).view({1, -1}), targets = torch::tensor(text.targets);
  onebit::host::gpt::Gpt net;
  const auto values = onebit::parameters_of(net), same = plain->parameters();
  for (size_t i = 0; i < values.size(); ++i) std::copy_n(same[i].data, onebit::host::elements_of(same[i]), values[i].data);
  const torch::Tensor logarithms = torch::log_softmax(net.forward(inputs), 1);
  const double hard = plain->judge(text.batch(0, 1)).loss / 64, uniform = -logarithms.mean().item<double>();
  {
    const torch::AutoGradMode gradients(true);
    CHECK(plain->learn(text.batch(0, 1), false) == doctest::Approx(hard));
    CHECK(smooth->learn(text.batch(0, 1), false) == doctest::Approx(0.75 * hard + 0.25 * uniform));
  }
  CHECK(smooth->judge(text.batch(0, 1)).loss / 64 == doctest::Approx(hard));
}

TEST_CASE("resnet goes by the batch at hand, in judging as in learning") {
  std::vector<float> pixels(6 * 28 * 28);
  for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = std::sin(0.37f * static_cast<float>(i % 5000));
  const std::vector<int64_t> labels = {0, 9, 4, 1, 1, 2};
  const auto model = make_model("resnet", 1);
  const auto loss = [&](int64_t first, int64_t count) {
    return model->judge({count, 1, labels.data() + first, pixels.data() + first * 28 * 28, nullptr, 28, 28}).loss;
  };
  CHECK(loss(0, 6) != doctest::Approx(loss(0, 3) + loss(3, 3)).epsilon(1e-4));
  CHECK(loss(0, 6) == loss(0, 6));
}

TEST_CASE("gpt sees what went before, and not what it is to foretell") {
  const torch::NoGradGuard no_gradients;
  onebit::host::gpt::Gpt net;
  torch::Tensor symbols =
      torch::arange(2 * onebit::host::kWindow, torch::kInt64).remainder(onebit::host::kSymbols).view({2, -1});
  const auto scores = [&] { return net.forward(symbols).view({2, -1, onebit::host::kSymbols}); };
  const torch::Tensor before = scores();
  symbols[1][20] = 3;
  const torch::Tensor moved = (scores() - before).abs().amax(2);
  CHECK(moved[0].max().item<float>() == 0);  // another sample
  CHECK(moved[1].slice(0, 0, 20).max().item<float>() == 0);
  CHECK(moved[1].slice(0, 20).min().item<float>() > 0);
}

TEST_CASE("gradients of micro-batches add up to twice those of one batch of both") {
  const auto model = make_model("gpt", 1);
  const Symbols text(4);
  const double both = model->learn(text.batch(0, 4), false);
  const std::vector<float> expected = values_of(*model, model->gradients());
  const double first = model->learn(text.batch(0, 2), false), second = model->learn(text.batch(2, 2), true);
  const std::vector<float> sum = values_of(*model, model->gradients());
  CHECK((first + second) / 2 == doctest::Approx(both));
  double worst = 0;
  for (size_t i = 0; i < sum.size(); ++i) worst = std::max(worst, std::fabs(static_cast<double>(sum[i]) / 2 - expected[i]));
  CHECK(worst < 1e-5 * largest(expected));
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
