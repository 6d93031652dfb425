// SPDX-License-Identifier: Apache-2.0
#include "components.hpp"

namespace onebit::gpu_bench {
namespace {

// The folder beside the core's own in which plugins for the device lie: the same one, but where CUDA is emulated.
std::unique_ptr<Registry> load() {
  auto made = std::make_unique<Registry>();
  const std::filesystem::path folder = Registry::default_folder();
  const std::filesystem::path on_device = folder.parent_path() / ONEBIT_BENCH_PLUGINS;
  for (const char* name : optimizers) {
    made->load(folder / (std::string("onebit_plugin_") + name + ".so"));  // its twin on the CPU rehearses
    made->load(on_device / (std::string("onebit_plugin_") + name + "_cuda.so"));
  }
  made->load(on_device / "onebit_plugin_onebit_cuda.so");
  made->load(on_device / "onebit_plugin_cuda.so");
  made->load(ONEBIT_BENCH_MIRROR);
  return made;
}

Manifest manifest_of(const std::string& text) { return Manifest::parse(text, "bench", "."); }

// table and text: of a manifest with this component alone.
ResolvedTable options_of(const ComponentInfo& component, const char* table, const std::string& lines = "") {
  return {manifest_of('[' + std::string(table) + "]\n" + lines), table, component.options};
}

}  // namespace

const Registry& registry() {
  static const std::unique_ptr<Registry> loaded = load();
  return *loaded;
}

std::unique_ptr<Device> make_device() {
  return registry().make_device(registry().find(Kind::device, "cuda", ONEBIT_DEVICE_CUDA), 0);
}

std::unique_ptr<Compressor> make_onebit() {
  const ComponentInfo& component = registry().find(Kind::compressor, "onebit", ONEBIT_DEVICE_CUDA);
  return registry().make_compressor(component, options_of(component, "compressor"));
}

double payload_per_element() {
  const std::unique_ptr<Compressor> codec = make_onebit();
  const int64_t block = codec->describe().block;
  return static_cast<double>(codec->payload_size(block)) / static_cast<double>(block);
}

std::unique_ptr<Communicator> make_mirror() {
  const ComponentInfo& component = registry().find(Kind::communicator, "mirror", ONEBIT_DEVICE_CUDA);
  return registry().make_communicator(component, options_of(component, "communicator"), nowhere());
}

std::unique_ptr<Optimizer> make_optimizer(const std::string& name, const std::string& options) {
  const ComponentInfo& component = registry().find(Kind::optimizer, name, ONEBIT_DEVICE_CUDA);
  return registry().make_optimizer(component, options_of(component, "optimizer", options));
}

Configuration configuration_of(const std::string& optimizer, const std::string& options, const std::string& tables,
                               const std::string& mirror) {
  const std::string text = "[optimizer]\nplugin = \"" + optimizer + "\"\n" + options +
                           "\n[compressor]\nplugin = \"onebit\"\n[session]\ndevice = \"cuda\"\n" + tables +
                           "\n[communicator]\nplugin = \"mirror\"\n" + mirror;
  return {registry(), manifest_of(text)};
}

std::string exchange_of(int64_t bucket_bytes) { return "[exchange]\nbucket_bytes = " + std::to_string(bucket_bytes) + "\n"; }

onebit_rendezvous nowhere() { return {sizeof(onebit_rendezvous), 0, 2, 0, 2, nullptr, nullptr, nullptr}; }

}  // namespace onebit::gpu_bench
