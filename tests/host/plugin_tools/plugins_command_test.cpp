// SPDX-License-Identifier: Apache-2.0
// The command as people run it: plugins list and inspect, check; output, messages and exit codes.
#include <doctest/doctest.h>
#include <sys/wait.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "support/running.hpp"
#include "support/scratch_folder.hpp"
#include "support/text.hpp"

namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using onebit::test::contains;
using onebit::test::in_quotes;

struct StreamsApart {
  int code;
  std::string out, err;
};

// environment: "NAME=value " in front of the command.
StreamsApart run_apart(const std::string& arguments, const std::string& environment = "") {
  const ScratchFolder folder;
  const std::string out = folder / "out", err = folder / "err";
  const std::string command =
      environment + "'" ONEBIT_BINARY_DIR "/bin/onebit' " + arguments + " >'" + out + "' 2>'" + err + "' </dev/null";
  const int status = std::system(command.c_str());
  REQUIRE(WIFEXITED(status));
  return {WEXITSTATUS(status), contents_of(out), contents_of(err)};
}

fs::path bad(const std::string& name) { return fs::path(ONEBIT_BAD_PLUGINS) / (name + ".so"); }

const char* const kManifest =
    "[optimizer]\nplugin = \"onebit_adam\"\nfreeze_step = 100\n[compressor]\nplugin = \"onebit\"\n[communicator]\nplugin = "
    "\"threads\"\n";

}  // namespace

TEST_CASE("help, version and usage") {
  CHECK(run_apart("--version").out == "onebit " ONEBIT_VERSION "\n");
  CHECK(run_apart("--version").code == 0);
  const StreamsApart help = run_apart("--help");
  CHECK(help.code == 0);
  for (const char* word : {"plugins", "check", "--log-level"}) CHECK(contains(help.out, word));
  CHECK(run_apart("").code == 2);
  CHECK(run_apart("frobnicate").code == 2);
  CHECK(run_apart("check").code == 2);
  CHECK(run_apart("--log-level loud plugins list").code == 2);
  CHECK(contains(run_apart("check").err, "CONFIG is required"));
}

TEST_CASE("plugins list: for people, for programs, with the environment's folders") {
  const StreamsApart list = run_apart("plugins list");
  CHECK(list.code == 0);
  CHECK(list.err.empty());
  for (const char* word :
       {"optimizer     adam ", "optimizer     onebit_adam ", "compressor    onebit ", "communicator  threads "})
    CHECK(contains(list.out, word));

  const ScratchFolder folder;
  fs::copy_file(bad("none"), folder / "plain.so");
  fs::copy_file(bad("no_entry"), folder / "broken.so");
  const StreamsApart more = run_apart("plugins list --json", "ONEBIT_PLUGIN_PATH=" + in_quotes(folder.path()) + " ");
  CHECK(more.code == 0);
  CHECK(contains(more.err, "not an onebit plugin"));  // the warning, apart from what programs read
  const json parsed = json::parse(more.out);
  CHECK(parsed["plugins"].size() > 4);
  CHECK(parsed["plugins"][0]["name"] == "plain");
  CHECK(parsed["failures"][0]["file"] == (folder / "broken.so").string());

  const StreamsApart absent = run_apart("plugins list", "ONEBIT_PLUGIN_PATH=/absent ");
  CHECK(absent.code == 1);
  CHECK(absent.err == "onebit: error: $ONEBIT_PLUGIN_PATH names /absent, which is not there\n");
}

TEST_CASE("plugins inspect: every option with type, default, range and help") {
  const StreamsApart people = run_apart("plugins inspect " + in_quotes(bad("none")));
  CHECK(people.code == 0);
  CHECK(people.out == "plain 0.9.1\n  file       " + fs::canonical(bad("none")).string() +
                          "\n  ABI        1.1\n  toolchain  a C compiler\n  available  yes\n"
                          "\n  optimizer 'plain' for cpu\n    lr (number, 0 to 1, default 0.1)\n        the learning rate\n"
                          "\n  compressor 'plain' for cpu\n    no options\n");
  const json parsed = json::parse(run_apart("plugins inspect --json " + in_quotes(bad("none"))).out);
  CHECK(parsed["abi"] == "1.1");
  const json option = parsed["components"][0]["options"][0];
  CHECK(option ==
        json({{"key", "lr"}, {"type", "number"}, {"help", "the learning rate"}, {"default", "0.1"}, {"range", {0.0, 1.0}}}));
  const json away = json::parse(run_apart("plugins inspect --json " + in_quotes(bad("probe_unavailable"))).out);
  CHECK(away["available"] == false);
  CHECK(away["unavailable"] == "no abacus in this machine");
}

TEST_CASE("an error is one message on stderr, and exit code 1") {
  const StreamsApart outcome = run_apart("plugins inspect " + in_quotes(bad("other_major")));
  CHECK(outcome.code == 1);
  CHECK(outcome.out.empty());
  CHECK(outcome.err == "onebit: error: plugin 'other_major' (" + bad("other_major").string() +
                           "): built for ABI 2, this host speaks 1; rebuild it with SDK 1.x\n");
}

TEST_CASE("logs go to stderr, at the level that was asked for") {
  CHECK(contains(run_apart("-v plugins list").err, "[info] plugin adam"));
  CHECK(contains(run_apart("plugins list -v").err, "[info] plugin adam"));
  CHECK(contains(run_apart("--log-level info plugins list").err, "[info] plugin adam"));
  CHECK(run_apart("--log-level warn plugins list").err.empty());
}

TEST_CASE("check prints the resolved configuration, which checks again, and what it costs") {
  const ScratchFolder folder;
  const fs::path file = folder.file("a.toml", kManifest);
  const StreamsApart first =
      run_apart("check " + in_quotes(file) + " --set optimizer.lr=0.25 --set compressor.scale=tensor --ranks 4");
  CAPTURE(first.err);
  REQUIRE(first.code == 0);
  CHECK(contains(first.out, "\nlr = 0.25\n"));
  CHECK(contains(first.out, "\nscale = \"tensor\"\n"));
  CHECK(contains(first.out, "\nfreeze_step = 100\n"));
  CHECK(contains(first.out, "parameters on 4 ranks"));
  CHECK(contains(first.out, "bytes a parameter"));
  CHECK(contains(first.out, "bytes a step and rank"));
  const StreamsApart second = run_apart("check --ranks 4 " + in_quotes(folder.file("b.toml", first.out)));
  REQUIRE(second.code == 0);
  CHECK(second.out.substr(second.out.find('[')) == first.out.substr(first.out.find('[')));
}

TEST_CASE("check knows what ranks that share machines cost") {
  const ScratchFolder folder;
  const std::string grid = "check --ranks 4 --machines 2 " + in_quotes(folder.file("a.toml", kManifest));
  CHECK_FALSE(contains(run_apart(grid).out, "inside its machine"));
  CHECK(contains(run_apart(grid + " --set exchange.topology=hierarchical").out, "inside its machine"));
  const std::string odd = "check --set exchange.topology=hierarchical " + in_quotes(folder.path() / "a.toml");
  CHECK(contains(run_apart(odd + " --ranks 3 --machines 2").err, "found 3 ranks on 2 machines"));
  CHECK(run_apart(odd + " --machines 3").err == "onebit: error: --machines 3: expected 1 to --ranks 2, or 0\n");
}

TEST_CASE("check finds what is wrong without running anything") {
  const ScratchFolder folder;
  const fs::path file = folder.file("a.toml", kManifest);
  const auto error = [&](const std::string& arguments) {
    const StreamsApart outcome = run_apart("check " + in_quotes(file) + " " + arguments);
    CHECK(outcome.code == 1);
    CHECK(outcome.out.empty());
    return outcome.err;
  };
  CHECK(
      error("--set optimizer.freze_step=3") ==
      "onebit: error: --set optimizer.freze_step=3: unknown key 'freze_step' in [optimizer] with plugin 'onebit_adam'; did you "
      "mean 'freeze_step'?\n");
  CHECK(contains(error("--set optimizer.lr=abc"), "--set optimizer.lr=abc: optimizer.lr: expected a number"));
  CHECK(error("--ranks 0") == "onebit: error: --ranks 0: expected a number of ranks from 1 to 4096\n");
  CHECK(contains(run_apart("check /absent.toml").err, "onebit: error: /absent.toml: the manifest can't be read: No such file"));
}
