// SPDX-License-Identifier: Apache-2.0
// [[plugins.pin]] and plugins.require_pins: hashes, their places, and that nothing gets past them.
#include <dlfcn.h>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include "core/loading/refusals.hpp"
#include "loading/sha256.hpp"
#include "onebit/configuration.hpp"
#include "onebit/registry.hpp"
#include "support/scratch_folder.hpp"

namespace {

namespace fs = std::filesystem;
using onebit::Kind;
using onebit::Manifest;
using onebit::Registry;
using onebit::test::error_of;

const std::string kOther(64, '1');

std::string hash_of(const fs::path& file) {
  const int descriptor = ::open(file.c_str(), O_RDONLY);
  REQUIRE(descriptor >= 0);
  const std::string hash = onebit::sha256_of(descriptor);
  ::close(descriptor);
  return hash;
}

std::string pin(const std::string& file, const std::string& hash) {
  return "[[plugins.pin]]\nfile = \"" + file + "\"\nsha256 = \"" + hash + "\"\n";
}

// A folder with plain.so and more/throwing.so.
struct Plugins {
  ScratchFolder folder;
  fs::path plain = folder / "plain.so", throwing = folder / "more/throwing.so";
  Plugins() {
    fs::create_directory(folder / "more");
    fs::copy_file(fs::path(ONEBIT_BAD_PLUGINS) / "none.so", plain);
    fs::copy_file(fs::path(ONEBIT_BAD_PLUGINS) / "throwing.so", throwing);
  }
  Manifest manifest(const std::string& text, const std::vector<std::string>& overrides = {}) const {
    return Manifest::parse(text, "a.toml", folder.path(), overrides);
  }
  std::string error(const std::string& text, const std::vector<std::string>& overrides = {}) const {
    Registry registry;
    return error_of([&] { registry.load(manifest(text, overrides)); });
  }
};

const char* const kBoth = "[plugins]\npath = [\"plain.so\", \"more\"]\n";

bool is_mapped(const fs::path& file) { return ::dlopen(file.c_str(), RTLD_LAZY | RTLD_NOLOAD) != nullptr; }

}  // namespace

TEST_CASE("sha256 of files") {
  const ScratchFolder folder;
  CHECK(hash_of(folder.file("empty", "")) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(hash_of(folder.file("abc", "abc")) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(hash_of(folder.file("million", std::string(1000000, 'a'))) ==
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_CASE("pins that fit: a name wherever it is, a path, upper case, a link's name or its file's") {
  const Plugins plugins;
  const std::string plain = hash_of(plugins.plain), throwing = hash_of(plugins.throwing);
  std::string upper = plain;
  for (char& c : upper) c = static_cast<char>(std::toupper(c));
  for (const std::string& file :
       {std::string("plain.so"), std::string("./plain.so"), std::string("more/../plain.so"), plugins.plain.string()}) {
    CAPTURE(file);
    CHECK(plugins.error(kBoth + pin(file, plain) + pin("throwing.so", throwing)) == "no error");
    CHECK(plugins.error(kBoth + pin(file, upper)) == "no error");
    CHECK(plugins.error(kBoth + pin(file, kOther)).find(kOther) != std::string::npos);
  }
  fs::create_symlink("plain.so", plugins.folder / "alias.so");
  for (const char* file : {"alias.so", "./alias.so", "plain.so", "./plain.so"}) {
    CAPTURE(file);
    CHECK(plugins.error("[plugins]\npath = [\"alias.so\"]\n" + pin(file, plain)) == "no error");
    CHECK(plugins.error("[plugins]\npath = [\"alias.so\"]\n" + pin(file, kOther)) != "no error");
  }
}

TEST_CASE("another hash: refused before anything of the library runs, with both hashes and the pin's place") {
  const Plugins plugins;
  const std::string wrong = "its sha256 is " + hash_of(plugins.plain) + ", but a.toml:5:10 pins " + kOther +
                            "; if this is the file you want, write its hash there";
  const std::string label = "plugin 'plain' (" + plugins.plain.string() + "): ";
  CHECK(plugins.error(kBoth + pin("plain.so", kOther)) == "a.toml:2:8: " + label + wrong);
  CHECK_FALSE(is_mapped(plugins.plain));

  // In a folder, where other failures are passed over; and in one that the environment names.
  const std::string in_folder = plugins.error(kBoth + pin("more/throwing.so", kOther));
  CHECK(in_folder.find("a.toml:2:8: plugin 'throwing' (" + plugins.throwing.string() + "): its sha256 is ") == 0);
  CHECK_FALSE(is_mapped(plugins.throwing));
  Registry registry;
  const Manifest manifest = plugins.manifest(pin("throwing.so", kOther));
  CHECK(error_of([&] { registry.load(manifest, {plugins.folder / "more"}); }).find("but a.toml:3:10 pins") !=
        std::string::npos);
  CHECK_FALSE(is_mapped(plugins.throwing));
  CHECK(plugins.error(kBoth) == "no error");
}

TEST_CASE("one changed bit, and a rival of the same name in another folder") {
  const Plugins plugins;
  const std::string before = hash_of(plugins.plain);
  fs::copy_file(plugins.throwing, plugins.folder / "more/plain.so");
  CHECK(plugins.error(kBoth + pin("plain.so", before)).find("plugin 'plain' (" + (plugins.folder / "more/plain.so").string()) !=
        std::string::npos);
  CHECK(plugins.error(kBoth + pin("./plain.so", before)) == "no error");
  fs::remove(plugins.folder / "more/plain.so");
  std::string bytes = contents_of(plugins.plain);
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  plugins.folder.file("bent.so", bytes);
  CHECK(plugins.error("[plugins]\npath = [\"bent.so\"]\n" + pin("bent.so", before)).find(" pins " + before) !=
        std::string::npos);
}

TEST_CASE("built-in libraries can be pinned, too") {
  const Plugins plugins;
  const fs::path threads = Registry::default_folder() / "onebit_plugin_threads.so";
  CHECK(plugins.error(pin("onebit_plugin_threads.so", hash_of(threads))) == "no error");
  CHECK(plugins.error(pin("onebit_plugin_threads.so", kOther)).find("its sha256 is " + hash_of(threads)) != std::string::npos);
}

TEST_CASE("pins that no library came for") {
  const Plugins plugins;
  CHECK(plugins.error(kBoth + pin("gone.so", kOther)) ==
        "a.toml:4:8: plugins.pin: gone.so was not loaded: no library of that name was found; its file or folder belongs into "
        "plugins.path");
  const std::string gone = (plugins.folder / "more/gone.so").string();
  CHECK(plugins.error(kBoth + pin("more/gone.so", kOther)) ==
        "a.toml:4:8: plugins.pin: " + gone + " was not loaded: there is no such file");
  CHECK(plugins.error(pin("more/throwing.so", kOther)) == "a.toml:2:8: plugins.pin: " + plugins.throwing.string() +
                                                              " was not loaded: nothing loads it; its file or folder belongs "
                                                              "into plugins.path");
  const fs::path open = plugins.folder / "more/open.so";
  fs::copy_file(plugins.plain, open);
  fs::permissions(open, fs::perms::all);
  CHECK(plugins.error(kBoth + pin("open.so", kOther)) == "a.toml:2:8: plugin 'open' (" + open.string() + "): its sha256 is " +
                                                             hash_of(open) + ", but a.toml:5:10 pins " + kOther +
                                                             "; if this is the file you want, write its hash there");
  CHECK_FALSE(is_mapped(open));
}

TEST_CASE("malformed pins, each with its place") {
  const Plugins plugins;
  const std::string digits = "expected 64 hexadecimal digits, as sha256sum prints them, found the string ";
  CHECK(plugins.error(pin("plain.so", "abc")) == "a.toml:3:10: plugins.pin.sha256: " + digits + "\"abc\"");
  const std::string letter = std::string(63, '0') + "g";
  CHECK(plugins.error(pin("plain.so", letter)) == "a.toml:3:10: plugins.pin.sha256: " + digits + '"' + letter + '"');
  CHECK(plugins.error(pin("plain.so", "")).find("a.toml:3:10: plugins.pin.sha256: ") == 0);
  CHECK(plugins.error(pin("plain.so", kOther) + pin("plain.so", kOther)) ==
        "a.toml:5:8: plugins.pin: plain.so is pinned twice; the first is at a.toml:2:8");
  CHECK(plugins.error(pin("more/a.so", kOther) + pin("./more/a.so", kOther)).find("is pinned twice") != std::string::npos);
  for (const char* file : {"", "more/", ".", "..", "more/.."}) {
    CAPTURE(file);
    CHECK(plugins.error(pin(file, kOther)).find("a.toml:2:8: plugins.pin.file: expected the name of a library, found ") == 0);
  }
  CHECK(
      plugins.error("[[plugins.pin]]\nfile = \"a.so\"\n").find("a.toml:1:1: [[plugins.pin]] lacks the required key 'sha256'") ==
      0);
  CHECK(plugins.error("[[plugins.pin]]\nfile = 3\nsha256 = \"\"\n").find("a.toml:2:8: plugins.pin.file: expected ") == 0);
  CHECK(plugins.error(pin("a.so", kOther) + "sha265 = \"\"\n") ==
        "a.toml:4:1: unknown key 'sha265' in [[plugins.pin]]; did you mean 'sha256'?");
  CHECK(plugins.error("[plugins]\npin = 3\n") ==
        "a.toml:2:7: plugins.pin: expected tables [[plugins.pin]], found the integer 3");
  CHECK(plugins.error("[[plugins.pins]]\nfile = \"a.so\"\n") ==
        "a.toml:1:1: unknown array of tables [[plugins.pins]]; there are [[optimizer.group]] and [[plugins.pin]]");
  CHECK(plugins.error("[plugins]\nrequire_pins = \"no\"\n").find("a.toml:2:16: plugins.require_pins: expected ") == 0);
}

TEST_CASE("require_pins: nothing else is loaded but what was installed with the core") {
  const Plugins plugins;
  const std::string required = "[plugins]\nrequire_pins = true\npath = [\"plain.so\"]\n";
  const std::string hash = hash_of(plugins.plain);
  Registry refusing;
  refusing.load(plugins.manifest(required));
  REQUIRE(refusing.failures().size() == 1);
  CHECK(refusing.failures()[0].reason ==
        "plugin 'plain' (" + plugins.plain.string() +
            "): it has no pin, and a.toml:2:16 requires one; if you trust it, add to the manifest: [[plugins.pin]] with file = "
            "\"plain.so\" and sha256 = \"" +
            hash + "\"");
  CHECK(error_of([&] { refusing.find(Kind::optimizer, "plain"); }).find("; failed to load: " + refusing.failures()[0].reason) !=
        std::string::npos);
  CHECK_FALSE(is_mapped(plugins.plain));
  CHECK(plugins.error(required + pin("plain.so", hash)) == "no error");

  Registry registry;
  registry.load(plugins.manifest("[plugins]\nrequire_pins = true\npath = [\"more\"]\n"));
  REQUIRE(registry.failures().size() == 1);
  CHECK(registry.failures()[0].reason.find("it has no pin, and a.toml:2:16 requires one") != std::string::npos);
  CHECK_FALSE(is_mapped(plugins.throwing));
  CHECK(registry.find(Kind::optimizer, "adam").name == "adam");
  CHECK(error_of([&] { registry.load(plugins.throwing); }).find("it has no pin, and a.toml:2:16 requires one") !=
        std::string::npos);
}

TEST_CASE("pins and require_pins from the command line") {
  const Plugins plugins;
  const std::string hash = hash_of(plugins.plain);
  const auto given = [](const std::string& value) { return "plugins.pin=[{file = \"plain.so\", sha256 = \"" + value + "\"}]"; };
  CHECK(plugins.error(kBoth, {given(hash)}) == "no error");
  CHECK(plugins.error(kBoth, {given(kOther)}).find("but --set " + given(kOther) + " pins " + kOther) != std::string::npos);
  CHECK(
      plugins.error(kBoth, {"plugins.pin=plain.so"}) ==
      "--set plugins.pin=plain.so: expected an array of tables, such as [{file = \"libfoo.so\", sha256 = \"3b0c...\"}], found "
      "'plain.so'");
  Registry registry;
  registry.load(plugins.manifest(kBoth, {"plugins.require_pins=true"}));
  REQUIRE(registry.failures().size() == 2);
  CHECK(registry.failures()[0].reason.find("--set plugins.require_pins=true requires one") != std::string::npos);
  CHECK(plugins.error(kBoth + pin("plain.so", kOther), {"plugins.pin=[]"}) == "no error");
}

TEST_CASE("a library that was loaded before its manifest is held against the pins, too") {
  const Plugins plugins;
  Registry registry;
  registry.load(plugins.plain);
  CHECK(error_of([&] { registry.load(plugins.manifest(kBoth + pin("plain.so", kOther))); }).find(" pins " + kOther) !=
        std::string::npos);
  CHECK(error_of([&] { registry.load(plugins.manifest(kBoth + pin("plain.so", hash_of(plugins.plain)))); }) == "no error");
}

TEST_CASE("a configuration that is written down keeps its pins, wherever it is put") {
  const Plugins plugins;
  const std::string text = "[plugins]\nrequire_pins = true\npath = [\"plain.so\"]\n" +
                           pin("./plain.so", hash_of(plugins.plain)) +
                           "[optimizer]\nplugin = \"plain\"\n[communicator]\nplugin = \"threads\"\n";
  Registry registry;
  const Manifest manifest = plugins.manifest(text);
  registry.load(manifest);
  const std::string written = onebit::Configuration(registry, manifest).to_toml();
  CHECK(written.find("require_pins = true\n\n[[plugins.pin]]\nfile = \"" + plugins.plain.string() + "\"\nsha256 = ") !=
        std::string::npos);
  Registry elsewhere;
  const Manifest moved = Manifest::parse(written, "b.toml", "/");
  elsewhere.load(moved);
  CHECK(onebit::Configuration(elsewhere, moved).to_toml() == written);
}
