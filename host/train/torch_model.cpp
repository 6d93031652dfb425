// The models of `onebit train` in libtorch. The only part of the command that sees libtorch.
#include <dlfcn.h>
#include <torch/torch.h>

#include <mutex>

#include "gpt.hpp"
#include "models.hpp"
#include "nets.hpp"
#include "onebit/error.hpp"
#include "onebit/torch.hpp"

namespace onebit::host {
namespace {

std::unique_ptr<Net> net_of(const std::string& model) {
  if (model == "mlp") return std::make_unique<Mlp>();
  if (model == "gpt") return std::make_unique<gpt::Gpt>();
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
    for (size_t i = 0; i < own.size(); ++i) initialize(name, i, seed, own[i].data);
  }
  std::vector<Parameter> parameters() override { return parameters_of(*net_); }
  double learn(const Batch& batch, bool add) override {
    use_one_thread();
    return telling([&] {
      if (!add) net_->zero_grad();
      const torch::Tensor loss = torch::nn::functional::cross_entropy(net_->forward(inputs(batch)), targets(batch));
      loss.backward();
      return loss.item<double>();
    });
  }
  std::vector<const float*> gradients() override { return gradients_of(*net_); }
  Judgement judge(const Batch& batch) override {
    use_one_thread();
    const torch::NoGradGuard no_gradients;
    return telling([&] {
      const torch::Tensor scores = net_->forward(inputs(batch)), wanted = targets(batch);
      const torch::Tensor losses = -torch::log_softmax(scores, 1).gather(1, wanted.unsqueeze(1));
      return Judgement{losses.sum(torch::kFloat64).item<double>(), scores.argmax(1).eq(wanted).sum().item<int64_t>()};
    });
  }
  std::string backend() const override { return std::string("libtorch ") + TORCH_VERSION; }

 private:
  // Views: libtorch does not write to them.
  static torch::Tensor inputs(const Batch& batch) {
    if (batch.symbols != nullptr) return view(batch.symbols, {batch.count, batch.answers});
    return torch::from_blob(const_cast<float*>(batch.pixels), {batch.count, 1, batch.rows, batch.columns});
  }
  static torch::Tensor targets(const Batch& batch) { return view(batch.targets, {batch.count * batch.answers}); }
  static torch::Tensor view(const int64_t* numbers, torch::IntArrayRef shape) {
    return torch::from_blob(const_cast<int64_t*>(numbers), shape, torch::kInt64);
  }

  const std::vector<Parameter> tensors_;  // first, for it refuses an unknown name
  std::unique_ptr<Net> net_;
};

}  // namespace

std::unique_ptr<Model> make_model(const std::string& model, uint64_t seed) {
  return telling([&]() -> std::unique_ptr<Model> { return std::make_unique<TorchModel>(model, seed); });
}

}  // namespace onebit::host
