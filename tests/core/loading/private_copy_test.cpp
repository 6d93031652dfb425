// SPDX-License-Identifier: Apache-2.0
// Pinned libraries that others could change: what is loaded is a copy of the very bytes that were hashed.
#include "loading/private_copy.hpp"

#include <dlfcn.h>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <fstream>

#include "core/loading/refusals.hpp"
#include "loading/library_file.hpp"
#include "loading/sha256.hpp"
#include "onebit/registry.hpp"
#include "support/scratch_folder.hpp"

namespace {

namespace fs = std::filesystem;
using onebit::Kind;
using onebit::LibraryFile;
using onebit::Manifest;
using onebit::Registry;
using onebit::test::bad;
using onebit::test::error_of;

std::string digest(const fs::path& file) {
  const int descriptor = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  REQUIRE(descriptor >= 0);
  const std::string hash = onebit::sha256_of(descriptor);
  ::close(descriptor);
  return hash;
}

// A folder that everybody may write to.
struct OpenFolder {
  ScratchFolder at;
  OpenFolder() { fs::permissions(at.path(), fs::perms::all); }
  fs::path put(const fs::path& library, const std::string& name) const {
    fs::copy_file(library, at / name);
    return at / name;
  }
  // A manifest that loads these files, each pinned with its hash of now.
  Manifest pinned(const std::vector<std::string>& names) const {
    std::string paths, pins;
    for (const std::string& name : names) {
      paths += '"' + name + "\", ";
      pins += "[[plugins.pin]]\nfile = \"" + name + "\"\nsha256 = \"" + digest(at / name) + "\"\n";
    }
    return Manifest::parse("[plugins]\npath = [" + paths + "]\n" + pins, "a.toml", at.path());
  }
};

std::unique_ptr<onebit::Optimizer> make(const Registry& registry, const char* name) {
  const onebit::ComponentInfo& component = registry.find(Kind::optimizer, name);
  const onebit::ResolvedTable options(Manifest::parse("", "a.toml", "."), "optimizer", component.options);
  return registry.make_optimizer(component, options);
}

}  // namespace

TEST_CASE("a pinned library in a folder that everybody may write to is loaded, and works on when its file is written over") {
  const OpenFolder folder;
  const fs::path file = folder.put(bad("none"), "plain.so");
  Registry registry;
  registry.load(folder.pinned({"plain.so"}));
  REQUIRE(registry.failures().empty());
  const onebit::ComponentInfo& component = registry.find(Kind::optimizer, "plain");
  CHECK(registry.plugin_of(component).file == file);
  CHECK(::dlopen(file.c_str(), RTLD_LAZY | RTLD_NOLOAD) == nullptr);  // not from there
  std::ofstream(file, std::ios::binary | std::ios::trunc) << "others were here";
  CHECK(make(registry, "plain") != nullptr);
}

TEST_CASE("without its pin, or with another, it is not") {
  const OpenFolder folder;
  folder.put(bad("none"), "plain.so");
  Registry registry;
  registry.load(Manifest::parse("[plugins]\npath = [\"plain.so\"]\n", "a.toml", folder.at.path()));
  REQUIRE(registry.failures().size() == 1);
  CHECK(registry.failures()[0].reason.find("is writable by everybody; correct that with: chmod o-w ") != std::string::npos);

  const Manifest manifest = folder.pinned({"plain.so"});
  std::ofstream(folder.at / "plain.so", std::ios::binary | std::ios::app) << '\0';
  Registry other;
  CHECK(error_of([&] {
          other.load(manifest);
        }).find("its sha256 is " + digest(folder.at / "plain.so") + ", but a.toml:5:10 pins ") != std::string::npos);
}

TEST_CASE("a pinned library of any owner, and one that everybody may write to") {
  const ScratchFolder folder;
  const fs::path file = folder / "plain.so";
  fs::copy_file(bad("none"), file);
  fs::permissions(file, fs::perms::all);
  if (::chown(file.c_str(), 12345, 12345) != 0) MESSAGE("only root can give a file away: it stays one's own here");
  const std::string pin = "[[plugins.pin]]\nfile = \"./plain.so\"\nsha256 = \"" + digest(file) + "\"\n";
  Registry registry;
  registry.load(Manifest::parse("[plugins]\npath = [\"plain.so\"]\n" + pin, "a.toml", folder.path()));
  CHECK(registry.failures().empty());
  CHECK(make(registry, "plain") != nullptr);
}

TEST_CASE("what was hashed is what is loaded, whatever becomes of the file in between") {
  const OpenFolder folder;
  const fs::path path = folder.put(bad("none"), "plain.so");
  const std::string before = digest(path);
  LibraryFile file(path);
  CHECK(file.doubt().find("its folder " + folder.at.path().string() + " is writable by everybody") == 0);
  file.make_private();
  CHECK(file.doubt() == "");
  CHECK(file.path() == path);
  fs::copy_file(bad("throwing"), path, fs::copy_options::overwrite_existing);
  CHECK(file.sha256() == before);
  CHECK(digest(file.loading_path()) == before);
  CHECK(std::ofstream(file.loading_path(), std::ios::binary | std::ios::app).put('x').flush().fail());  // it is sealed
  file.check_unchanged();
}

TEST_CASE("the same bytes are one library: under two names, and in two registries") {
  const OpenFolder folder;
  folder.put(bad("none"), "a.so");
  folder.put(bad("none"), "b.so");
  Registry one, other;
  one.load(folder.pinned({"a.so", "b.so"}));
  CHECK(one.failures().empty());
  other.load(folder.pinned({"b.so"}));
  CHECK(one.find(Kind::optimizer, "plain").api == other.find(Kind::optimizer, "plain").api);
}

TEST_CASE("two pinned libraries are two, also where somebody has closed all descriptors in between") {
  const OpenFolder folder;
  const int first = ::open(folder.put(bad("descent_1"), "first.so").c_str(), O_RDONLY | O_CLOEXEC);
  const int second = ::open(folder.put(bad("throwing"), "second.so").c_str(), O_RDONLY | O_CLOEXEC);
  const onebit::PrivateCopy one = onebit::private_copy(first, "first.so");
  CHECK(onebit::private_copy(first, "first.so").path == one.path);
  REQUIRE(::dlopen(one.path.c_str(), RTLD_NOW | RTLD_LOCAL) != nullptr);
  ::close(one.descriptor);
  const onebit::PrivateCopy two = onebit::private_copy(second, "second.so");
  CHECK(two.path != one.path);
  CHECK(digest(two.path) == two.sha256);
  CHECK(two.sha256 != one.sha256);
  ::close(first);
  ::close(second);
}

TEST_CASE("a pinned library that looks for others beside itself is refused by name, where a copy would be loaded, and alone") {
  const OpenFolder folder;
  folder.put(Registry::default_folder() / "onebit_plugin_threads.so", "beside.so");
  folder.put(bad("none"), "plain.so");
  Registry registry;
  registry.load(folder.pinned({"beside.so", "plain.so"}));
  REQUIRE(registry.failures().size() == 1);
  CHECK(registry.failures()[0].reason ==
        "plugin 'beside' (" + (folder.at / "beside.so").string() +
            "): its RUNPATH is '$ORIGIN', so it looks for libraries beside itself; but others could change its file, so it is "
            "loaded from a private copy, which has nothing beside it: move the file to where only you can write, or link it "
            "without that RUNPATH");
  CHECK(make(registry, "plain") != nullptr);
}

TEST_CASE("a pinned library that nobody else could change is loaded from where it lies") {
  const ScratchFolder folder;
  fs::copy_file(bad("none"), folder / "plain.so");
  const std::string pin = "[[plugins.pin]]\nfile = \"plain.so\"\nsha256 = \"" + digest(folder / "plain.so") + "\"\n";
  Registry registry;
  registry.load(Manifest::parse("[plugins]\npath = [\"plain.so\"]\n" + pin, "a.toml", folder.path()));
  CHECK(registry.failures().empty());
  CHECK(::dlopen((folder / "plain.so").c_str(), RTLD_LAZY | RTLD_NOLOAD) != nullptr);
}
