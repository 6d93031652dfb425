// SPDX-License-Identifier: Apache-2.0
#include "components.hpp"

namespace onebit::bench {

const Registry& registry() {
  static const auto loaded = [] {
    auto made = std::make_unique<Registry>();
    made->load_folder(Registry::default_folder());
    made->load(ONEBIT_BENCH_MIRROR);
    return made;
  }();
  return *loaded;
}

std::unique_ptr<Compressor> make_onebit() {
  const Manifest manifest = Manifest::parse("[compressor]\nplugin = \"onebit\"\n", "bench", ".");
  const ComponentInfo& component = registry().find(Kind::compressor, "onebit");
  return registry().make_compressor(component, ResolvedTable(manifest, "compressor", component.options, true));
}

std::unique_ptr<Communicator> make_threads(const onebit_rendezvous& rendezvous) {
  const Manifest manifest = Manifest::parse("[communicator]\nplugin = \"threads\"\n", "bench", ".");
  const ComponentInfo& component = registry().find(Kind::communicator, "threads");
  return registry().make_communicator(component, ResolvedTable(manifest, "communicator", component.options, true), rendezvous);
}

}  // namespace onebit::bench
