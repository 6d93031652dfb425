// SPDX-License-Identifier: Apache-2.0
// Something wrong with one library that a manifest names costs that library, with a warning that names it and says why; what
// the configuration asks for by its name, and duplicates of that, are errors.
#include <doctest/doctest.h>
#include <elf.h>
#include <spdlog/logger.h>
#include <spdlog/sinks/ostream_sink.h>
#include <sys/stat.h>

#include <cfenv>
#include <cstddef>
#include <fstream>
#include <sstream>

#include "core/loading/refusals.hpp"
#include "loading/library.hpp"
#include "onebit/configuration.hpp"
#include "onebit/registry.hpp"
#include "support/scratch_folder.hpp"

namespace {

namespace fs = std::filesystem;
using onebit::Kind;
using onebit::Manifest;
using onebit::Registry;
using onebit::test::bad;
using onebit::test::error_of;

// Each of these is wrong in its own way.
std::vector<fs::path> make_wrong_files(const ScratchFolder& at) {
  std::vector<fs::path> files = {at / "absent.so", at / "absent_folder/", at.file("text.so", "plugin = 1\n"),
                                 at.file("empty.so", "")};
  const auto copied = [&](const char* plugin, const char* name) {
    fs::copy_file(bad(plugin), at / name);
    return files.emplace_back(at / name);
  };
  const fs::path cut = copied("none", "cut.so");
  fs::resize_file(cut, fs::file_size(cut) - 1);
  const Elf64_Half machine = EM_S390;
  std::fstream foreign(copied("none", "foreign.so"), std::ios::in | std::ios::out | std::ios::binary);
  foreign.seekp(offsetof(Elf64_Ehdr, e_machine)).write(reinterpret_cast<const char*>(&machine), sizeof machine);
  fs::create_symlink("gone.so", files.emplace_back(at / "dangling.so"));
  REQUIRE(::mkfifo(files.emplace_back(at / "pipe.so").c_str(), 0600) == 0);
  fs::permissions(copied("none", "open.so"), fs::perms::all);
  for (const char* name :
       {"no_entry", "other_major", "undefined_symbol", "missing_dependency", "entry_null_text", "crossing_entry_exception",
        "crossing_entry_int", "crossing_probe", "slot_null", "plugin_size_0", "option_default", "no_components"})
    files.push_back(bad(name));
  return files;
}

std::string manifest_of(const std::vector<fs::path>& files) {
  std::string paths;
  for (const fs::path& file : files) paths += "  \"" + file.string() + "\",\n";
  return "[plugins]\npath = [\n" + paths + "]\n";
}

const char* const kComponents = "[optimizer]\nplugin = \"adam\"\nlr = 0.1\n[communicator]\nplugin = \"threads\"\n";

}  // namespace

TEST_CASE("a score of wrong libraries in plugins.path: each is left out by name, and all others work") {
  const ScratchFolder at;
  std::vector<fs::path> files = make_wrong_files(at);
  const size_t wrong = files.size();
  files.push_back(bad("throwing"));
  std::ostringstream text;
  const auto logger = std::make_shared<spdlog::logger>("test", std::make_shared<spdlog::sinks::ostream_sink_mt>(text));
  logger->set_pattern("%l %v");
  logger->set_level(spdlog::level::warn);
  Registry registry(logger);
  const Manifest manifest = Manifest::parse(manifest_of(files) + kComponents, "a.toml", at.path());
  registry.load(manifest);
  CHECK(onebit::Configuration(registry, manifest).optimizer.component->name == "adam");
  CHECK(registry.find(Kind::optimizer, "throwing").name == "throwing");
  const auto failures = registry.failures();
  REQUIRE(failures.size() == wrong);
  for (size_t i = 0; i < wrong; ++i) {
    CAPTURE(failures[i].reason);
    CHECK(failures[i].file == files[i]);
    const std::string label = onebit::plugin_label(failures[i].file) + ": ";
    CHECK(failures[i].reason.find(label) == 0);
    CHECK(text.str().find("warning a.toml:2:8: " + failures[i].reason + "; it is left out\n") != std::string::npos);
  }
}

TEST_CASE("who asks for a component that is not there hears what was left out, and why") {
  const ScratchFolder at;
  const std::string text = manifest_of({bad("no_entry"), at / "gone.so"});
  Registry registry;
  const Manifest manifest =
      Manifest::parse(text + "[optimizer]\nplugin = \"plain\"\n[communicator]\nplugin = \"threads\"\n", "a.toml", at.path());
  registry.load(manifest);
  const std::string error = error_of([&] { (void)onebit::Configuration(registry, manifest); });
  CAPTURE(error);
  CHECK(error.find("a.toml:7:10: no optimizer 'plain' for cpu") == 0);
  CHECK(error.find("; failed to load: plugin 'no_entry' (" + bad("no_entry").string() + "): not an onebit plugin") !=
        std::string::npos);
  CHECK(error.find("; failed to load: plugin 'gone' (" + (at / "gone.so").string() + "): the file can't be found") !=
        std::string::npos);
}

TEST_CASE("two files with one component: an error for who asks for it, and for nobody else") {
  const ScratchFolder at;
  Registry registry;
  const std::string text = manifest_of({bad("none"), bad("rival")});
  const Manifest other = Manifest::parse(text + kComponents, "a.toml", at.path());
  registry.load(other);
  CHECK(onebit::Configuration(registry, other).optimizer.component->name == "adam");
  REQUIRE(registry.failures().size() == 1);
  CHECK(error_of([&] { registry.find(Kind::optimizer, "plain"); }) ==
        "optimizer 'plain' for cpu is there twice: in " + fs::canonical(bad("none")).string() + " and in " +
            fs::canonical(bad("rival")).string() + "; remove one of the two");
}

TEST_CASE("what the embedder looks for besides is no better: wrong libraries are left out") {
  const ScratchFolder at;
  Registry registry;
  registry.load(Manifest::parse("", "a.toml", at.path()), {bad("slot_null"), at / "gone", bad("none")});
  CHECK(registry.failures().size() == 2);
  CHECK(registry.find(Kind::optimizer, "plain").name == "plain");
}

TEST_CASE(
    "a library that sets the thread's floating-point mode when it is loaded, entered and probed leaves none of it behind") {
  Registry registry;
  registry.load(bad("fast"));
  CHECK(std::fegetround() == FE_TONEAREST);
  const volatile float small = 1e-30F;
  const volatile float smaller = small * 1e-10F;
  CHECK(smaller > 0);
  const onebit::ComponentInfo& component = registry.find(Kind::optimizer, "plain");
  std::fesetround(FE_UPWARD);
  const auto made = registry.make_optimizer(
      component, onebit::ResolvedTable(Manifest::parse("", "a.toml", "."), "optimizer", component.options));
  const int mode = std::fegetround();
  std::fesetround(FE_TONEAREST);
  CHECK(mode == FE_UPWARD);  // the caller's own stays
}
