// SPDX-License-Identifier: Apache-2.0
// Where plugins are looked for, in which order, and where not: the current folder, the dynamic loader's folders, and, in a
// setuid process, those of the environment.
#include <doctest/doctest.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "onebit/registry.hpp"
#include "support/scratch_folder.hpp"

namespace {

namespace fs = std::filesystem;
using onebit::Kind;
using onebit::Manifest;
using onebit::Registry;

const fs::path kCommand = ONEBIT_BINARY_DIR "/bin/onebit";

fs::path put(const fs::path& folder, const std::string& plugin, const std::string& name) {
  fs::create_directories(folder);
  fs::copy_file(fs::path(ONEBIT_BAD_PLUGINS) / (plugin + ".so"), folder / name);
  return folder / name;
}

// A copy of the command that is set to look for the core in the folder `libraries`, by its whole path: in a setuid process the
// dynamic loader does not look beside a program. False where that path is too long.
bool copy_command(const fs::path& copy, const fs::path& libraries) {
  std::string bytes = contents_of(kCommand);
  const size_t begin = bytes.find("$ORIGIN/"), room = bytes.find('\0', begin) - begin;
  std::string path = libraries.string();
  if (begin == std::string::npos || path.size() > room) return false;
  path.resize(room, '\0');
  bytes.replace(begin, room, path);
  std::ofstream(copy, std::ios::binary) << bytes;
  fs::permissions(copy, fs::perms::owner_all | fs::perms::group_exec | fs::perms::others_exec);
  return true;
}

// What a shell command prints, its errors included.
std::string output_of(const std::string& command) {
  const ScratchFolder folder;
  const int status = std::system(("{ " + command + "; } >'" + (folder / "out").string() + "' 2>&1 </dev/null").c_str());
  REQUIRE(WIFEXITED(status));
  return contents_of(folder / "out");
}
bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

std::string list(const fs::path& command, const std::string& environment, const fs::path& current = "/") {
  return output_of("cd '" + current.string() + "' && " + environment + " '" + command.string() + "' plugins list");
}

}  // namespace

TEST_CASE(
    "the manifest's path, then the environment's, then the installed ones, and of two in folders neither is chosen silently") {
  const ScratchFolder at;
  put(at / "manifest", "none", "a.so");
  put(at / "environment", "throwing", "a.so");
  Registry registry;
  registry.load(Manifest::parse("[plugins]\npath = [\"manifest\"]\n", "a.toml", at.path()), {at / "environment"});
  const auto plugins = registry.plugins();
  REQUIRE(plugins.size() > 2);
  CHECK(plugins[0].file == at / "manifest/a.so");
  CHECK(plugins[1].file == at / "environment/a.so");
  CHECK(plugins[2].file.parent_path() == fs::canonical(Registry::default_folder()));
}

TEST_CASE("never the current folder, never the dynamic loader's folders") {
  const ScratchFolder at;
  put(at.path(), "none", "plain.so");
  put(at / "plugins", "none", "plain.so");
  const std::string loader = "LD_LIBRARY_PATH='" + at.path().string() + "'";
  CHECK_FALSE(has(list(kCommand, loader, at.path()), "plain"));
  const std::string bare = output_of("cd / && " + loader + " '" + kCommand.string() + "' plugins inspect plain.so");
  CHECK(has(bare, "plugin 'plain' (/plain.so): the file can't be found: No such file or directory"));
  CHECK(
      has(output_of("cd '" + at.path().string() + "' && '" + kCommand.string() + "' plugins inspect plain.so"), "plain 0.9.1"));
}

TEST_CASE("the environment's path: empty parts are nothing, relative ones an error") {
  const ScratchFolder at;
  put(at / "more", "none", "plain.so");
  const std::string more = (at / "more").string();
  CHECK(has(list(kCommand, "ONEBIT_PLUGIN_PATH=':" + more + "::'", at / "more"), more + "/plain.so"));
  CHECK_FALSE(has(list(kCommand, "ONEBIT_PLUGIN_PATH=':'", at / "more"), "plain.so"));
  for (const char* relative : {"more", ".", "./more"}) {
    CAPTURE(relative);
    CHECK(has(list(kCommand, std::string("ONEBIT_PLUGIN_PATH=") + relative, at.path()),
              std::string("$ONEBIT_PLUGIN_PATH names '") + relative + "'; expected absolute paths"));
  }
}

TEST_CASE("a setuid process does not look where the environment says") {
  const ScratchFolder at;
  constexpr uid_t kOwner = 12345;
  fs::permissions(at.path(), fs::perms::owner_all | fs::perms::group_exec | fs::perms::others_exec | fs::perms::others_read);
  const fs::path plugin = put(at / "more", "none", "plain.so");
  const fs::path copy = at / "onebit";
  fs::create_directory_symlink(fs::path(ONEBIT_BINARY_DIR) / "lib", at / "l");
  if (!copy_command(copy, at / "l")) {
    MESSAGE("SKIPPED: the path of the folder for temporary files is too long for this test: " << at.path().string());
    return;
  }
  struct statvfs mount {};
  if (::geteuid() != 0 || ::chown(copy.c_str(), kOwner, kOwner) != 0) {
    MESSAGE("SKIPPED: only root can make a setuid program of another user's, which this test needs");
    return;
  }
  if (::statvfs(copy.c_str(), &mount) != 0 || (mount.f_flag & ST_NOSUID) != 0 ||
      ::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 0) {
    MESSAGE("SKIPPED: programs in the folder for temporary files can't be setuid here");
    return;
  }
  const std::string environment = "ONEBIT_PLUGIN_PATH='" + (at / "more").string() + "'";
  CHECK(has(list(copy, environment), plugin.string()));
  REQUIRE(::chmod(copy.c_str(), 04755) == 0);
  const std::string listed = list(copy, environment);
  if (has(listed, "error while loading shared libraries") || has(listed, "ermission denied")) {
    MESSAGE("SKIPPED: the build is not readable by other users, which this test needs: " << listed);
    return;
  }
  CAPTURE(listed);
  CHECK_FALSE(has(listed, plugin.string()));
  CHECK(has(listed, "optimizer     adam "));
}
