// SPDX-License-Identifier: Apache-2.0
// Data parallelism for libtorch: gradients are sent while backward() still computes others.
//
//   onebit::Session session(registry, configuration, rendezvous.view(), onebit::parameters_of(*model));
//   onebit::DataParallel parallel(*model, session);
//   for (...) {
//     model->zero_grad();
//     loss_of(*model, batch).backward();
//     session.step();
//   }
//
// Header-only, for whoever embeds; tested with libtorch 1.13.1 and 2.15. How it works is how PyTorch's DistributedDataParallel
// does (Li et al., VLDB 2020, arXiv 2006.15704): a hook at each parameter's gradient accumulator.
#pragma once

#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>
#include <torch/torch.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "onebit/error.hpp"
#include "onebit/session.hpp"
#include "onebit/torch.hpp"

namespace onebit {
namespace detail {

// Called each time that an accumulator has added to its parameter's gradient.
class AccumulatorHook final : public torch::autograd::FunctionPostHook {
 public:
  explicit AccumulatorHook(std::function<void()> call) : call_(std::move(call)) {}
  torch::autograd::variable_list operator()(const torch::autograd::variable_list& outputs,
                                            const torch::autograd::variable_list& /*inputs*/) override {
    call_();
    return outputs;
  }

 private:
  std::function<void()> call_;
};

// One tensor's accumulator, hooked. torch::load, to() and set_data can give a tensor another accumulator, without the hook.
class HookedTensor {
 public:
  HookedTensor(torch::Tensor tensor, std::function<void()> call) : tensor_(std::move(tensor)), call_(std::move(call)) {
    refresh();
  }
  ~HookedTensor() { unhook(); }
  HookedTensor(const HookedTensor&) = delete;
  HookedTensor& operator=(const HookedTensor&) = delete;

  void refresh() {
    auto now = torch::autograd::impl::grad_accumulator(tensor_);  // NULL while requires_grad is off
    if (now == accumulator_) return;
    unhook();
    accumulator_ = std::move(now);
    if (accumulator_) key_ = accumulator_->add_post_hook(std::make_unique<AccumulatorHook>(call_));
  }

 private:
  void unhook() {
    if (accumulator_) accumulator_->del_post_hook(key_);
    accumulator_ = nullptr;
  }
  torch::Tensor tensor_;
  std::function<void()> call_;
  decltype(torch::autograd::impl::grad_accumulator(torch::Tensor())) accumulator_ = nullptr;
  uintptr_t key_ = 0;
};

// Whether a gradient is still what it was: its memory, and some of its elements, for torch::nn::utils::clip_grad_norm_ changes
// them behind autograd's back.
class Glimpse {
 public:
  static bool is_of(const torch::Tensor& gradient) {
    return gradient.defined() && gradient.device().is_cpu() && gradient.layout() == torch::kStrided &&
           gradient.unsafeGetTensorImpl()->is_non_overlapping_and_dense();
  }
  Glimpse() = default;
  explicit Glimpse(const torch::Tensor& gradient) : place_(gradient.data_ptr()) {
    const int64_t count = gradient.numel(), most = std::min<int64_t>(count, static_cast<int64_t>(seen_.size()));
    const size_t each = gradient.element_size();  // of fp32, fp16 or bf16
    for (int64_t k = 0; k < most; ++k)
      std::memcpy(&seen_[static_cast<size_t>(k)],
                  static_cast<const char*>(place_) + static_cast<size_t>(k * (count / most)) * each, each);
  }
  bool operator==(const Glimpse& other) const { return place_ == other.place_ && seen_ == other.seen_; }

 private:
  const void* place_ = nullptr;
  std::array<uint32_t, 16> seen_{};  // bits
};

}  // namespace detail

// As long as it lives, session.step() takes the gradients of the module, and what backward() has computed of them is already on
// its way. Steps are the same, to the bit, as by session.step(gradients_of(module)).
//
// * Gradients stay as they are from backward() until step() returns: they may have been sent. Clip them by session.clip_norm;
//   one that was changed in between is an error in step() that names it, where some of its elements show it.
// * One backward pass a step may reach a parameter: a second one throws an Error that names it, from backward(). To add up the
//   gradients of several (accumulation, checkpointing in blocks, double backward), let a no_sync() guard live in all but the
//   last. Passes that reach different parameters need none.
// * A parameter that no pass has reached has what is in its .grad(), or, where that is undefined, no gradient.
// * The learning rate, the gradient scale and request_sync() are set before backward().
// * Its tensors are those of the session. Tensors that get other memory between two steps (torch::load, to, set_data) are
//   followed or refused as by step(gradients_of()); between backward() and step() that is an error. A change of which are
//   trainable, and of which are tied, is an error, too. A module that was put in another's place is not seen: make another
//   DataParallel then.
// * On CUDA that a gradient was changed in between is not seen.
//
// Neither copied nor moved; one of a session at a time, else Error(invalid_argument). It lives no longer than the session,
// which is not moved meanwhile; the module may go first.
class DataParallel {
 public:
  // Collective: the module's buffers become rank 0's (broadcast_buffers), as its parameters have in the session.
  DataParallel(const torch::nn::Module& module, Session& session)
      : session_(session), trainables_(detail::trainable_of(module)), announced_(trainables_.size()) {
    for (const auto& item : module.named_parameters())
      if (!item.value().requires_grad()) frozen_.emplace_back(item.key(), item.value());
    broadcast_buffers(module, session);
    for (size_t i = 0; i < trainables_.size(); ++i)
      for (const torch::Tensor& tensor : trainables_[i].tensors)
        hooked_.push_back(std::make_unique<detail::HookedTensor>(tensor, [this, i] { came(i); }));
    session_.on_step([this] { return announce_rest(); });  // the last: what throws before it leaves nothing behind
  }
  ~DataParallel() { session_.on_step(nullptr); }
  DataParallel(const DataParallel&) = delete;
  DataParallel& operator=(const DataParallel&) = delete;

  // While one lives, backward() only adds to the gradients.
  class NoSync {
   public:
    explicit NoSync(DataParallel& of) : of_(of) { ++of_.held_back_; }
    ~NoSync() { --of_.held_back_; }
    NoSync(const NoSync&) = delete;
    NoSync& operator=(const NoSync&) = delete;

   private:
    DataParallel& of_;
  };
  [[nodiscard]] NoSync no_sync() { return NoSync(*this); }

 private:
  // Of a trainable in the step that has begun.
  struct Announced {
    const void* place = nullptr;  // of its parameter, when the step began
    bool is_done = false;
    bool waits = false;  // for step(): another's gradient is in the same memory, and may still be added to
    detail::Glimpse gradient;
  };

  // In backward(), on its thread.
  void came(size_t i) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const torch::NoGradGuard no_gradients;  // create_graph runs hooks with gradients on
    const bool is_twice = session_.begun() && announced_[i].is_done;
    if (held_back_ > 0 && !is_twice) return;
    begin();
    // what is a sum may lack others
    if (trainables_[i].tensors.size() == 1 && !announced_[i].waits) announce(i);
  }
  void begin() {
    if (session_.begun()) return;
    require_same_roles();
    std::vector<Gradient> places;
    for (size_t i = 0; i < trainables_.size(); ++i) {
      const torch::Tensor& tensor = trainables_[i].tensors.front();
      announced_[i] = Announced();
      places.push_back({nullptr, detail::parameter_of(tensor, trainables_[i].name, tensor.device())});
      announced_[i].place = places.back().parameter.place();
    }
    find_shared_gradients();
    session_.begin(ModelGradients(std::move(places)), stream());
  }
  void require_same_roles() const {
    const auto refuse = [](const std::string& name, const char* what) {
      throw Error(Code::invalid_argument, "parameter '" + name + "' is " + what +
                                              ", which it was not when the session was made: make a new session where that "
                                              "changes");
    };
    for (const auto& frozen : frozen_)
      if (frozen.second.requires_grad()) refuse(frozen.first, "trainable");
    for (const detail::Trainable& trainable : trainables_)
      for (const torch::Tensor& tensor : trainable.tensors) {
        if (!tensor.requires_grad()) refuse(trainable.name, "not trainable");
        if (tensor.numel() > 0 && tensor.data_ptr() != trainable.tensors.front().data_ptr())
          refuse(trainable.name, "no longer in the same memory as the one it was tied to");
      }
  }
  // Autograd gives some gradients the same memory (pytorch issue 34082). Where they are kept, the next pass adds to both.
  void find_shared_gradients() {
    std::unordered_map<const void*, size_t> owners;
    for (size_t i = 0; i < trainables_.size(); ++i)
      for (const torch::Tensor& tensor : trainables_[i].tensors) {
        const torch::Tensor& gradient = tensor.grad();
        if (!gradient.defined() || gradient.layout() != torch::kStrided || gradient.numel() == 0) continue;
        const auto found = owners.emplace(gradient.data_ptr(), i);
        if (found.second || found.first->second == i) continue;
        announced_[i].waits = announced_[found.first->second].waits = true;
      }
  }
  // The calling thread's: in a hook the gradient's, in step() the one in which parameters will be used.
  void* stream() const {
    void* const made = trainables_.empty() ? nullptr : torch_stream(trainables_.front().tensors.front().device());
#ifdef ONEBIT_TORCH_CUDA
    if (made == nullptr && !trainables_.empty() && trainables_.front().tensors.front().is_cuda()) return cudaStreamLegacy;
#endif
    return made;
  }
  void announce(size_t i) {
    const torch::Tensor gradient = detail::sum_of(trainables_[i]);
    if (!gradient.defined()) return;
    session_.ready(i, gradient.data_ptr<float>(), std::make_shared<const torch::Tensor>(gradient), stream());
    announced_[i].is_done = true;
    const torch::Tensor& own = trainables_[i].tensors.front().grad();
    if (detail::Glimpse::is_of(own)) announced_[i].gradient = detail::Glimpse(own);
  }
  // In step().
  void* announce_rest() {
    const std::lock_guard<std::mutex> lock(mutex_);
    const torch::NoGradGuard no_gradients;
    begin();
    for (size_t i = 0; i < trainables_.size(); ++i) {
      const torch::Tensor& tensor = trainables_[i].tensors.front();
      if (tensor.numel() > 0 && tensor.data_ptr() != announced_[i].place)
        throw Error(Code::invalid_argument, "parameter '" + trainables_[i].name +
                                                "' was given other memory between backward() and step(): load or convert the "
                                                "module between two steps");
      if (!announced_[i].is_done) {
        announce(i);
        continue;
      }
      const torch::Tensor gradient = tensor.grad();
      if (detail::Glimpse::is_of(gradient) && !(detail::Glimpse(gradient) == announced_[i].gradient))
        throw Error(Code::invalid_argument,
                    "the gradient of '" + trainables_[i].name +
                        "' was changed between backward() and step(), and may have been sent before: to "
                        "clip gradients set session.clip_norm, to scale them set_gradient_scale()");
    }
    for (const std::unique_ptr<detail::HookedTensor>& tensor : hooked_) tensor->refresh();
    return stream();
  }

  Session& session_;
  const std::vector<detail::Trainable> trainables_;
  std::vector<std::pair<std::string, torch::Tensor>> frozen_;
  std::vector<Announced> announced_;
  std::atomic<int> held_back_{0};
  std::mutex mutex_;
  std::vector<std::unique_ptr<detail::HookedTensor>> hooked_;  // the last member: hooks use the others
};

}  // namespace onebit
