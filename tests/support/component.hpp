// SPDX-License-Identifier: Apache-2.0
// One component for a test, made by the registry from lines of TOML; and the machine's SIMD targets, one after another.
#pragma once

#include <hwy/targets.h>

#include <memory>
#include <string>
#include <vector>

#include "onebit/manifest.hpp"
#include "onebit/registry.hpp"

namespace onebit::test {

// The library is loaded once, and stays.
inline const Registry& registry_of(const std::string& library) {
  static Registry registry;
  registry.load(Registry::default_folder() / (library + ".so"));
  return registry;
}

inline std::unique_ptr<Compressor> make_compressor(const std::string& plugin, const std::string& lines = "") {
  const Registry& registry = registry_of("onebit_plugin_" + plugin);
  const Manifest manifest = Manifest::parse("[compressor]\n" + lines, "test.toml", ".");
  const ComponentInfo& component = registry.find(Kind::compressor, plugin);
  return registry.make_compressor(component, ResolvedTable(manifest, "compressor", component.options));
}

inline std::unique_ptr<Optimizer> make_optimizer(const std::string& plugin, const std::string& lines = "") {
  const Registry& registry = registry_of("onebit_plugin_" + plugin);
  const Manifest manifest = Manifest::parse("[optimizer]\n" + lines, "test.toml", ".");
  const ComponentInfo& component = registry.find(Kind::optimizer, plugin);
  return registry.make_optimizer(component, ResolvedTable(manifest, "optimizer", component.options));
}

// Makes every library of this process run for one target, as long as it lives.
class OnTarget {
 public:
  explicit OnTarget(int64_t target) { choose(target); }
  ~OnTarget() { choose(0); }
  OnTarget(const OnTarget&) = delete;
  OnTarget& operator=(const OnTarget&) = delete;

 private:
  static void choose(int64_t target) {
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  }
};

}  // namespace onebit::test
