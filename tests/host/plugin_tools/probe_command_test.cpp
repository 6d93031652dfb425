// SPDX-License-Identifier: Apache-2.0
// `onebit plugins probe`: whatever a library does to its process is a report.
#include <doctest/doctest.h>

#include <chrono>
#include <csignal>
#include <future>
#include <nlohmann/json.hpp>
#include <vector>

#include "striking.hpp"
#include "support/background_run.hpp"

using nlohmann::json;
using onebit::test::bad_plugin;
using onebit::test::comes;
using onebit::test::in_quotes;
using onebit::test::lives;
using onebit::test::Outcome;
using onebit::test::run_onebit;
using onebit::test::run_striking;

namespace {

// Parses what was written, and checks what must hold of every report.
json report_of(const Outcome& outcome) {
  CAPTURE(outcome.text);
  const json report = json::parse(outcome.text);
  CHECK(outcome.status == (report["ok"] == true ? 0 : 1));
  CHECK(report["ok"] == report["reason"].get<std::string>().empty());
  return report;
}

}  // namespace

TEST_CASE("probe: a sound plugin, for people and for programs") {
  const Outcome people = run_onebit("plugins probe " + in_quotes(bad_plugin("none")));
  CHECK(people.status == 0);
  CHECK(people.text == bad_plugin("none") +
                           ": loads\n  plain 0.9.1, ABI 1.1, a C compiler\n  optimizer 'plain' for cpu: made and let go\n"
                           "  compressor 'plain' for cpu: made and let go\n");
  const json report = report_of(run_onebit("plugins probe --json " + in_quotes(bad_plugin("none"))));
  CHECK(report["ok"] == true);
  CHECK(report["loads"] == true);
  CHECK(report["file"] == bad_plugin("none"));
  CHECK(report["plugin"]["version"] == "0.9.1");
  CHECK(report["plugin"]["abi"] == "1.1");
  CHECK(report["plugin"]["available"] == true);
  CHECK(report["components"].size() == 2);
  CHECK(report["components"][1]["kind"] == "compressor");
  CHECK(report["components"][1]["created"] == true);
  CHECK(report["output"] == "");
}

TEST_CASE("probe: the built-in plugins") {
  const std::string folder = ONEBIT_BINARY_DIR "/lib/onebit/plugins/onebit_plugin_";
  for (const char* name : {"adam", "onebit", "threads"}) {
    const json report = report_of(run_onebit("plugins probe --json " + folder + name + ".so"));
    CHECK_MESSAGE(report["ok"] == true, report.dump());
    CHECK(report["components"][0]["created"] == true);
  }
}

TEST_CASE("probe: a refusal is told with its reason") {
  const Outcome other = run_onebit("plugins probe " + in_quotes(bad_plugin("other_major")));
  CHECK(other.status == 1);
  CHECK(other.text == "plugin 'other_major' (" + bad_plugin("other_major") +
                          "): built for ABI 2, this host speaks 1; rebuild it with SDK 1.x\n");
  const auto reason = [](const std::string& name) {
    return report_of(run_onebit("plugins probe --json " + in_quotes(bad_plugin(name))))["reason"].get<std::string>();
  };
  CHECK(reason("entry_null_text").find("its entry refused: this plugin wants a host of the year 2040") != std::string::npos);
  CHECK(reason("slot_null").find("the required function 'plan' is NULL") != std::string::npos);
  CHECK(reason("undefined_symbol").find("onebit_nowhere") != std::string::npos);
  const json absent = report_of(run_onebit("plugins probe --json /absent.so"));
  CHECK(absent["loads"] == false);
  CHECK(absent["plugin"].is_null());
  CHECK(absent["reason"].get<std::string>().find("the file can't be found") != std::string::npos);
}

TEST_CASE("probe: what is not available here is no error, and what can't be made is one") {
  const Outcome away = run_onebit("plugins probe " + in_quotes(bad_plugin("probe_unavailable")));
  CHECK(away.status == 0);
  CHECK_SAYS(away, "not available here: no abacus in this machine");
  CHECK_SAYS(away, "optimizer 'plain' for cpu: not made: the plugin is not available here");
  const json refuses = report_of(run_onebit("plugins probe --json " + in_quotes(bad_plugin("refuses"))));
  CHECK(refuses["loads"] == true);
  CHECK(refuses["reason"] == "not every component can be made");
  CHECK(refuses["components"][0]["reason"] == "optimizer 'plain': no such unit in this machine");
  CHECK(refuses["components"][1]["created"] == true);
}

TEST_CASE("probe: a library that ends its process, wherever it does") {
  const std::string at_create = "create of optimizer 'striking'", at_destroy = "destroy of optimizer 'striking'";
  const std::vector<std::pair<std::string, std::string>> strikes = {
      {"constructor segv", "crashed with SIGSEGV while its static constructors ran"},
      {"entry exit", "called exit(3) while its entry ran"},
      {"entry exit_0", "called exit(0) while its entry ran"},
      {"entry kill", "was ended by SIGKILL while its entry ran"},
      {"probe exit", "called exit(3) while its probe ran"},
      {"create segv", "crashed with SIGSEGV while " + at_create + " ran"},
      {"destroy throw", "crashed with SIGABRT while " + at_destroy + " ran"},
      {"shutdown exit", "called exit(3) while its shutdown ran"},
      {"destructor segv", "crashed with SIGSEGV while its static destructors ran"},
      {"destructor exit_0", ""},  // as any program's end
  };
  for (const auto& [what, reason] : strikes) {
    const std::string found = report_of(run_striking("probe --json", what))["reason"];
    CHECK(what + ": " + found == what + ": " + reason);
  }
  const Outcome people = run_striking("probe", "create segv");
  CHECK(people.status == 1);
  CHECK(people.text == bad_plugin("striking") + ": crashed with SIGSEGV while " + at_create +
                           " ran\n  striking 1.0, ABI 1.1, " + people.text.substr(people.text.find("ABI 1.1, ") + 9));
}

TEST_CASE("probe: exceptions, wherever they come from") {
  const auto reason = [](const char* what) {
    const json report = report_of(run_striking("probe --json", what));
    CHECK(report["loads"] == false);
    return report["reason"].get<std::string>();
  };
  const auto says = [&](const char* what, const std::string& text) {
    CHECK(reason(what) == "plugin 'striking' (" + bad_plugin("striking") + "): " + text);
  };
  says("entry throw", "its entry let an exception out, which no plugin may: thrown on purpose");
  says("entry throw_int", "its entry let an exception out, which no plugin may");
  says("probe throw", "its probe let an exception out, which no plugin may: thrown on purpose");
  // dlopen is declared to throw nothing: gcc ends the process at such a call; in what clang compiles the exception may come
  // through.
  const json constructor = report_of(run_striking("probe --json", "constructor throw"));
  CHECK(constructor["loads"] == false);
  if (constructor["reason"] == "crashed with SIGABRT while its static constructors ran") {
    CHECK(constructor["output"].get<std::string>().find("thrown on purpose") != std::string::npos);
  } else {
    CHECK(constructor["reason"] == "plugin 'striking' (" + bad_plugin("striking") + "): it can't be loaded: thrown on purpose");
  }
  const json create = report_of(run_striking("probe --json", "create throw"));
  CHECK(create["loads"] == true);
  CHECK(create["components"][0]["created"] == false);
  CHECK(create["components"][0]["reason"] == "optimizer 'striking': thrown on purpose");
}

TEST_CASE("probe: a library that does not come back") {
  std::vector<std::pair<std::future<Outcome>, std::string>> runs;
  const auto begin = std::chrono::steady_clock::now();
  for (const auto& [where, noun] :
       {std::pair("constructor", "its static constructors"), std::pair("entry", "its entry"),
        std::pair("create", "create of optimizer 'striking'"), std::pair("destructor", "its static destructors")})
    runs.emplace_back(
        std::async(std::launch::async,
                   [where = std::string(where)] { return run_striking("probe --json --timeout 3", where + " hang"); }),
        noun);
  for (auto& [run, noun] : runs) CHECK(report_of(run.get())["reason"] == "did not return within 3 s from " + noun);
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(30));
}

TEST_CASE("probe: what the library wrote does not mix with the report") {
  const json report = report_of(run_striking("probe --json", "entry write"));
  CHECK(report["ok"] == true);
  const std::string output = report["output"];
  CHECK(output.size() <= 16384 + 2);  // U+FFFD is longer than the byte that it stands for
  CHECK(output.find("no word of the host's\"} 19999\n") != std::string::npos);
  CHECK(output.find("last words \xef\xbf\xbd\n") != std::string::npos);
  const Outcome people = run_striking("probe", "entry write");
  CHECK_SAYS(people, "  it wrote:\n  | ");
}

TEST_CASE("probe: processes that the library starts don't outlive it, or don't keep the report waiting") {
  const ScratchFolder folder;
  const auto started = [&](const char* name) {
    pid_t process = 0;
    std::ifstream(folder / name) >> process;
    REQUIRE(process > 0);
    return process;
  };
  CHECK(report_of(run_striking("probe --json", "entry start", folder / "near"))["ok"] == true);
  CHECK(comes([&] { return !lives(started("near")); }, std::chrono::seconds(10)));
  CHECK(report_of(run_striking("probe --json", "entry start_away", folder / "away"))["ok"] == true);
  ::kill(started("away"), SIGKILL);
}

TEST_CASE("probe: links on the way to a file are followed as the kernel does") {
  const ScratchFolder folder;
  std::filesystem::create_directories(folder / "far/away");
  std::filesystem::copy_file(ONEBIT_BINARY_DIR "/lib/onebit/plugins/onebit_plugin_adam.so", folder / "far/near.so");
  std::filesystem::create_directory_symlink(folder / "far/away", folder / "link");
  const json found = report_of(run_onebit("plugins probe --json '" + (folder / "link/../near.so").string() + "'"));
  CHECK(found["ok"] == true);
  CHECK(found["stage"].is_null());
}

TEST_CASE("probe: usage") {
  CHECK(run_onebit("plugins probe").status == 2);
  CHECK(run_onebit("plugins probe --timeout 0 x.so").status == 2);
  CHECK(run_onebit("plugins probe --timeout soon x.so").status == 2);
  CHECK(run_onebit("plugins probe --timeout nan x.so").status == 2);
  CHECK_SAYS(run_onebit("plugins probe ''"), "onebit: error: FILE is empty");
  CHECK(run_onebit("plugins --help").text.find("examine") == std::string::npos);
  CHECK(run_onebit("plugins examine probe x.so --report-to 77").status == 1);  // not ours to write to
}
