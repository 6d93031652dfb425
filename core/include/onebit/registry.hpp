// SPDX-License-Identifier: Apache-2.0
// The registry: every plugin library that was found, and the components in them, keyed by (kind, name, device). Libraries are
// checked, loaded (RTLD_NOW | RTLD_LOCAL) and validated one by one; a library that fails leaves the rest working, is warned of,
// and its reason is told when somebody asks for a component that is not there. Libraries stay mapped for the life of the
// process, so objects may outlive the registry that made them.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "onebit/abi.h"
#include "onebit/communicator.hpp"
#include "onebit/compressor.hpp"
#include "onebit/manifest.hpp"
#include "onebit/metrics.hpp"
#include "onebit/optimizer.hpp"

namespace spdlog {
class logger;  // NOLINT(readability-identifier-naming): spdlog's; without its header, which would meet the fmt that pip's
               // libtorch brings where somebody includes both
}

namespace onebit {

class Device;
class Traces;

enum class Kind : int64_t {
  optimizer = ONEBIT_KIND_OPTIMIZER,
  compressor = ONEBIT_KIND_COMPRESSOR,
  communicator = ONEBIT_KIND_COMMUNICATOR,
  device = 65536,  // the core's own part for a device: no kind of the contract's, for it belongs to one version of the core
};
std::string_view name_of(Kind kind);         // "optimizer"
std::string_view device_name(int64_t type);  // "cpu", "cuda"

struct ComponentInfo {
  Kind kind;
  std::string name;
  int64_t device;
  std::vector<const onebit_schema*> options;
  const void* api;            // onebit_<kind>_api
  uint64_t capabilities = 0;  // ONEBIT_CAPABILITY_ bits
};
struct PluginInfo {
  std::filesystem::path file;  // absolute
  std::string name, version, toolchain;
  uint64_t abi_minor;
  std::string unavailable;  // why it can't be used on this machine; "" when it can
  std::vector<ComponentInfo> components;
};
// The parts of loading a file, in their order. What a file does that crashes or hangs, it does in one of them.
enum class LoadStage { check, load, entry, tables, probe };
using LoadObserver = std::function<void(LoadStage begins)>;
struct LoadFailure {
  std::filesystem::path file;
  std::string reason;
};

// The schema of the table [plugins].
std::vector<const onebit_schema*> plugins_schema();

class Registry {
 public:
  // logger: where the core and its plugins log; NULL: nowhere. Must outlive the process's use of plugins.
  explicit Registry(std::shared_ptr<spdlog::logger> logger = nullptr);
  ~Registry();
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;
  // The same registry once more: what it holds lives as long as one of the two. A session keeps one.
  Registry shared() const { return Registry(impl_, Same()); }

  // Loads one file, or throws with the reason. Loading a file that is already loaded does nothing. May be called from any
  // thread, as may all that follows. The answer lives as long as the registry. observer: told what begins.
  const PluginInfo& load(const std::filesystem::path& file, const LoadObserver& observer = {});
  // Loads every *.so of a folder, in the order of their names; failures are kept and logged as warnings. A missing folder is an
  // error.
  void load_folder(const std::filesystem::path& folder);
  // Loads what the manifest's plugins.path names (files or folders, relative to the manifest), then what `search` names (the
  // embedder's own, such as the folders of an environment variable), then default_folder(), if it exists. What is wrong with
  // one of them (it is not there, is no plugin, has a component that another has) costs that one: a warning, and one of
  // failures().
  //
  // A table [[plugins.pin]] gives the sha256 of a library: `file` is a path relative to the manifest or, without a '/', the
  // name of a file wherever it is found. It is an error when a library has another hash, or when none is loaded for a pin. With
  // plugins.require_pins nothing else is loaded but default_folder(). plugins.trusted_owners are users, by name or number,
  // whose files are loaded besides those of root and of the user. All three hold for what is loaded later, until another
  // manifest is. A pinned library that others could change (it or its folder is writable by everybody, or it is some other
  // user's) is loaded from a private copy in memory, unless it looks for libraries beside itself ($ORIGIN).
  void load(const Manifest& manifest, const std::vector<std::filesystem::path>& search = {});
  // As plugins.trusted_owners, for what is loaded from now on, with or without a manifest: a user's name, or number in digits.
  void trust_owner(const std::string& user);
  // The plugins that were built or installed with this core: lib/onebit/plugins beside it. The owner of the core is trusted
  // there.
  static std::filesystem::path default_folder();

  // Throws Error(unavailable) that says where was looked, what failed to load, and the nearest name.
  const ComponentInfo& find(Kind kind, std::string_view name, int64_t device = ONEBIT_DEVICE_CPU) const;
  // The plugin of a component that find answered.
  const PluginInfo& plugin_of(const ComponentInfo& component) const;
  std::vector<PluginInfo> plugins() const;
  std::vector<LoadFailure> failures() const;

  // quiet: what it logs and measures goes nowhere.
  std::unique_ptr<Optimizer> make_optimizer(const ComponentInfo& component, const ResolvedTable& options,
                                            bool quiet = false) const;
  std::unique_ptr<Compressor> make_compressor(const ComponentInfo& component, const ResolvedTable& options) const;
  std::unique_ptr<Communicator> make_communicator(const ComponentInfo& component, const ResolvedTable& options,
                                                  const onebit_rendezvous& rendezvous) const;

  // ordinal: which of this machine's devices. For the core.
  std::unique_ptr<Device> make_device(const ComponentInfo& component, int32_t ordinal) const;

  const std::shared_ptr<spdlog::logger>& logger() const;
  Metrics& metrics() const;
  Traces& traces() const;  // where plugins report what took time; for the core

 private:
  struct Impl;
  struct Same {};
  Registry(std::shared_ptr<Impl> impl, Same) : impl_(std::move(impl)) {}
  std::shared_ptr<Impl> impl_;
};

}  // namespace onebit
