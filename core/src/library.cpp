// Loading, step by step; each step fails with its own words.
#include "library.hpp"

#include <dlfcn.h>
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <boost/dll/shared_library.hpp>
#include <map>
#include <mutex>

#include "boundary.hpp"
#include "elf.hpp"
#include "trust.hpp"
#include "validate.hpp"

namespace onebit {
namespace {

constexpr std::string_view entry_prefix = "onebit_plugin_entry_v";
static_assert(ONEBIT_ABI_MAJOR == 1, "the entry's name and its type change with the major version");
constexpr const char* entry_name = "onebit_plugin_entry_v1";

[[noreturn]] void refuse(const std::string& reason) { throw Error(Code::invalid_argument, reason); }

// The major versions for which the library has an entry: "2", "2, 3"; "" when it has none.
std::string other_majors(const ElfLibrary& elf) {
  std::vector<std::string> majors;
  for (const std::string& symbol : elf.exported)
    if (symbol.compare(0, entry_prefix.size(), entry_prefix) == 0) majors.push_back(symbol.substr(entry_prefix.size()));
  std::sort(majors.begin(), majors.end());
  return fmt::format("{}", fmt::join(majors, ", "));
}

void check_file(const std::filesystem::path& file) {
  if (const std::string reason = distrust(file); !reason.empty()) refuse(reason);
  const ElfLibrary elf(file);
  if (!elf.has_sections) return;  // the loader will tell
  if (std::find(elf.exported.begin(), elf.exported.end(), entry_name) != elf.exported.end()) return;
  const std::string majors = other_majors(elf);
  if (!majors.empty())
    refuse(fmt::format("built for ABI {}, this host speaks {}; rebuild it with SDK {}.x", majors, ONEBIT_ABI_MAJOR,
                       ONEBIT_ABI_MAJOR));
  refuse(fmt::format("not an onebit plugin: it does not export {}; end a plugin with ONEBIT_PLUGIN(...)", entry_name));
}

// A g++ library often can't be unmapped, and a thread still running in it would crash: this keeps it whoever lets go of it.
void pin(const std::filesystem::path& file) { dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE); }

onebit_plugin_entry_v1_fn load_entry(const std::filesystem::path& file) {
  namespace dll = boost::dll;
  try {
    const dll::shared_library library(file.string(), dll::load_mode::rtld_now | dll::load_mode::rtld_local);
    pin(file);
    return &library.get<std::remove_pointer_t<onebit_plugin_entry_v1_fn>>(entry_name);
  } catch (const std::exception& e) {
    refuse(std::string("it can't be loaded: ") + e.what());
  } catch (...) {
    refuse("it can't be loaded: one of its static constructors threw an exception");
  }
}

const onebit_plugin* enter(onebit_plugin_entry_v1_fn entry, const onebit_host* host) {
  CallError err;
  const onebit_plugin* plugin = entry(host, &err);
  if (plugin == nullptr) refuse("its entry refused: " + err.reason());
  return plugin;
}

std::string probe(const onebit_plugin& plugin) {
  if (!ONEBIT_CAN(&plugin, onebit_plugin, probe)) return "";
  CallError err;
  const onebit_code code = plugin.probe(&err);
  if (code == ONEBIT_OK) return "";
  if (code == ONEBIT_UNAVAILABLE) return err.reason();
  refuse(fmt::format("its probe failed with {}: {}", code_name(code), err.reason()));
}

std::shared_ptr<const onebit_plugin> shared_table(const onebit_plugin* plugin) {
  static std::mutex mutex;
  static auto& live = *new std::map<const onebit_plugin*, std::weak_ptr<const onebit_plugin>>;
  const auto shut_down = [](const onebit_plugin* last) {
    const std::lock_guard lock(mutex);
    if (ONEBIT_CAN(last, onebit_plugin, shutdown)) last->shutdown();
  };
  const std::lock_guard lock(mutex);
  std::weak_ptr<const onebit_plugin>& known = live[plugin];
  std::shared_ptr<const onebit_plugin> table = known.lock();
  if (table == nullptr) known = table = std::shared_ptr<const onebit_plugin>(plugin, shut_down);
  return table;
}

}  // namespace

std::string plugin_label(const std::filesystem::path& file) {
  std::string stem = file.stem().string();
  if (stem.rfind("lib", 0) == 0) stem.erase(0, 3);
  return "plugin '" + stem + "' (" + file.string() + ")";
}

Library open_library(const std::filesystem::path& file, const onebit_host* host, const LoadObserver& observer) {
  const auto begins = [&observer](LoadStage stage) {
    if (observer) observer(stage);
  };
  try {
    begins(LoadStage::check);
    check_file(file);
    begins(LoadStage::load);
    const onebit_plugin_entry_v1_fn entry = load_entry(file);
    begins(LoadStage::entry);
    const onebit_plugin* plugin = enter(entry, host);
    begins(LoadStage::tables);
    PluginInfo info = checked_plugin(plugin);
    info.file = file;
    begins(LoadStage::probe);
    info.unavailable = probe(*plugin);
    return {std::move(info), shared_table(plugin)};
  } catch (const Error& e) {
    throw Error(e.code(), plugin_label(file) + ": " + e.what(), e.native());
  }
}

}  // namespace onebit
