// SPDX-License-Identifier: Apache-2.0
// The way to a library's file: links, "..", what is no file, who may write there; and files that change under way.
#include "loading/trust.hpp"
#include "core/loading/refusals.hpp"

#include <doctest/doctest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "loading/library_file.hpp"
#include "onebit/registry.hpp"
#include "support/scratch_folder.hpp"

namespace {

namespace fs = std::filesystem;
using onebit::LibraryFile;
using onebit::Registry;
using onebit::way_to;
using onebit::test::bad;
using onebit::test::error_of;

// Why a file is refused, for what it is or for who could have changed it.
std::string refusal(const fs::path& file) {
  std::string doubt;
  const std::string error = error_of([&] { doubt = way_to(file).doubt; });
  return doubt.empty() ? error : doubt;
}
fs::path found(const fs::path& file) {
  const onebit::Way way = way_to(file);
  CHECK(way.doubt == "");
  return way.file;
}

constexpr uid_t kStranger = 12345;
bool give_away(const fs::path& file) {
  if (::lchown(file.c_str(), kStranger, kStranger) == 0) return true;
  MESSAGE("SKIPPED: only root can give a file away, which this test needs");
  return false;
}
std::string strangers() {
  return "belongs to user 12345; expected root or the user who runs this (" + std::to_string(geteuid()) +
         "); if you trust that user, set in the manifest plugins.trusted_owners = [\"12345\"]";
}

// x/a.so, y/deep/, y/a.so
struct Tree {
  ScratchFolder folder;
  Tree() {
    fs::create_directories(folder / "x");
    fs::create_directories(folder / "y/deep");
    folder.file("x/a.so", "x");
    folder.file("y/a.so", "y");
  }
};

}  // namespace

TEST_CASE("the file behind links and dots is the one that the kernel finds") {
  const Tree tree;
  const ScratchFolder& at = tree.folder;
  fs::create_symlink("a.so", at / "x/relative.so");
  fs::create_symlink(at / "x/relative.so", at / "y/absolute.so");
  fs::create_directory_symlink("../y/deep", at / "x/jump");
  fs::create_symlink("jump/../a.so", at / "x/across.so");
  for (const char* name : {"x/a.so", "x//./a.so", "y/../x/a.so", "y/deep/../../x/a.so", "x/relative.so", "y/absolute.so"}) {
    CAPTURE(name);
    CHECK(found(at / name) == at / "x/a.so");
  }
  CHECK(found(at / "x/jump/../a.so") == at / "y/a.so");  // and not x/a.so, as it reads
  CHECK(found(at / "x/across.so") == at / "y/a.so");
  CHECK(found("/.." + (at / "x/a.so").string()) == at / "x/a.so");
}

TEST_CASE("what loads by a way with '..' behind a link is what is checked and reported") {
  const ScratchFolder at;
  fs::create_directories(at / "x");
  fs::create_directories(at / "y/deep");
  fs::create_directory_symlink("../y/deep", at / "x/jump");
  fs::copy_file(bad("none"), at / "x/a.so");
  fs::copy_file(bad("no_entry"), at / "y/a.so");
  Registry registry;
  const fs::path named = at / "x/jump/../a.so";
  CHECK(error_of([&] { registry.load(named); }).find("plugin 'a' (" + named.string() + "): not an onebit plugin") == 0);
  CHECK(registry.load(at / "x/a.so").file == at / "x/a.so");
}

TEST_CASE("links that lead nowhere") {
  const Tree tree;
  const ScratchFolder& at = tree.folder;
  fs::create_symlink("gone.so", at / "x/dangling.so");
  CHECK(refusal(at / "x/dangling.so") ==
        "the file can't be found: No such file or directory (the link " + (at / "x/dangling.so").string() + " names gone.so)");
  fs::create_symlink("there.so", at / "x/here.so");
  fs::create_symlink("here.so", at / "x/there.so");
  CHECK(refusal(at / "x/here.so").find("the file can't be found: Too many levels of symbolic links (the link ") == 0);
  CHECK(refusal(at / "x/a.so/b.so") == "the file can't be found: Not a directory");
  CHECK(refusal(at / "z/a.so") == "the file can't be found: No such file or directory");
  CHECK(refusal(at / std::string_view("x/a.so\0.so", 10)) == "its path has a zero byte in it");
}

TEST_CASE("what is no file is refused, and not waited for") {
  const Tree tree;
  const ScratchFolder& at = tree.folder;
  REQUIRE(::mkfifo((at / "pipe.so").c_str(), 0600) == 0);
  fs::create_symlink("pipe.so", at / "to_pipe.so");
  CHECK(refusal(at / "pipe.so") == "expected a regular file, found a pipe");
  CHECK(refusal(at / "to_pipe.so") == "expected a regular file, found a pipe");
  CHECK(refusal("/dev/zero") == "expected a regular file, found a device");
  CHECK(refusal(at / "x") == "expected a shared library, found a folder");
  const int descriptor = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{AF_UNIX, {}};
  (at / "s.so").string().copy(address.sun_path, sizeof address.sun_path - 1);
  REQUIRE(::bind(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  CHECK(refusal(at / "s.so") == "expected a regular file, found a socket");
  ::close(descriptor);
}

TEST_CASE("a folder that everybody can write to, anywhere on the way, links included") {
  const Tree tree;
  const ScratchFolder& at = tree.folder;
  fs::create_directories(at / "open/inner");
  fs::create_symlink(at / "x/a.so", at / "open/inner/out.so");
  fs::create_directory_symlink(at / "open/inner", at / "x/in");
  fs::permissions(at / "open", fs::perms::all);
  const std::string open = (at / "open").string();
  const std::string expected = "its folder " + open + " is writable by everybody; correct that with: chmod o-w " + open;
  CHECK(refusal(at / "open/inner/out.so") == expected);
  CHECK(refusal(at / "x/in/out.so") == expected);
  CHECK(refusal(at / "open/../x/a.so") == expected);  // whoever moves open elsewhere decides which x it is
  CHECK(found(at / "x/a.so") == at / "x/a.so");
}

TEST_CASE("groups may write: whom a group holds is its owner's choice") {
  const Tree tree;
  fs::permissions(tree.folder / "x", fs::perms::owner_all | fs::perms::group_all);
  fs::permissions(tree.folder / "x/a.so", fs::perms::owner_all | fs::perms::group_all);
  CHECK(refusal(tree.folder / "x/a.so") == "no error");
}

TEST_CASE("in a sticky folder that all may write to, strangers' files, links and folders") {
  const Tree tree;
  const ScratchFolder& at = tree.folder;
  fs::create_directory(at / "temporary");
  fs::permissions(at / "temporary", fs::perms::all | fs::perms::sticky_bit);
  at.file("temporary/own.so", "x");
  fs::create_symlink(at / "x/a.so", at / "temporary/link.so");
  fs::create_directory_symlink(at / "x", at / "temporary/jump");
  fs::create_directory(at / "temporary/sub");
  at.file("temporary/sub/a.so", "x");
  for (const char* name : {"own.so", "link.so", "jump/a.so", "sub/a.so"}) {
    CAPTURE(name);
    CHECK(refusal(at / "temporary" / name) == "no error");
  }
  if (!give_away(at / "temporary/link.so")) return;
  give_away(at / "temporary/jump");
  give_away(at / "temporary/sub");
  give_away(at / "temporary/own.so");
  const auto expected = [&](const char* name) {
    return (at / "temporary" / name).string() + ", which lies where everybody may write, " + strangers();
  };
  CHECK(refusal(at / "temporary/link.so") == expected("link.so"));
  CHECK(refusal(at / "temporary/jump/a.so") == expected("jump"));
  CHECK(refusal(at / "temporary/sub/a.so") == expected("sub"));
  CHECK(refusal(at / "temporary/own.so") == "the file " + strangers());
}

TEST_CASE("a file that changes between its checks and its loading") {
  const ScratchFolder at;
  const std::string expected = "the file was changed while it was being loaded; begin anew when that has ended";
  const auto after = [&](auto change) {
    const fs::path path = at.file("a.so", "a library");
    const LibraryFile file(path);
    file.check_unchanged();
    change(path);
    return error_of([&] { file.check_unchanged(); });
  };
  CHECK(after([](const fs::path&) {}) == "no error");
  CHECK(after([](const fs::path& path) { fs::remove(path); }) == expected);
  CHECK(after([](const fs::path& path) { fs::resize_file(path, 3); }) == expected);
  CHECK(after([&](const fs::path& path) { fs::rename(at.file("b.so", "a library"), path); }) == expected);
  CHECK(after([&](const fs::path& path) {
          fs::rename(path, at / "c.so");
          fs::create_symlink("c.so", path);
        }) == expected);
}

TEST_CASE("a library that was replaced or written to since this process loaded it") {
  const ScratchFolder at;
  fs::copy_file(bad("none"), at / "a.so");
  Registry first;
  first.load(at / "a.so");
  fs::resize_file(at / "a.so", fs::file_size(at / "a.so") + 1);
  const std::string label = "plugin 'a' (" + (at / "a.so").string() + "): ";
  CHECK(error_of([&] { first.load(at / "a.so"); }) == label + "it was written to since it was loaded; start the program anew");

  // The dynamic loader would answer with the old one, silently.
  fs::copy_file(bad("throwing"), at / "b.so");
  fs::rename(at / "b.so", at / "a.so");
  Registry second;
  for (Registry* registry : {&first, &second})
    CHECK(error_of([&] { registry->load(at / "a.so"); }) ==
          label + "this process has loaded another file of that name before; start it anew to load this one");
  CHECK(second.load(bad("throwing")).name == "throwing");
}
