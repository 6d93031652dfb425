// SPDX-License-Identifier: Apache-2.0
// The models of `onebit train` in libtorch: the library onebit_models, which loaded_models.cpp loads.
#include <dlfcn.h>
#include <torch/torch.h>

#include <boost/dll/alias.hpp>
#include <mutex>
#include <optional>

#include "libtorch/cuda_device.hpp"
#include "libtorch/gpt.hpp"
#include "libtorch/lstm.hpp"
#include "libtorch/nets.hpp"
#include "libtorch/resnet.hpp"
#include "libtorch/telling.hpp"
#include "models/models.hpp"
#include "onebit/data_parallel.hpp"
#include "onebit/error.hpp"
#include "onebit/torch.hpp"

namespace onebit::host {
namespace {

std::unique_ptr<Net> net_of(const std::string& model) {
  if (model == "mlp") return std::make_unique<Mlp>();
  if (model == "mlp_deep") return std::make_unique<MlpDeep>();
  if (model == "gpt") return std::make_unique<gpt::Gpt>();
  if (model == "lstm") return std::make_unique<lstm::Lstm>();
  if (model == "resnet") return std::make_unique<resnet::Resnet>();
  return std::make_unique<Cnn>();
}

// Ranks are threads, one core each: a pool of libtorch's threads under every rank would only take turns with the others.
void use_one_thread() {
  static std::once_flag once;
  std::call_once(once, [] {
    torch::set_num_interop_threads(1);
    // OpenBLAS, where it is libtorch's BLAS, has a pool of its own that libtorch does not know: it cost a third of the time.
    using SetThreads = void (*)(int);
    if (const auto set = reinterpret_cast<SetThreads>(::dlsym(RTLD_DEFAULT, "openblas_set_num_threads"))) set(1);
  });
  thread_local const bool set = (torch::set_num_threads(1), true);
  static_cast<void>(set);
}

class TorchModel final : public Model {
 public:
  TorchModel(const std::string& name, uint64_t seed, const ModelDevice& device)
      : tensors_(tensors_of(name)), device_(torch_device(device)), own_stream_(new_stream(device_)), net_(net_of(name)) {
    const auto working = work();
    const std::vector<Parameter> own = parameters_of(*net_);
    for (size_t i = 0; i < own.size(); ++i) initialize(name, i, seed, own[i].data);
    net_->to(device_);
    stream_ = torch_stream(device_);
  }
  std::vector<Parameter> parameters() override { return parameters_of(*net_); }
  void read(size_t index, float* out) override {
    const auto working = work();
    telling([&] { on_cpu(out, index).copy_(tensor(index)); });
  }
  void write(size_t index, const float* values) override {
    const auto working = work();
    telling([&] { tensor(index).copy_(on_cpu(const_cast<float*>(values), index)); });
  }
  void set_label_smoothing(double share) override { label_smoothing_ = share; }
  std::shared_ptr<void> attach(Session& session) override {
    const auto made = telling([&] { return std::make_shared<DataParallel>(*net_, session); });
    parallel_ = made;
    return made;
  }
  StepReport step(Session& session) override {
    if (parallel_.expired()) return Model::step(session);
    const auto working = work();
    return telling([&] { return session.step(); });
  }
  double learn(const Batch& batch, bool add, bool more) override {
    const auto working = work();
    const std::shared_ptr<DataParallel> parallel = parallel_.lock();
    std::optional<DataParallel::NoSync> held_back;
    if (parallel && more) held_back.emplace(*parallel);
    return telling([&] {
      if (!add) net_->zero_grad();
      const torch::Tensor loss = loss_of(net_->forward(inputs(batch)), targets(batch));
      loss.backward();
      return loss.item<double>();
    });
  }
  std::vector<const float*> gradients() override {
    const auto working = work();
    gradients_.emplace(telling([&] { return gradients_of(*net_); }));
    return *gradients_;
  }
  void* stream() const override { return stream_; }
  Judgement judge(const Batch& batch) override {
    const auto working = work();
    const torch::NoGradGuard no_gradients;
    return telling([&] {
      const torch::Tensor scores = net_->forward(inputs(batch)), wanted = targets(batch);
      const torch::Tensor losses = -torch::log_softmax(scores, 1).gather(1, wanted.unsqueeze(1));
      const torch::Tensor all = losses.flatten().cpu();
      return Judgement{losses.sum(torch::kFloat64).item<double>(),
                       scores.argmax(1).eq(wanted).sum().item<int64_t>(),
                       {all.data_ptr<float>(), all.data_ptr<float>() + all.numel()}};
    });
  }
  std::string backend() const override {
    return std::string("libtorch ") + TORCH_VERSION + (device_.is_cpu() ? "" : ", " + device_.str());
  }

 private:
  torch::Tensor loss_of(const torch::Tensor& scores, const torch::Tensor& targets) const {
    if (label_smoothing_ == 0) return torch::nn::functional::cross_entropy(scores, targets);
    const torch::Tensor logarithms = torch::log_softmax(scores, 1);  // libtorch has an option for it only since 1.10
    return (1 - label_smoothing_) * torch::nll_loss(logarithms, targets) - label_smoothing_ * logarithms.mean();
  }
  // As long as the answer lives, this thread works for this model: in its stream, on its device.
  c10::OptionalStreamGuard work() const {
    use_one_thread();
    if (device_.is_cpu()) return c10::OptionalStreamGuard();
    return c10::OptionalStreamGuard(own_stream_);
  }
  torch::Tensor tensor(size_t index) const { return detail::trainable_of(*net_).at(index).tensors.front().detach(); }
  torch::Tensor on_cpu(float* values, size_t index) const {
    return torch::from_blob(values, tensors_.at(index).shape, torch::kFloat32);
  }
  // On the CPU they are views, to which libtorch does not write; to a device they are copied before this returns.
  torch::Tensor inputs(const Batch& batch) const {
    if (batch.symbols != nullptr) return there(batch.symbols, {batch.count, batch.answers}, torch::kInt64);
    return there(batch.pixels, {batch.count, 1, batch.rows, batch.columns}, torch::kFloat32);
  }
  torch::Tensor targets(const Batch& batch) const { return there(batch.targets, {batch.count * batch.answers}, torch::kInt64); }
  torch::Tensor there(const void* values, torch::IntArrayRef shape, torch::ScalarType type) const {
    return torch::from_blob(const_cast<void*>(values), shape, type).to(device_);
  }

  const std::vector<Parameter> tensors_;  // first, for it refuses an unknown name
  const torch::Device device_;
  const c10::Stream own_stream_;
  void* stream_ = nullptr;
  std::unique_ptr<Net> net_;
  double label_smoothing_ = 0;
  std::weak_ptr<DataParallel> parallel_;
  std::optional<ModelGradients> gradients_;  // of the last pass
};

}  // namespace

std::unique_ptr<Model> make_torch_model(const std::string& model, uint64_t seed, const ModelDevice& device) {
  return telling([&]() -> std::unique_ptr<Model> { return std::make_unique<TorchModel>(model, seed, device); });
}

}  // namespace onebit::host

BOOST_DLL_ALIAS(onebit::host::make_torch_model, onebit_make_model)  // for loaded_models.cpp
