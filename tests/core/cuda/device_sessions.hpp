// SPDX-License-Identifier: Apache-2.0
// Sessions on the emulated CUDA device: n ranks as threads, their models in device memory, over the communicator `nccl` and a
// library that stands in for NCCL.
#pragma once

#include <cuda_runtime.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cuda_on_cpu/emulated_device.hpp"
#include "support/sessions.hpp"

namespace onebit::test {

// What is built for CUDA, on the CPU; and the plugins of the CPU, for rehearsals.
inline const Registry& device_plugins() {
  static Registry* registry = [] {
    auto* made = new Registry();
    const std::filesystem::path folder = Registry::default_folder();
    made->load_folder(folder.parent_path() / "plugins_on_cpu");
    for (const char* name : {"adam", "lamb", "onebit_adam", "onebit_lamb", "zeroone_adam"})
      made->load(folder / (std::string("onebit_plugin_") + name + ".so"));
    return made;
  }();
  return *registry;
}

// A model in device memory, and its gradients.
class DeviceTensors {
 public:
  explicit DeviceTensors(const Tensors& tensors) {
    for (const std::vector<float>& tensor : tensors) arrays_.push_back(std::make_unique<DeviceArray<float>>(tensor));
  }
  void set(const Tensors& tensors) {
    for (size_t k = 0; k < tensors.size(); ++k) arrays_[k]->set(tensors[k]);
  }
  Tensors get() const {
    Tensors tensors;
    for (const auto& array : arrays_) tensors.push_back(array->get());
    return tensors;
  }
  std::vector<const float*> pointers() const {
    std::vector<const float*> result;
    for (const auto& array : arrays_) result.push_back(array->data());
    return result;
  }
  std::vector<Parameter> parameters() const {
    std::vector<Parameter> result;
    for (size_t k = 0; k < arrays_.size(); ++k)
      result.push_back({"t" + std::to_string(k), {static_cast<int64_t>(arrays_[k]->size())}, arrays_[k]->data()});
    return result;
  }
  bool intact() const {
    for (const auto& array : arrays_)
      if (!array->intact()) return false;
    return true;
  }

 private:
  std::vector<std::unique_ptr<DeviceArray<float>>> arrays_;
};

struct DeviceRank {
  Session& session;
  DeviceTensors &parameters, &gradients;
  cudaStream_t stream;  // the embedder's
  int number;
};

// Runs body on every rank; answers the parameters of all ranks afterwards.
inline std::vector<Tensors> run_device_sessions(int ranks, const std::string& toml, const Tensors& initial,
                                                const std::function<void(DeviceRank)>& body) {
  LocalRendezvous rendezvous(ranks);
  std::vector<Tensors> parameters(static_cast<size_t>(ranks));
  const Registry& registry = device_plugins();
  host::run_ranks(ranks, [&](int rank) {
    const TestStream stream;
    DeviceTensors own(initial), gradients(initial);
    {
      const Configuration configuration(registry, Manifest::parse(toml, "test.toml", "."));
      Session session(registry, configuration, rendezvous.at(rank), own.parameters());
      body({session, own, gradients, stream, rank});
      session.settle();
    }
    parameters[static_cast<size_t>(rank)] = own.get();
  });
  return parameters;
}

}  // namespace onebit::test
