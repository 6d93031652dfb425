// SPDX-License-Identifier: Apache-2.0
// plugins.trusted_owners: whose files are loaded besides root's and one's own, and what is said of anybody else's.
#include "loading/owners.hpp"

#include <doctest/doctest.h>
#include <pwd.h>
#include <unistd.h>

#include "core/loading/refusals.hpp"
#include "onebit/configuration.hpp"
#include "onebit/registry.hpp"
#include "support/scratch_folder.hpp"

namespace {

namespace fs = std::filesystem;
using onebit::Manifest;
using onebit::Registry;
using onebit::test::bad;
using onebit::test::error_of;

constexpr uid_t kService = 12345;

// A library that belongs to a service account, and what a manifest of that folder says.
struct Service {
  ScratchFolder folder;
  const fs::path file = folder / "plain.so";
  bool is_there = false;
  Service() {
    fs::copy_file(bad("none"), file);
    is_there = ::chown(file.c_str(), kService, kService) == 0;
    if (!is_there) MESSAGE("SKIPPED: only root can give a file away, which this test needs");
  }
  Manifest manifest(const std::string& more, const std::vector<std::string>& overrides = {}) const {
    return Manifest::parse("[plugins]\npath = [\"plain.so\"]\n" + more, "a.toml", folder.path(), overrides);
  }
  // Why it was left out; "" when it was not.
  std::string reason(const std::string& more, const std::vector<std::string>& overrides = {}) const {
    Registry registry;
    registry.load(manifest(more, overrides));
    return registry.failures().empty() ? "" : registry.failures()[0].reason;
  }
};

std::string owners_error(const std::string& owners) {
  return error_of([&] {
    Registry registry;
    registry.load(Manifest::parse("[plugins]\ntrusted_owners = " + owners + "\n", "a.toml", "/nowhere"));
  });
}

}  // namespace

TEST_CASE(
    "a library of a service account: refused with its owner, its file and the option, and loaded where the owner is trusted") {
  const Service service;
  if (!service.is_there) return;
  const std::string refused = service.reason("");
  CHECK(refused == "plugin 'plain' (" + service.file.string() +
                       "): the file belongs to user 12345; expected root or the user who runs this (" +
                       std::to_string(geteuid()) +
                       "); if you trust that user, set in the manifest plugins.trusted_owners = [\"12345\"]");
  CHECK(service.reason("trusted_owners = [\"12345\"]\n") == "");
  CHECK(service.reason("trusted_owners = [\"root\", \"12345\"]\n") == "");
  CHECK(service.reason("", {"plugins.trusted_owners=[\"12345\"]"}) == "");
  CHECK(service.reason("trusted_owners = [\"12346\"]\n") == refused);
  CHECK(service.reason("trusted_owners = []\n") == refused);
}

TEST_CASE("a trusted owner is one by name, too, and errors give names") {
  const Service service;
  const passwd* const nobody = ::getpwnam("nobody");
  if (!service.is_there || nobody == nullptr) return;
  REQUIRE(::chown(service.file.c_str(), nobody->pw_uid, static_cast<gid_t>(-1)) == 0);
  CHECK(service.reason("trusted_owners = [\"nobody\"]\n") == "");
  CHECK(service.reason("").find("the file belongs to user nobody (" + std::to_string(nobody->pw_uid) + "); expected ") !=
        std::string::npos);
}

TEST_CASE("trust goes with the manifest, or stays where the embedder said so") {
  const Service service;
  if (!service.is_there) return;
  Registry registry;
  registry.load(service.manifest("trusted_owners = [\"12345\"]\n"));
  CHECK(registry.failures().empty());
  registry.load(Manifest::parse("", "b.toml", "/nowhere"));
  CHECK(error_of([&] { registry.load(service.file); }).find("belongs to user 12345") != std::string::npos);
  registry.trust_owner("12345");
  CHECK(error_of([&] { registry.load(service.file); }) == "no error");
  CHECK(error_of([&] { registry.trust_owner("no such user"); }) ==
        "expected a user's name or number, found \"no such user\", and this machine has no such user");
}

TEST_CASE("who trusts an owner still refuses what everybody may write to") {
  const Service service;
  if (!service.is_there) return;
  fs::permissions(service.file, fs::perms::all);
  CHECK(service.reason("trusted_owners = [\"12345\"]\n").find("the file is writable by everybody") != std::string::npos);
}

TEST_CASE("users that are none, each with its place") {
  CHECK(owners_error("[\"root\", \"no_such_user_here\"]") ==
        "a.toml:2:27: plugins.trusted_owners: expected a user's name or number, found \"no_such_user_here\", and this machine "
        "has "
        "no such user");
  for (const char* text : {"[\"\"]", "[\"-1\"]", "[\"4294967295\"]", "[\"99999999999\"]", "[\" 0\"]", "[\"0x0\"]"}) {
    CAPTURE(text);
    CHECK(owners_error(text).find("a.toml:2:19: plugins.trusted_owners: expected a user's name or number, found ") == 0);
  }
  CHECK(owners_error("\"root\"").find("a.toml:2:18: plugins.trusted_owners: expected an array of at most 256 strings") == 0);
  CHECK(owners_error("[0]").find("plugins.trusted_owners: expected an array of at most 256 strings") != std::string::npos);
}

TEST_CASE("a configuration that is written down keeps its owners") {
  Registry registry;
  const Manifest manifest = Manifest::parse(
      "[plugins]\ntrusted_owners = [\"root\", \"0\"]\n[optimizer]\nplugin = \"adam\"\nlr = 0.1\n[communicator]\nplugin = "
      "\"threads\"\n",
      "a.toml", "/nowhere");
  registry.load(manifest);
  CHECK(onebit::Configuration(registry, manifest).to_toml().find("trusted_owners = [\"root\", \"0\"]\n") != std::string::npos);
}
