// The models of `onebit train` in libtorch. The only part of the command that sees libtorch.
#include <dlfcn.h>
#include <torch/torch.h>

#include <mutex>

#include "models.hpp"
#include "onebit/error.hpp"
#include "onebit/torch.hpp"

namespace onebit::host {
namespace {

// tensors_of() in models.cpp tells the tensors of each.
struct Net : torch::nn::Module {
  virtual torch::Tensor forward(const torch::Tensor& images) = 0;
};

struct Cnn final : Net {
  Cnn() {
    register_module("conv1", conv1);
    register_module("conv2", conv2);
    register_module("fc1", fc1);
    register_module("fc2", fc2);
  }
  torch::Tensor forward(const torch::Tensor& images) override {
    torch::Tensor x = torch::relu(torch::max_pool2d(conv1(images), 2));  // the same as pooling after relu, on a quarter
    x = torch::relu(torch::max_pool2d(conv2(x), 2));
    x = torch::relu(fc1(x.flatten(1)));
    return fc2(x);
  }
  torch::nn::Conv2d conv1{torch::nn::Conv2dOptions(1, 16, 3)};
  torch::nn::Conv2d conv2{torch::nn::Conv2dOptions(16, 32, 3)};
  torch::nn::Linear fc1{32 * 5 * 5, 64};
  torch::nn::Linear fc2{64, 10};
};

// 24.6 million parameters, for which a network matters.
struct Mlp final : Net {
  Mlp() {
    register_module("fc1", fc1);
    register_module("fc2", fc2);
    register_module("fc3", fc3);
  }
  torch::Tensor forward(const torch::Tensor& images) override {
    return fc3(torch::relu(fc2(torch::relu(fc1(images.flatten(1))))));
  }
  torch::nn::Linear fc1{28 * 28, 4096};
  torch::nn::Linear fc2{4096, 5200};
  torch::nn::Linear fc3{5200, 10};
};

std::unique_ptr<Net> net_of(const std::string& model) {
  if (model == "mlp") return std::make_unique<Mlp>();
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

// libtorch's errors come with a C++ backtrace that helps nobody who runs a command.
template <class F>
auto telling(F&& f) {
  try {
    return f();
  } catch (const c10::Error& e) {
    throw Error(Code::internal, std::string("libtorch: ") + e.what_without_backtrace());
  }
}

class TorchModel final : public Model {
 public:
  TorchModel(const std::string& name, uint64_t seed) : tensors_(tensors_of(name)), net_(net_of(name)) {
    use_one_thread();
    const std::vector<Parameter> own = parameters_of(*net_);
    for (size_t i = 0; i < own.size(); ++i) initialize(tensors_, i, seed, own[i].data);
  }
  std::vector<Parameter> parameters() override { return parameters_of(*net_); }
  double learn(const Batch& batch) override {
    use_one_thread();
    return telling([&] {
      net_->zero_grad();
      const torch::Tensor loss = torch::nn::functional::cross_entropy(net_->forward(images(batch)), labels(batch));
      loss.backward();
      return loss.item<double>();
    });
  }
  std::vector<const float*> gradients() override { return gradients_of(*net_); }
  int64_t correct(const Batch& batch) override {
    use_one_thread();
    const torch::NoGradGuard no_gradients;
    return telling([&] { return net_->forward(images(batch)).argmax(1).eq(labels(batch)).sum().item<int64_t>(); });
  }
  std::string backend() const override { return std::string("libtorch ") + TORCH_VERSION; }

 private:
  // Views: libtorch does not write to them.
  static torch::Tensor images(const Batch& batch) {
    return torch::from_blob(const_cast<float*>(batch.pixels), {batch.count, 1, batch.rows, batch.columns});
  }
  static torch::Tensor labels(const Batch& batch) {
    return torch::from_blob(const_cast<int64_t*>(batch.labels), {batch.count}, torch::kInt64);
  }

  const std::vector<Parameter> tensors_;  // first, for it refuses an unknown name
  std::unique_ptr<Net> net_;
};

}  // namespace

std::unique_ptr<Model> make_model(const std::string& model, uint64_t seed) {
  return telling([&]() -> std::unique_ptr<Model> { return std::make_unique<TorchModel>(model, seed); });
}

}  // namespace onebit::host
