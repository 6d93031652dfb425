// SPDX-License-Identifier: Apache-2.0
// The registry: what was loaded, from where, and what failed. One lock around everything; loading is rare and looking up is
// too.
#include "onebit/registry.hpp"

#include <dlfcn.h>
#include <spdlog/fmt/fmt.h>
#include <spdlog/sinks/null_sink.h>
#include <sys/stat.h>

#include <algorithm>
#include <deque>
#include <map>
#include <mutex>
#include <tuple>

#include "device/device.hpp"
#include "loading/adapters.hpp"
#include "loading/host_services.hpp"
#include "loading/library.hpp"
#include "loading/owners.hpp"
#include "loading/pins.hpp"
#include "loading/plugin_paths.hpp"
#include "loading/refuse.hpp"
#include "manifest/nearest.hpp"
#include "process/float_environment.hpp"

namespace onebit {
namespace {

namespace fs = std::filesystem;
using Key = std::tuple<Kind, std::string, int64_t>;

// How a file came to be loaded: it alone, by its own name; as one of several, in a folder or by a manifest; with the core's own
// folder.
enum class Origin { alone, among_others, built_in };

std::shared_ptr<spdlog::logger> or_silent(std::shared_ptr<spdlog::logger> logger) {
  if (logger != nullptr) return logger;
  return std::make_shared<spdlog::logger>("onebit", std::make_shared<spdlog::sinks::null_sink_mt>());
}

fs::path find_core() {
  Dl_info info{};
  if (dladdr(reinterpret_cast<const void*>(&device_name), &info) == 0 || info.dli_fname == nullptr) return {};
  std::error_code error;
  fs::path core = fs::canonical(info.dli_fname, error);
  return error ? fs::path() : core;
}
const fs::path& file_of_core() {
  static const fs::path core = find_core();
  return core;
}

// Whoever owns the core could change what it does: its own plugins, beside it, may be that user's as well.
void add_owner_of_core(Owners& owners) {
  struct stat status {};
  if (stat(file_of_core().c_str(), &status) == 0) owners.push_back(status.st_uid);
}

std::string text_of(const Key& key) {
  return fmt::format("{} '{}' for {}", name_of(std::get<Kind>(key)), std::get<std::string>(key),
                     device_name(std::get<int64_t>(key)));
}

}  // namespace

std::string_view name_of(Kind kind) {
  switch (kind) {
    case Kind::optimizer:
      return "optimizer";
    case Kind::compressor:
      return "compressor";
    case Kind::communicator:
      return "communicator";
    case Kind::device:
      return "device";
  }
  return "component of an unknown kind";
}

std::string_view device_name(int64_t type) {
  return type == ONEBIT_DEVICE_CPU ? "cpu" : type == ONEBIT_DEVICE_CUDA ? "cuda" : "an unknown device";
}

struct Registry::Impl {
  explicit Impl(std::shared_ptr<spdlog::logger> given) : services(HostServices::make(or_silent(std::move(given)))) {}
  ~Impl() {
    while (!libraries.empty()) libraries.pop_back();  // the last loaded shuts down first
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  mutable std::mutex mutex;
  HostServices& services;
  std::deque<Library> libraries;  // addresses stay
  std::map<Key, std::pair<const Library*, const ComponentInfo*>> components;
  std::map<Key, fs::path> rivals;  // found again in a folder: asking for such a component is ambiguous
  std::vector<LoadFailure> failures;
  std::vector<fs::path> looked_in;
  Pins pins;
  Owners owners, owners_of_manifest;

  const Library& open(const fs::path& file, Origin origin, const LoadObserver& observer = {});
  const Library& open_checked(const fs::path& file, Origin origin, const LoadObserver& observer);
  Owners trusted_in(const fs::path& folder) const;
  const Library* loaded(const LibraryFile& file) const;
  void check_rivals(const Library& library, Origin origin);
  void announce(const PluginInfo& info) const;
  void scan(const fs::path& folder, Origin origin);
  void load_each(const std::vector<fs::path>& paths, const std::string& written = "");
  std::string absence(const Key& key) const;
  std::string other_offer(const Key& key) const;
  Boundary boundary(const ComponentInfo& component, Kind kind, const ResolvedTable& options = {}) const;
  const std::pair<const Library*, const ComponentInfo*>& owner(const ComponentInfo& component) const;
};

const Library& Registry::Impl::open(const fs::path& file, Origin origin, const LoadObserver& observer) {
  const FloatEnvironment environment;
  const fs::path shown = written_out(file);
  const auto text = [&](const std::exception& e) {
    failures.push_back({shown, plugin_label(shown) + ": " + e.what()});
    return failures.back().reason;
  };
  try {
    return open_checked(file, origin, observer);
  } catch (const PinError& e) {
    throw PinError(e.code(), text(e), e.native());
  } catch (const Error& e) {
    throw Error(e.code(), text(e), e.native());
  } catch (const std::exception& e) {
    throw Error(Code::internal, text(e));
  }
}

const Library& Registry::Impl::open_checked(const fs::path& path, Origin origin, const LoadObserver& observer) {
  if (observer) observer(LoadStage::check);
  LibraryFile file(path, trusted_in(path.parent_path()));
  if (!file.doubt().empty()) {
    if (!pins.concern(file, path)) refuse(file.doubt());
    file.make_private();
  }
  pins.check(file, path, origin == Origin::built_in);
  if (const Library* const known = loaded(file)) return *known;
  Library library = open_library(file, services.table(), observer);
  check_rivals(library, origin);
  const Library& kept = libraries.emplace_back(std::move(library));
  for (const ComponentInfo& component : kept.info.components)
    components.emplace(Key(component.kind, component.name, component.device), std::pair(&kept, &component));
  announce(kept.info);
  return kept;
}

Owners Registry::Impl::trusted_in(const fs::path& folder) const {
  Owners all = owners;
  all.insert(all.end(), owners_of_manifest.begin(), owners_of_manifest.end());
  std::error_code ignored;
  if (fs::equivalent(folder, default_folder(), ignored)) add_owner_of_core(all);
  return all;
}

// One file is one library, under however many names.
const Library* Registry::Impl::loaded(const LibraryFile& file) const {
  for (const Library& library : libraries) {
    if (!library.identity.same_file(file.identity())) continue;
    if (library.identity == file.identity()) return &library;
    throw Error(Code::invalid_argument, "it was written to since it was loaded; start the program anew");
  }
  return nullptr;
}

void Registry::Impl::check_rivals(const Library& library, Origin origin) {
  for (const ComponentInfo& component : library.info.components) {
    const Key key(component.kind, component.name, component.device);
    const auto found = components.find(key);
    if (found == components.end()) continue;
    if (origin != Origin::alone) rivals.emplace(key, library.info.file);
    throw Error(Code::invalid_argument, fmt::format("{} is already in {}; load only one of the two", text_of(key),
                                                    found->second.first->info.file.string()));
  }
}

void Registry::Impl::announce(const PluginInfo& info) const {
  std::string offered;
  for (const ComponentInfo& component : info.components)
    offered += fmt::format("{}{}/{} ({})", offered.empty() ? "" : ", ", name_of(component.kind), component.name,
                           device_name(component.device));
  services.logger()->info("plugin {} {}: {}; {}, ABI {}.{}, {}{}", info.name, info.version, offered, info.file.string(),
                          ONEBIT_ABI_MAJOR, info.abi_minor, info.toolchain,
                          info.unavailable.empty() ? "" : "; unavailable: " + info.unavailable);
}

void Registry::Impl::scan(const fs::path& folder, Origin origin) {
  std::error_code error;
  std::vector<fs::path> files;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error))
    if (entry->path().extension() == ".so") files.push_back(entry->path());
  if (error) throw Error(Code::unavailable, "the plugin folder " + folder.string() + " can't be read: " + error.message());
  std::sort(files.begin(), files.end());
  looked_in.push_back(folder);
  for (const fs::path& file : files) {
    try {
      open(file, origin);
    } catch (const PinError&) {
      throw;
    } catch (const Error& e) {
      services.logger()->warn("{}; it is left out", e.what());
    }
  }
}

// Whatever is wrong with one of them costs that one alone; but who pins a library gets that one or an error.
// written: where the paths were written, for errors.
void Registry::Impl::load_each(const std::vector<fs::path>& paths, const std::string& written) {
  const std::string where = written.empty() ? "" : written + ": ";
  for (const fs::path& path : paths) {
    const size_t told = failures.size();
    std::error_code ignored;
    try {
      fs::is_directory(path, ignored) ? scan(path, Origin::among_others) : void(open(path, Origin::among_others));
    } catch (const PinError& e) {
      throw PinError(e.code(), where + e.what(), e.native());
    } catch (const Error& e) {
      if (failures.size() == told) failures.push_back({path, e.what()});
      services.logger()->warn("{}{}; it is left out", where, e.what());
    }
  }
}

// The same name for another device, which can be chosen, or under another kind: a hint worth more than a list.
std::string Registry::Impl::other_offer(const Key& key) const {
  std::string offer;
  for (const auto& [other, found] : components) {
    if (std::get<std::string>(other) != std::get<std::string>(key)) continue;
    if (std::get<Kind>(other) == std::get<Kind>(key))
      return fmt::format("; what is there: {} (session.device = \"{}\")", text_of(other),
                         device_name(std::get<int64_t>(other)));
    if (offer.empty()) offer = "; what is there: " + text_of(other);
  }
  return offer;
}

// Where was looked, what failed there, and last what may have been meant.
std::string Registry::Impl::absence(const Key& key) const {
  const auto& [kind, name, device] = key;
  std::vector<std::string_view> offered;
  for (const auto& [other, found] : components)
    if (std::get<Kind>(other) == kind && std::get<int64_t>(other) == device) offered.push_back(std::get<std::string>(other));
  std::string text = "no " + text_of(key);
  for (size_t i = 0; i < looked_in.size(); ++i) text += (i ? ", " : " in ") + looked_in[i].string();
  for (const LoadFailure& failure : failures) text += "; failed to load: " + failure.reason;
  const std::string offer = other_offer(key);
  const bool elsewhere = offer.ends_with(')');
  return text + offer +
         (offer.empty() || elsewhere ? suggestion(name, offered, fmt::format("{}s to choose from", name_of(kind))) : "");
}

const std::pair<const Library*, const ComponentInfo*>& Registry::Impl::owner(const ComponentInfo& component) const {
  const auto found = components.find(Key(component.kind, component.name, component.device));
  if (found == components.end() || found->second.second != &component)
    throw Error(Code::invalid_argument, fmt::format("the component '{}' is not from this registry", component.name));
  return found->second;
}

Boundary Registry::Impl::boundary(const ComponentInfo& component, Kind kind, const ResolvedTable& options) const {
  const std::lock_guard lock(mutex);
  if (component.kind != kind)
    throw Error(Code::invalid_argument, fmt::format("the component '{}' is of the kind {}, expected {}", component.name,
                                                    name_of(component.kind), name_of(kind)));
  return Boundary(fmt::format("{} '{}'", name_of(kind), component.name), owner(component).first->table, options);
}

Registry::Registry(std::shared_ptr<spdlog::logger> logger) : impl_(std::make_shared<Impl>(std::move(logger))) {}
Registry::~Registry() = default;

const PluginInfo& Registry::load(const fs::path& file, const LoadObserver& observer) {
  const std::lock_guard lock(impl_->mutex);
  return impl_->open(file, Origin::alone, observer).info;
}

void Registry::load_folder(const fs::path& folder) {
  const std::lock_guard lock(impl_->mutex);
  impl_->scan(folder, Origin::among_others);
}

void Registry::load(const Manifest& manifest, const std::vector<fs::path>& search) {
  const ResolvedTable plugins(manifest, "plugins", plugins_schema());
  const std::lock_guard lock(impl_->mutex);
  impl_->pins = Pins(manifest);
  impl_->owners_of_manifest = trusted_owners(manifest);
  impl_->load_each(plugin_paths(plugins, manifest.folder()), manifest.where("plugins", "path").text());
  impl_->load_each(search);
  if (const fs::path folder = default_folder(); fs::is_directory(folder)) impl_->scan(folder, Origin::built_in);
  impl_->pins.check_all_used(impl_->failures);
}

void Registry::trust_owner(const std::string& user) {
  const std::lock_guard lock(impl_->mutex);
  impl_->owners.push_back(number_of_user(user));
}

fs::path Registry::default_folder() {
  const fs::path& core = file_of_core();
  return core.empty() ? core : core.parent_path() / "onebit" / "plugins";
}

const ComponentInfo& Registry::find(Kind kind, std::string_view name, int64_t device) const {
  const std::lock_guard lock(impl_->mutex);
  const Key key(kind, std::string(name), device);
  const auto found = impl_->components.find(key);
  if (found == impl_->components.end()) throw Error(Code::unavailable, impl_->absence(key));
  const PluginInfo& plugin = found->second.first->info;
  if (const auto rival = impl_->rivals.find(key); rival != impl_->rivals.end())
    throw Error(Code::invalid_argument, fmt::format("{} is there twice: in {} and in {}; remove one of the two", text_of(key),
                                                    plugin.file.string(), rival->second.string()));
  if (!plugin.unavailable.empty())
    throw Error(Code::unavailable, fmt::format("{}: {} can't be used on this machine: {}", plugin_label(plugin.file),
                                               text_of(key), plugin.unavailable));
  return *found->second.second;
}

const PluginInfo& Registry::plugin_of(const ComponentInfo& component) const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->owner(component).first->info;
}

std::vector<PluginInfo> Registry::plugins() const {
  const std::lock_guard lock(impl_->mutex);
  std::vector<PluginInfo> infos;
  for (const Library& library : impl_->libraries) infos.push_back(library.info);
  return infos;
}

std::vector<LoadFailure> Registry::failures() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->failures;
}

std::unique_ptr<Optimizer> Registry::make_optimizer(const ComponentInfo& component, const ResolvedTable& options,
                                                    bool quiet) const {
  const FloatEnvironment environment;
  const HostServices& services = impl_->services;
  return adapt_optimizer(impl_->boundary(component, Kind::optimizer, options),
                         *static_cast<const onebit_optimizer_api*>(component.api),
                         quiet ? services.quiet_table() : services.table(), options.config());
}

std::unique_ptr<Compressor> Registry::make_compressor(const ComponentInfo& component, const ResolvedTable& options) const {
  const FloatEnvironment environment;
  return adapt_compressor(impl_->boundary(component, Kind::compressor, options),
                          *static_cast<const onebit_compressor_api*>(component.api), impl_->services.table(), options.config());
}

std::unique_ptr<Communicator> Registry::make_communicator(const ComponentInfo& component, const ResolvedTable& options,
                                                          const onebit_rendezvous& rendezvous) const {
  const FloatEnvironment environment;
  return adapt_communicator(impl_->boundary(component, Kind::communicator, options),
                            *static_cast<const onebit_communicator_api*>(component.api), impl_->services.table(),
                            options.config(), rendezvous);
}

std::unique_ptr<Device> Registry::make_device(const ComponentInfo& component, int32_t ordinal) const {
  const FloatEnvironment environment;
  (void)impl_->boundary(component, Kind::device);
  return static_cast<const DeviceMaker*>(component.api)->make(ordinal);
}

const std::shared_ptr<spdlog::logger>& Registry::logger() const { return impl_->services.logger(); }
Metrics& Registry::metrics() const { return impl_->services.metrics(); }
Traces& Registry::traces() const { return impl_->services.traces(); }

}  // namespace onebit
