// SPDX-License-Identifier: Apache-2.0
// Loading one library: every way in which it fails, by its words; after each, a good plugin still loads.
#include <doctest/doctest.h>
#include <elf.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstddef>
#include <fstream>
#include <thread>

#include "core/loading/refusals.hpp"
#include "loading/trust.hpp"
#include "onebit/registry.hpp"
#include "support/scratch_folder.hpp"

namespace {

namespace fs = std::filesystem;
using onebit::Registry;
using onebit::test::bad;

// What load says about a file, less the label that every such text begins with.
std::string loading_error(const fs::path& file) {
  Registry registry;
  std::string text = "no error";
  try {
    registry.load(file);
  } catch (const onebit::Error& e) {
    text = e.what();
    const std::string label = "plugin '" + file.stem().string() + "' (" + onebit::written_out(file).string() + "): ";
    CAPTURE(text);
    CHECK(text.rfind(label, 0) == 0);
    text = text.substr(std::min(label.size(), text.size()));
    CHECK(registry.plugins().empty());
  }
  CHECK(registry.load(bad("throwing")).components.size() == 3);
  return text;
}

struct Case {
  const char* name;
  const char* error;
};

void check_cases(std::initializer_list<Case> cases) {
  for (const Case& c : cases) {
    CAPTURE(c.name);
    CHECK(loading_error(bad(c.name)) == c.error);
  }
}

fs::path copied(const ScratchFolder& folder, const std::string& name) {
  fs::copy_file(bad("none"), folder / name);
  return folder / name;
}

}  // namespace

TEST_CASE("a sound plugin in plain C loads") {
  Registry registry;
  const onebit::PluginInfo& info = registry.load(bad("none"));
  CHECK(info.name == "plain");
  CHECK(info.version == "0.9.1");
  CHECK(info.toolchain == "a C compiler");
  CHECK(info.file == fs::canonical(bad("none")));
  CHECK(info.unavailable.empty());
  CHECK(registry.find(onebit::Kind::optimizer, "plain").options.size() == 1);
  CHECK(&registry.load(bad("none")) == &info);
  CHECK(registry.plugins().size() == 1);
}

TEST_CASE("a plugin of a newer minor version loads") {
  Registry registry;
  CHECK(registry.load(bad("newer")).abi_minor == 7);
  const onebit::ComponentInfo& component = registry.find(onebit::Kind::optimizer, "plain");
  const auto manifest = onebit::Manifest::parse("", "a.toml", ".");
  CHECK(registry.make_optimizer(component, onebit::ResolvedTable(manifest, "optimizer", component.options)) != nullptr);
}

TEST_CASE("files that are no plugins") {
  const ScratchFolder folder;
  CHECK(loading_error(folder / "absent.so") == "the file can't be found: No such file or directory");
  CHECK(loading_error(folder.path()) == "expected a shared library, found a folder");
  CHECK(loading_error(folder.file("empty.so", "")) == "the file is empty");
  CHECK(loading_error(folder.file("text.so", "plugin = 1\n")) == "not an ELF file; expected a shared library");
  REQUIRE(::mkfifo((folder / "pipe.so").c_str(), 0600) == 0);
  CHECK(loading_error(folder / "pipe.so") == "expected a regular file, found a pipe");
  const fs::path cut = copied(folder, "cut.so");
  fs::resize_file(cut, fs::file_size(cut) - 1);
  CHECK(loading_error(cut).find("the file is truncated or damaged: ") == 0);
}

TEST_CASE("entries") {
  check_cases(
      {{"no_entry", "not an onebit plugin: it does not export onebit_plugin_entry_v1; end a plugin with ONEBIT_PLUGIN(...)"},
       {"other_major", "built for ABI 2, this host speaks 1; rebuild it with SDK 1.x"},
       {"entry_null", "its entry refused: it gave no reason"},
       {"entry_null_text", "its entry refused: this plugin wants a host of the year 2040"}});
}

TEST_CASE("exceptions that a plugin of bare tables lets out") {
  check_cases({{"crossing_entry_exception", "its entry let an exception out, which no plugin may: thrown on purpose"},
               {"crossing_entry_int", "its entry let an exception out, which no plugin may"},
               {"crossing_probe", "its probe let an exception out, which no plugin may"}});
  CHECK(loading_error(bad("crossing_shutdown")) == "no error");  // its registry has gone by now
}

TEST_CASE("a library for another machine") {
  const ScratchFolder folder;
  const fs::path file = copied(folder, "foreign.so");
  std::fstream out(file, std::ios::in | std::ios::out | std::ios::binary);
  const Elf64_Half machine = EM_S390;
  out.seekp(offsetof(Elf64_Ehdr, e_machine)).write(reinterpret_cast<const char*>(&machine), sizeof machine);
  out.close();
  CHECK(loading_error(file).find("built for machine 22, this machine is ") == 0);
}

TEST_CASE("what the dynamic loader refuses keeps its reason") {
  const std::string undefined = loading_error(bad("undefined_symbol"));
  CHECK(undefined.find("it can't be loaded: ") == 0);
  CHECK(undefined.find("undefined symbol: onebit_nowhere") != std::string::npos);
  const std::string missing = loading_error(bad("missing_dependency"));
  CHECK(missing.find("it can't be loaded: ") == 0);
  CHECK(missing.find("libonebit_gone.so: cannot open shared object file") != std::string::npos);
}

TEST_CASE("tables of the plugin") {
  check_cases({{"plugin_size_0", "the plugin's table has struct_size 0, expected at least 72"},
               {"plugin_size_3", "the plugin's table has struct_size 3, expected at least 72"},
               {"plugin_size_huge", "the plugin's table has struct_size 1152921504606846976, which can't be: at most 65536"},
               {"no_components", "the plugin has no components"},
               {"components_null", "the plugin's components are NULL"},
               {"too_many_components", "the plugin claims 1099511627776 components"},
               {"plugin_name_null", "the plugin has no name"},
               {"plugin_name_empty", "the plugin has an empty name"},
               {"version_null", "the plugin has no version"},
               {"probe_fails", "its probe failed with INTERNAL: the abacus is broken"}});
}

TEST_CASE("tables of components") {
  check_cases({{"component_null", "component 1 is NULL"},
               {"component_size_0", "component 0 has struct_size 0, expected at least 64"},
               {"name_null", "a component (optimizer) has no name"},
               {"name_empty", "a component (optimizer) has an empty name"},
               {"name_bad", "a component (optimizer) has the name 'Plain Name'; expected lower case letters, digits and '_'"},
               {"name_long", "a component (optimizer) has a name of more than 64 letters"},
               {"twice", "optimizer 'plain' for cpu is there twice"},
               {"api_null", "optimizer 'plain' has no table of functions"},
               {"api_size_3", "optimizer 'plain': its table of functions has struct_size 3, expected at least 72"},
               {"api_size_huge",
                "optimizer 'plain': its table of functions has struct_size 1152921504606846976, which can't be: at most 65536"},
               {"slot_null", "optimizer 'plain': the required function 'plan' is NULL"}});
}

TEST_CASE("schemas") {
  check_cases(
      {{"options_null", "optimizer 'plain': its options are NULL"},
       {"option_null", "optimizer 'plain': option 0 is NULL"},
       {"option_size_0", "optimizer 'plain': option 0 has struct_size 0, expected at least 104"},
       {"option_key_bad", "optimizer 'plain': option 'L R': its key 'L R' is not made of lower case letters, digits and '_'"},
       {"option_key_plugin", "optimizer 'plain': option 'plugin': the key 'plugin' belongs to the host"},
       {"option_types", "optimizer 'plain': option 'lr': its types 64 are not ONEBIT_VALUE_ bits"},
       {"option_types_newer", "no error"},
       {"option_range", "optimizer 'plain': option 'lr': its range is 2 to 1"},
       {"option_default", "optimizer 'plain': option 'lr': its default `7.0` is not a number from 0 to 1"},
       {"option_twice", "optimizer 'plain': option 'lr' is there twice"}});
}

TEST_CASE("components of a kind that this host does not know are left out") {
  Registry registry;
  const onebit::PluginInfo& info = registry.load(bad("unknown_kind"));
  REQUIRE(info.components.size() == 1);
  CHECK(info.components[0].kind == onebit::Kind::compressor);
}

TEST_CASE("files and folders that everybody can write to") {
  const ScratchFolder folder;
  const fs::path file = copied(folder, "open.so");
  fs::permissions(file, fs::perms::all);
  CHECK(loading_error(file) == "the file is writable by everybody; correct that with: chmod o-w " + file.string());
  fs::permissions(file, fs::perms::owner_all);
  CHECK(loading_error(file) == "no error");

  fs::create_directory(folder / "open");
  fs::copy_file(bad("none"), folder / "open/a.so");
  fs::permissions(folder / "open", fs::perms::all);
  const std::string reason =
      "its folder " + (folder / "open").string() + " is writable by everybody; correct that with: chmod o-w ";
  CHECK(loading_error(folder / "open/a.so").find(reason) == 0);
  fs::create_symlink(folder / "open/a.so", folder / "link_in.so");
  CHECK(loading_error(folder / "link_in.so").find(reason) == 0);
  fs::create_symlink(bad("rival"), folder / "open/link_out.so");
  CHECK(loading_error(folder / "open/link_out.so").find(reason) == 0);
  CHECK(loading_error((folder / "open/sub").parent_path() / ".." / "open" / "a.so").find("its folder") == 0);
  fs::permissions(folder / "open", fs::perms::all | fs::perms::sticky_bit);
  CHECK(loading_error(folder / "open/a.so") == "no error");
}

TEST_CASE("a file of another user") {
  const ScratchFolder folder;
  const fs::path file = copied(folder, "theirs.so");
  if (::chown(file.c_str(), 12345, 12345) != 0) {
    MESSAGE("SKIPPED: only root can give a file away, which this test needs");
    return;
  }
  CHECK(loading_error(file).find("the file belongs to user 12345; expected root or the user who runs this (") == 0);
}

TEST_CASE("16 threads load at once: one registry, and one each") {
  Registry shared;
  std::vector<std::thread> threads;
  for (int t = 0; t < 16; ++t)
    threads.emplace_back([&shared, t] {
      const char* const names[] = {"none", "no_entry", "throwing", "slot_null"};
      Registry own;
      for (int i = 0; i < 4; ++i)
        for (Registry* registry : {&shared, &own}) {
          const std::string name = names[(i + t) % 4];
          const bool good = name == "none" || name == "throwing";
          try {
            registry->load(bad(name));
            CHECK(good);
          } catch (const onebit::Error&) {
            CHECK_FALSE(good);
          }
        }
      CHECK(own.plugins().size() == 2);
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(shared.plugins().size() == 2);
  CHECK(shared.failures().size() == 32);
}
