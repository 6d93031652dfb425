// SPDX-License-Identifier: Apache-2.0
// `onebit plugins verify`: the checks of a library one by one, and what becomes of one that crashes or hangs in a case.
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "striking.hpp"
#include "support/text.hpp"

using nlohmann::json;
using onebit::test::bad_plugin;
using onebit::test::contains;
using onebit::test::Outcome;
using onebit::test::run_onebit;
using onebit::test::run_striking;

namespace {

std::string built_in(const std::string& name) { return ONEBIT_BINARY_DIR "/lib/onebit/plugins/onebit_plugin_" + name + ".so"; }

json verdict_of(const Outcome& outcome) {
  CAPTURE(outcome.text);
  const json verdict = json::parse(outcome.text);
  CHECK(outcome.status == (verdict["ok"] == true ? 0 : 1));
  size_t counted = 0;
  for (const char* count : {"passed", "warnings", "failed", "skipped"}) counted += verdict[count].get<size_t>();
  CHECK(counted == verdict["checks"].size());
  return verdict;
}
json verify(const std::string& file, const std::string& more = "") {
  return verdict_of(run_onebit("plugins verify --json '" + file + "' " + more));
}
// The first check of this name; null when there is none.
json check_of(const json& verdict, const std::string& name) {
  for (const json& check : verdict["checks"])
    if (check["name"] == name) return check;
  return {};
}
std::string text_of(const json& verdict, const std::string& name) {
  const json check = check_of(verdict, name);
  return check.is_null() ? "" : check["text"].get<std::string>();
}

}  // namespace

TEST_CASE("verify: built-in plugins pass, each with the cases of its kind") {
  for (const char* name : {"adam", "onebit"}) {
    const json verdict = verify(built_in(name));
    CHECK_MESSAGE(verdict["ok"] == true, verdict.dump(1));
    CHECK(text_of(verdict, "exports") == "the entry and nothing else");
    CHECK(text_of(verdict, "abi") == "1.1");
    CHECK(check_of(verdict, "schema")["outcome"] == "passed");
    CHECK(check_of(verdict, "takes_its_options")["outcome"] == "passed");
    CHECK(verdict["checks"].size() > 6);
    CHECK(text_of(verdict, "end") == "its shutdown and static destructors returned");
  }
}

TEST_CASE("verify: one line a check, and a summary") {
  const Outcome outcome = run_onebit("plugins verify " + built_in("onebit"));
  CHECK(outcome.status == 0);
  for (const char* line :
       {"passed   plugin exports: the entry and nothing else\n", "passed   plugin loads: onebit 1.0.0\n",
        "passed   compressor 'onebit' schema: 3 options\n", "passed   compressor 'onebit' takes_its_options\n"})
    CHECK_SAYS(outcome, line);
  const std::string last = outcome.text.substr(outcome.text.rfind('\n', outcome.text.size() - 2) + 1);
  CHECK(last.find(built_in("onebit") + ": good: ") == 0);
  CHECK(contains(last, " passed, 0 failed, "));
}

TEST_CASE("verify: exports, help and loading") {
  const json plain = verify(bad_plugin("none"));
  CHECK(check_of(plain, "exports")["outcome"] == "warning");
  CHECK(contains(text_of(plain, "exports"), "expected the entry alone, found 1 more, such as bad_count_shutdowns; build with"));
  CHECK(plain["warnings"] == 1);

  const json newer = verify(bad_plugin("newer"));
  CHECK(text_of(newer, "abi") == "1.7; optimizer 'plain' has " + std::to_string(sizeof(void*) * 10) +
                                     " bytes of functions, 8 of which this host does not know");

  const json helpless = verify(bad_plugin("option_help_empty"));
  CHECK(helpless["ok"] == false);
  CHECK(text_of(helpless, "schema") == "option 'lr' has no help; say in one line what it is");
  CHECK(contains(text_of(verify(bad_plugin("option_help_lines")), "schema"), "option 'lr' has a help with line breaks"));

  const json other = verify(bad_plugin("other_major"));
  CHECK(other["ok"] == false);
  CHECK(contains(text_of(other, "loads"), "built for ABI 2, this host speaks 1"));
  CHECK(contains(text_of(verify("/absent.so"), "loads"), "the file can't be"));
}

TEST_CASE("verify: what is not available here is skipped, with the reason") {
  const json away = verify(bad_plugin("probe_unavailable"));
  CHECK(check_of(away, "conformance")["outcome"] == "skipped");
  CHECK(contains(text_of(away, "conformance"), "no abacus in this machine"));
}

TEST_CASE("verify: values for options") {
  const std::string file = built_in("onebit");
  CHECK(verify(file, "--set compressor.block=64")["ok"] == true);
  const json wrong = verify(file, "--set compressor.block=33x");
  CHECK(wrong["ok"] == false);
  CHECK(contains(text_of(wrong, "takes_its_options"), "--set compressor.block=33x"));
  const Outcome nonsense = run_onebit("plugins verify '" + file + "' --set nonsense");
  CHECK(nonsense.status == 1);
  CHECK_SAYS(nonsense, "onebit: error: --set nonsense");
}

TEST_CASE("verify: a crash, an exit and a hang in a case name component and case") {
  const auto end = [](const char* what, const char* more = "") {
    const json verdict = verdict_of(run_striking(std::string("verify --json ") + more, what));
    CHECK(verdict["ok"] == false);
    CHECK(check_of(verdict, "loads")["outcome"] == "passed");
    return text_of(verdict, "end");
  };
  const auto in_a_case = [](const std::string& text, const std::string& begin, const std::string& rest) {
    INFO(text);
    CHECK(text.find(begin + "case '") != std::string::npos);
    CHECK(contains(text, "' of optimizer 'striking'" + rest));
  };
  in_a_case(end("declare segv"), "it crashed with SIGSEGV while ", " ran");
  in_a_case(end("declare exit_0"), "it called exit(0) while ", " ran");
  in_a_case(end("declare hang", "--timeout 3"), "it did not return within 3 s from ", "");
  CHECK(end("shutdown abort") == "it crashed with SIGABRT while its shutdown ran");
  const json thrown = verdict_of(run_striking("verify --json", "declare throw"));
  CHECK(thrown["failed"] >= 1);
  CHECK(check_of(thrown, "end")["outcome"] == "passed");
}

TEST_CASE("verify: a library that does not get as far as its cases") {
  const json entry = verdict_of(run_striking("verify --json", "entry segv"));
  CHECK(text_of(entry, "end") == "it crashed with SIGSEGV while its entry ran; the checks after that were not made");
  CHECK(check_of(entry, "loads").is_null());
  const Outcome people = run_striking("verify", "constructor exit");
  CHECK(people.status == 1);
  CHECK_SAYS(people, "failed   plugin end: it called exit(3) while its static constructors ran; the checks after that");
  CHECK_SAYS(people, ": not good: 0 passed, 1 failed, 0 skipped, 0 warnings\n");
  const json folder = verdict_of(run_onebit("plugins verify --json /usr"));  // never loaded: its end shows nothing
  CHECK(folder["checks"].size() == 1);
  CHECK(text_of(folder, "loads") == "plugin 'usr' (/usr): expected a shared library, found a folder");
}
