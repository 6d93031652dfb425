// SPDX-License-Identifier: Apache-2.0
// One CUDA component for a test, on the emulated runtime: made by the registry from lines of TOML.
#pragma once

#include <memory>
#include <string>

#include "onebit/manifest.hpp"
#include "onebit/registry.hpp"

namespace onebit::test {

// The library is loaded once, and stays.
inline const Registry& registry_on_cpu(const std::string& library) {
  static Registry registry;
  registry.load(Registry::default_folder().parent_path() / "plugins_on_cpu" / (library + ".so"));
  return registry;
}

inline std::unique_ptr<Compressor> make_cuda_compressor(const std::string& plugin, const std::string& lines = "") {
  const Registry& registry = registry_on_cpu("onebit_plugin_" + plugin + "_cuda");
  const Manifest manifest = Manifest::parse("[compressor]\n" + lines, "test.toml", ".");
  const ComponentInfo& component = registry.find(Kind::compressor, plugin, ONEBIT_DEVICE_CUDA);
  return registry.make_compressor(component, ResolvedTable(manifest, "compressor", component.options));
}

inline std::unique_ptr<Optimizer> make_cuda_optimizer(const std::string& plugin, const std::string& lines = "") {
  const Registry& registry = registry_on_cpu("onebit_plugin_" + plugin + "_cuda");
  const Manifest manifest = Manifest::parse("[optimizer]\n" + lines, "test.toml", ".");
  const ComponentInfo& component = registry.find(Kind::optimizer, plugin, ONEBIT_DEVICE_CUDA);
  return registry.make_optimizer(component, ResolvedTable(manifest, "optimizer", component.options));
}

}  // namespace onebit::test
