// SPDX-License-Identifier: Apache-2.0
// Where tensors are: what a session can take, what a model says that can't be on CUDA, and a model there against the same on
// the CPU, where there is a GPU.
#include <cmath>
#include <string>
#include <vector>

#include "data_sets/text.hpp"
#include "doctest_beside_torch.hpp"
#include "models/models.hpp"
#include "onebit/error.hpp"
#include "onebit/torch.hpp"
#include "support/running.hpp"
#include "support/scratch_folder.hpp"
#include "support/sessions.hpp"

using onebit::Error;
using onebit::host::Batch;
using onebit::host::make_model;
using onebit::host::Model;
using onebit::host::ModelDevice;

namespace {

struct Perceptron : torch::nn::Module {
  Perceptron() {
    register_module("first", first);
    register_module("second", second);
  }
  torch::nn::Linear first{7, 33};
  torch::nn::Linear second{33, 5};
};

constexpr ModelDevice kCuda = {ONEBIT_DEVICE_CUDA, 0};

// Why nothing runs on CUDA here; "" where it does.
std::string missing() {
#ifdef ONEBIT_TORCH_CUDA
  return torch::cuda::is_available() ? "" : std::string("libtorch ") + TORCH_VERSION + " finds no CUDA device here";
#else
  return std::string("this build has no CUDA in libtorch ") + TORCH_VERSION;
#endif
}

#define NEEDS_GPU()                                            \
  if (const std::string reason = missing(); !reason.empty()) { \
    MESSAGE("SKIPPED: " << reason);                            \
    return;                                                    \
  }

// Of a tensor of a model on this device.
torch::Tensor values(const float* data, const onebit::Parameter& like, torch::DeviceType device) {
  return torch::from_blob(const_cast<float*>(data), like.shape, torch::TensorOptions(torch::kFloat32).device(device))
      .cpu()
      .clone();
}

double relative_difference(const torch::Tensor& a, const torch::Tensor& b) {
  return (a - b).norm().item<double>() / std::max(b.norm().item<double>(), 1e-12);
}

// Something to learn, for each kind of model.
struct Lesson {
  std::vector<float> pixels;
  std::vector<int64_t> targets, symbols;
  explicit Lesson(const std::string& model) : gpt(model == "gpt") {
    for (int64_t i = 0; i < 8 * 28 * 28; ++i) pixels.push_back(std::sin(0.1f * static_cast<float>(i)));
    for (int64_t i = 0; i < 8 * onebit::host::kWindow; ++i) symbols.push_back(i * i % 97);
    for (int64_t i = 0; i < 8 * onebit::host::kWindow; ++i) targets.push_back(gpt ? (i + 1) * (i + 1) % 97 : i % 10);
  }
  Batch batch() const {
    return gpt ? Batch{8, onebit::host::kWindow, targets.data(), nullptr, symbols.data(), 0, 0}
               : Batch{8, 1, targets.data(), pixels.data(), nullptr, 28, 28};
  }
  bool gpt;
};

}  // namespace

TEST_CASE("tensors that a session can't take are named, with what to do") {
  {
    Perceptron other;
    other.to(torch::kFloat64);
    CHECK_THROWS_WITH_AS(onebit::parameters_of(other), doctest::Contains("parameter of 'first.weight' is CPU"), Error);
    CHECK_THROWS_WITH_AS(onebit::parameters_of(other),
                         doctest::Contains("Type on cpu; expected contiguous fp32, fp16 or bf16: convert the module before its "
                                           "session is made, module.to(torch::kFloat32)"),
                         Error);
  }
  Perceptron sliced;
  sliced.first->weight.set_data(torch::ones({33, 14}).slice(1, 0, 14, 2));
  CHECK_THROWS_WITH_AS(onebit::parameters_of(sliced),
                       doctest::Contains("parameter of 'first.weight' is CPUFloatType on cpu, not contiguous; expected "
                                         "it contiguous, or dense with its dimensions in another order"),
                       Error);
  Perceptron sparse;
  sparse.second->weight.mutable_grad() = torch::ones({5, 33}).to_sparse();
  CHECK_THROWS_WITH_AS(onebit::gradients_of(sparse), doctest::Contains("gradient of 'second.weight' is"), Error);
  CHECK_THROWS_WITH_AS(onebit::gradients_of(sparse), doctest::Contains("without sparse gradients"), Error);
}

TEST_CASE("a gradient that does not fit its parameter is named, and not read") {
  Perceptron net;
  for (const torch::Tensor& gradient : {torch::ones({5, 32}), torch::ones({165}), torch::ones({1})}) {
    net.second->weight.mutable_grad() = gradient;
    CHECK_THROWS_WITH_AS(onebit::gradients_of(net), doctest::Contains("gradient of 'second.weight' is CPUFloatType"), Error);
    CHECK_THROWS_WITH_AS(onebit::gradients_of(net), doctest::Contains("the sizes of its parameter, [5, 33], and not ["), Error);
  }
  net.second->weight.mutable_grad() = torch::ones({5, 33}, torch::kFloat64);  // as to(double) and back leaves it
  CHECK_THROWS_WITH_AS(onebit::gradients_of(net), doctest::Contains("dropped by mutable_grad() = torch::Tensor()"), Error);
}

TEST_CASE("tensors of a session are on one device, and not on any") {
  const auto module_on = [](torch::DeviceType first, torch::DeviceType second) {
    torch::nn::Module module;
    module.register_parameter("first", torch::zeros({2, 3}, first));
    module.register_parameter("second", torch::zeros({3}, second));
    return module;
  };
  CHECK(onebit::parameters_of(module_on(torch::kCPU, torch::kCPU)).size() == 2);
  const torch::nn::Module apart = module_on(torch::kCPU, torch::kMeta);
  CHECK_THROWS_WITH_AS(onebit::parameters_of(apart), doctest::Contains("parameter of 'second' is"), Error);
  CHECK_THROWS_WITH_AS(onebit::parameters_of(apart),
                       doctest::Contains("on meta; expected it on cpu, where the session's other tensors are"), Error);
  apart.named_parameters()["second"].set_requires_grad(false);  // what stays out may be anywhere
  CHECK(onebit::parameters_of(apart).size() == 1);
  CHECK_THROWS_WITH_AS(onebit::parameters_of(module_on(torch::kMeta, torch::kMeta)),
                       doctest::Contains("on meta; expected it in memory of the CPU or of a CUDA device"), Error);
}

TEST_CASE("there is a stream for what can compute in one") {
  CHECK(onebit::torch_stream(torch::kCPU) == nullptr);
  CHECK_THROWS_WITH_AS(onebit::torch_stream(torch::kMeta), doctest::Contains("there is no stream for meta"), Error);
#ifndef ONEBIT_TORCH_CUDA
  CHECK_THROWS_WITH_AS(onebit::torch_stream({torch::kCUDA, 0}), doctest::Contains("built with a libtorch with CUDA"), Error);
#endif
}

TEST_CASE("a model that can't be on CUDA says why, and what to do") {
  CHECK_THROWS_WITH_AS(make_model("rnn", 1, kCuda), "unknown model 'rnn'; there are: cnn, mlp, mlp_deep, resnet, gpt, lstm",
                       Error);
  if (missing().empty()) {
    MESSAGE("SKIPPED: there is a CUDA device, and libtorch finds it");
    return;
  }
#ifdef ONEBIT_TORCH_CUDA
  const std::string why = "session.device = \"cuda\", but libtorch " TORCH_VERSION " finds no CUDA device: ";
#else
  const std::string why = "this onebit was built with";
  CHECK_THROWS_WITH_AS(make_model("cnn", 1, kCuda), doctest::Contains("or set session.device = \"cpu\""), Error);
  CHECK_THROWS_WITH_AS(make_model("cnn", 1, kCuda), doctest::Contains(TORCH_VERSION), Error);
#endif
  CHECK_THROWS_WITH_AS(make_model("cnn", 1, kCuda), doctest::Contains(why.c_str()), Error);
  try {
    make_model("cnn", 1, kCuda);
  } catch (const Error& e) {
    CHECK(e.code() == onebit::Code::unavailable);
    CHECK(std::string(e.what()).find("frame #") == std::string::npos);  // no backtrace
    MESSAGE(std::string(e.what()));
  }
}

TEST_CASE("a model on CUDA begins with the CPU's bits, and goes its way") {
  NEEDS_GPU();
  for (const std::string name : {"cnn", "gpt"}) {
    CAPTURE(name);
    const auto model = make_model(name, 1, kCuda), judge = make_model(name, 1);
    const auto own = model->parameters(), expected = judge->parameters();
    for (size_t i = 0; i < own.size(); ++i)
      CHECK(torch::equal(values(own[i].data, own[i], torch::kCUDA), values(expected[i].data, own[i], torch::kCPU)));
    const Lesson lesson(name);
    CHECK(model->learn(lesson.batch(), false) == doctest::Approx(judge->learn(lesson.batch(), false)).epsilon(1e-3));
    const auto found = model->gradients(), wanted = judge->gradients();
    for (size_t i = 0; i < own.size(); ++i) {
      REQUIRE(found[i] != nullptr);
      const torch::Tensor gradient = values(found[i], own[i], torch::kCUDA);
      CHECK_MESSAGE(relative_difference(gradient, values(wanted[i], own[i], torch::kCPU)) < 0.02, own[i].name);  // TF32
    }
    CHECK(model->judge(lesson.batch()).loss == doctest::Approx(judge->judge(lesson.batch()).loss).epsilon(1e-3));
    CHECK(model->backend() == "libtorch " TORCH_VERSION ", cuda:0");
  }
}

TEST_CASE("models on CUDA have streams of their own, and devices in turn") {
  NEEDS_GPU();
  const auto one = make_model("cnn", 1, kCuda);
  const auto same = make_model("cnn", 1, {ONEBIT_DEVICE_CUDA, static_cast<int>(torch::cuda::device_count())});
  CHECK(same->backend() == one->backend());
  CHECK(one->stream() != nullptr);
  CHECK(one->stream() != same->stream());
  CHECK(make_model("cnn", 1)->stream() == nullptr);
  CHECK(onebit::torch_stream({torch::kCUDA, 0}) == nullptr);  // theirs are not left behind: libtorch's default is CUDA's legacy
}

TEST_CASE("a module's tensors on CUDA are told as they are") {
  NEEDS_GPU();
  Perceptron net;
  net.to(torch::kCUDA);
  const auto parameters = onebit::parameters_of(net);
  REQUIRE(parameters.size() == 4);
  CHECK(parameters[2].data == net.second->weight.data_ptr<float>());
  net.second->weight.mutable_grad() = torch::arange(5 * 33, torch::kFloat32).reshape({33, 5}).t().to(torch::kCUDA);
  const auto gradients = onebit::gradients_of(net);
  CHECK(values(gradients[2], parameters[2], torch::kCUDA)[0][1].item<float>() == 5);
  net.first->to(torch::kCPU);
  CHECK_THROWS_WITH_AS(onebit::parameters_of(net), doctest::Contains("on cuda:0; expected it on cpu"), Error);
}

namespace {

// A rank alone, whose gradients are drawn on the CPU and brought to the module; what it has after some steps. Nothing waits for
// the session but libtorch's own stream.
std::vector<torch::Tensor> train(Perceptron& net, const std::string& device, const std::string& communicator) {
  const onebit::Configuration configuration = onebit::test::configure(
      "[session]\ndevice = \"" + device + "\"\n[optimizer]\nplugin = \"onebit_adam\"\nfreeze_step = 10\nlr = 0.01\n" +
      "[compressor]\nplugin = \"onebit\"\n[communicator]\nplugin = \"" + communicator + "\"\n");
  onebit::LocalRendezvous rendezvous(1);
  onebit::Session session(onebit::test::plugins(), configuration, rendezvous.at(0), onebit::parameters_of(net));
  const torch::Device home = net.first->weight.device();
  for (int step = 0; step < 30; ++step) {
    for (torch::Tensor& parameter : net.parameters())
      parameter.mutable_grad() = torch::sin(torch::arange(parameter.numel()) * 0.7 + step).reshape(parameter.sizes()).to(home);
    session.step(onebit::gradients_of(net), onebit::torch_stream(home));
  }
  std::vector<torch::Tensor> values;
  for (const torch::Tensor& parameter : net.parameters()) values.push_back(parameter.detach().cpu().clone());
  return values;
}

}  // namespace

TEST_CASE("a session gives a module on CUDA the bits that it has on the CPU") {
  NEEDS_GPU();
  Perceptron here, there;
  for (size_t i = 0; i < 4; ++i) there.parameters()[i].set_data(here.parameters()[i].detach().clone());
  there.to(torch::kCUDA);
  const auto expected = train(here, "cpu", "threads"), found = train(there, "cuda", "nccl");
  for (size_t i = 0; i < 4; ++i) CHECK(torch::equal(expected[i], found[i]));
}

TEST_CASE("train on CUDA runs, or says what is missing") {
  const ScratchFolder folder;
  const onebit::test::Outcome outcome =
      onebit::test::run_onebit("train " ONEBIT_SOURCE_DIR
                               "/configs/adam.toml --set session.device=cuda --set communicator.plugin=nccl --ranks 1 "
                               "--set train.epochs=1 --set train.samples=2000 --out '" +
                               (folder / "out").string() + "'");
  if (missing().empty()) {
    CHECK_MESSAGE(outcome.status == 0, outcome.text);
    CHECK_SAYS(outcome, "test accuracy");
    return;
  }
  CHECK_MESSAGE(outcome.status == 1, outcome.text);
  CHECK_SAYS(outcome, "cuda");
}
