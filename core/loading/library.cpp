// SPDX-License-Identifier: Apache-2.0
// Loading, step by step; each step fails with its own words.
#include "loading/library.hpp"

#include <unistd.h>

#include <dlfcn.h>
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <boost/core/demangle.hpp>
#include <boost/dll/shared_library.hpp>
#include <map>
#include <mutex>

#include "loading/boundary.hpp"
#include "loading/elf.hpp"
#include "loading/refuse.hpp"
#include "loading/validate.hpp"

namespace onebit {
namespace {

constexpr std::string_view entry_prefix = "onebit_plugin_entry_v";
static_assert(ONEBIT_ABI_MAJOR == 1, "the entry's name and its type change with the major version");
constexpr const char* entry_name = "onebit_plugin_entry_v1";

// The major versions for which the library has an entry: "2", "2, 3"; "" when it has none.
std::string other_majors(const ElfLibrary& elf) {
  std::vector<std::string> majors;
  for (const std::string& symbol : elf.exported)
    if (symbol.compare(0, entry_prefix.size(), entry_prefix) == 0) majors.push_back(symbol.substr(entry_prefix.size()));
  std::sort(majors.begin(), majors.end());
  return fmt::format("{}", fmt::join(majors, ", "));
}

void check_entry(const ElfLibrary& elf) {
  if (!elf.has_sections) return;  // the loader will tell
  if (std::find(elf.exported.begin(), elf.exported.end(), entry_name) != elf.exported.end()) return;
  const std::string majors = other_majors(elf);
  if (!majors.empty())
    refuse(fmt::format("built for ABI {}, this host speaks {}; rebuild it with SDK {}.x", majors, ONEBIT_ABI_MAJOR,
                       ONEBIT_ABI_MAJOR));
  refuse(fmt::format("not an onebit plugin: it does not export {}; end a plugin with ONEBIT_PLUGIN(...)", entry_name));
}

// What is unique in a process, such as a static member of a template that g++ did not hide, the dynamic loader takes from the
// library that had it first: the second would work on the first one's data, or call its functions.
bool is_standard(const std::string& mangled) {  // of the C++ library itself: _ZNSt..., _ZNSs..., _ZN9__gnu_cxx...
  const size_t name = mangled.find_first_not_of("_GNKVZT");
  return name != std::string::npos && (mangled[name] == 'S' || mangled.compare(name, 10, "9__gnu_cxx") == 0);
}

// All that this process has mapped: which bytes under a name, and which library has a unique symbol.
class Mapped {
 public:
  static Mapped& in_process() {
    static Mapped& all = *new Mapped;
    return all;
  }
  void check_symbols(const LibraryFile& file, const ElfLibrary& elf) {
    const std::lock_guard lock(mutex_);
    for (const std::string& symbol : elf.unique) {
      const auto found = owners_.find(symbol);
      if (found == owners_.end() || found->second == file.path()) continue;
      refuse(fmt::format("it exports {}, and so does {}: one would use the other's; compile both with -fvisibility=hidden",
                         boost::core::demangle(symbol.c_str()), found->second.string()));
    }
  }
  // The dynamic loader answers with what it has mapped under a name, whatever lies there by now: that must be these bytes.
  void add(const LibraryFile& file, const ElfLibrary& elf) {
    const std::lock_guard lock(mutex_);
    const auto [first, is_new] = files_.emplace(file.loading_path(), file.identity());
    if (!is_new && !(first->second == file.identity()))
      refuse("this process has loaded another file of that name before; start it anew to load this one");
    for (const std::string& symbol : elf.unique)
      if (!is_standard(symbol)) owners_.emplace(symbol, file.path());
  }

 private:
  std::mutex mutex_;
  std::map<std::filesystem::path, LibraryFile::Identity> files_;
  std::map<std::string, std::filesystem::path> owners_;
};

// A g++ library often can't be unmapped, and a thread still running in it would crash: this keeps it whoever lets go of it.
void keep(const std::filesystem::path& file) { dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE); }

// By its path and not by the descriptor, as long as nobody else could change the file: from /proc a library would not find what
// lies beside it ($ORIGIN).
onebit_plugin_entry_v1_fn load_entry(const std::filesystem::path& file) {
  namespace dll = boost::dll;
  try {
    const dll::shared_library library(file.string(), dll::load_mode::rtld_now | dll::load_mode::rtld_local);
    keep(file);
    return &library.get<std::remove_pointer_t<onebit_plugin_entry_v1_fn>>(entry_name);
  } catch (const std::exception& e) {
    refuse(std::string("it can't be loaded: ") + e.what());
  } catch (...) {
    refuse("it can't be loaded: one of its static constructors threw an exception");
  }
}

// A private copy lies nowhere: beside it is nothing.
void check_search_paths(const ElfLibrary& elf) {
  for (const std::string& path : elf.search_paths)
    if (path.find("$ORIGIN") != std::string::npos || path.find("${ORIGIN}") != std::string::npos)
      refuse(fmt::format(
          "its RUNPATH is '{}', so it looks for libraries beside itself; but others could change its file, so it is "
          "loaded from a private copy, which has nothing beside it: move the file to where only you can write, or "
          "link it without that RUNPATH",
          path));
}

// What was checked, and hashed, is what is mapped: nobody but root, the user and whom the manifest trusts can have come
// between, and if they did, it is noticed.
onebit_plugin_entry_v1_fn load_checked(const LibraryFile& file) {
  const ElfLibrary elf(file.descriptor());
  check_entry(elf);
  if (file.is_private()) check_search_paths(elf);
  Mapped::in_process().check_symbols(file, elf);
  file.check_unchanged();
  const onebit_plugin_entry_v1_fn entry = load_entry(file.loading_path());
  Mapped::in_process().add(file, elf);
  file.check_unchanged();
  return entry;
}

// A plugin lets no exception out; if one does all the same, that is its failure and not the host's end.
template <class F>
auto contained(const char* what, F&& call) {
  try {
    return call();
  } catch (const std::exception& e) {
    refuse(fmt::format("its {} let an exception out, which no plugin may: {}", what, e.what()));
  } catch (...) {
    refuse(fmt::format("its {} let an exception out, which no plugin may", what));
  }
}

const onebit_plugin* enter(onebit_plugin_entry_v1_fn entry, const onebit_host* host) {
  CallError err;
  const onebit_plugin* plugin = contained("entry", [&] { return entry(host, &err); });
  if (plugin == nullptr) refuse("its entry refused: " + err.reason());
  return plugin;
}

std::string probe(const onebit_plugin& plugin) {
  if (!ONEBIT_CAN(&plugin, onebit_plugin, probe)) return "";
  CallError err;
  const onebit_code code = contained("probe", [&] { return plugin.probe(&err); });
  if (code == ONEBIT_OK) return "";
  if (code == ONEBIT_UNAVAILABLE) return err.reason();
  refuse(fmt::format("its probe failed with {}: {}", code_name(code), err.reason()));
}

std::shared_ptr<const onebit_plugin> shared_table(const onebit_plugin* plugin) {
  static std::mutex mutex;
  static auto& live = *new std::map<const onebit_plugin*, std::weak_ptr<const onebit_plugin>>;
  const auto shut_down = [process = ::getpid()](const onebit_plugin* last) {
    if (::getpid() != process) return;  // in a fork of it the plugin's threads are not there
    const std::lock_guard lock(mutex);
    if (!ONEBIT_CAN(last, onebit_plugin, shutdown)) return;
    try {
      contained("shutdown", last->shutdown);
    } catch (const Error&) {  // there is nobody left to tell
    }
  };
  const std::lock_guard lock(mutex);
  std::weak_ptr<const onebit_plugin>& known = live[plugin];
  std::shared_ptr<const onebit_plugin> table = known.lock();
  if (table == nullptr) known = table = std::shared_ptr<const onebit_plugin>(plugin, shut_down);
  return table;
}

}  // namespace

std::string plugin_label(const std::filesystem::path& file) {
  std::string stem = (file.has_filename() ? file : file.parent_path()).stem().string();
  if (stem.rfind("lib", 0) == 0) stem.erase(0, 3);
  return "plugin '" + stem + "' (" + file.string() + ")";
}

Library open_library(const LibraryFile& file, const onebit_host* host, const LoadObserver& observer) {
  const auto begins = [&observer](LoadStage stage) {
    if (observer) observer(stage);
  };
  begins(LoadStage::load);
  const onebit_plugin_entry_v1_fn entry = load_checked(file);
  begins(LoadStage::entry);
  const onebit_plugin* plugin = enter(entry, host);
  begins(LoadStage::tables);
  PluginInfo info = checked_plugin(plugin);
  info.file = file.path();
  begins(LoadStage::probe);
  info.unavailable = probe(*plugin);
  return {std::move(info), file.identity(), shared_table(plugin)};
}

}  // namespace onebit
