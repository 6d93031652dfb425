// SPDX-License-Identifier: Apache-2.0
// The rig of tests/slownet: what it gives, what it refuses, and that nothing of it is left, however it ends.
#include <doctest/doctest.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <regex>
#include <string>
#include <vector>

#include "source_tree.hpp"
#include "support/running.hpp"
#include "support/scratch_folder.hpp"

using onebit::test::kUnavailable;
using onebit::test::Outcome;
using onebit::test::run_shell;

namespace {

constexpr int kWrongArguments = 2;

std::string in_source(const std::string& file) { return std::string(ONEBIT_SOURCE_DIR) + "/tests/slownet/" + file; }
std::string rig(const std::string& arguments) { return in_source("rig.sh") + " " + arguments; }

// Says why, once a test case, where this machine can't have the rig.
bool can_be_here() {
  const Outcome outcome = run_shell(rig("--hosts 2 --rate 100mbit -- true"));
  if (outcome.status == kUnavailable) MESSAGE("SKIPPED: " << outcome.text);
  return outcome.status != kUnavailable;
}

// What each rank writes to NAME.RANK: its network namespace, by which one can see later whether anybody is still in there.
std::string note_namespace(const std::string& name) { return "readlink /proc/self/ns/net >" + name + ".$OMPI_COMM_WORLD_RANK"; }

// Processes that are in the namespaces noted, and mounts of them, which would keep them as well: looked for until there are
// none, or so many times, a tenth of a second apart.
std::string what_is_left(const ScratchFolder& folder, int tries = 1) {
  return run_shell("cd " + folder.path().string() + " && cat noted.* >all && for try in $(seq " + std::to_string(tries) +
                   "); do { readlink /proc/[0-9]*/ns/net; cat /proc/self/mountinfo; } "
                   "2>/dev/null | grep -Ff all >left || break; sleep 0.1; done; cat left")
      .text;
}

// For a shell: until a rank has written this.
std::string wait_for(const std::string& file) { return "until [ -s " + file + " ]; do sleep 0.02; done\n"; }

// A share of the rate that transfer.py told, for one rank.
std::vector<double> shares_in(const std::string& text) {
  static const std::regex told(R"(([0-9.]+) of the rate)");
  std::vector<double> shares;
  for (std::sregex_iterator match(text.begin(), text.end(), told), end; match != end; ++match)
    shares.push_back(std::stod((*match)[1]));
  return shares;
}

}  // namespace

TEST_CASE("slownet: every host has a name and an address of its own, and ranks are on the hosts in turn") {
  if (!can_be_here()) return;
  ScratchFolder folder;
  const std::string say = "sh -c '" + note_namespace((folder / "noted").string()) +
                          "; echo $OMPI_COMM_WORLD_RANK is on $(hostname) $(hostname -I)'";
  const Outcome outcome = run_shell(rig("--hosts 3 --ranks-per-host 2 --rate unlimited -- " + say));
  CHECK_MESSAGE(outcome.status == 0, outcome.text);
  for (int rank = 0; rank < 6; ++rank) {
    const std::string host = std::to_string(rank / 2), address = "10.77.0." + std::to_string(rank / 2 + 1);
    CHECK_SAYS(outcome, std::to_string(rank) + " is on host" + host + " " + address);
  }
  CHECK(what_is_left(folder) == "");
}

TEST_CASE("slownet: the command's exit status is the rig's, and nothing is left") {
  if (!can_be_here()) return;
  ScratchFolder folder;
  const std::string fail = "sh -c '" + note_namespace((folder / "noted").string()) + "; exit 7'";
  const Outcome outcome = run_shell(rig("--hosts 2 --rate 100mbit -- " + fail));
  CHECK_MESSAGE(outcome.status == 7, outcome.text);
  CHECK(what_is_left(folder) == "");
}

TEST_CASE("slownet: a signal ends it at once, and nothing is left") {
  if (!can_be_here()) return;
  for (const auto& [name, code] : {std::pair("INT", 130), {"TERM", 143}, {"HUP", 129}, {"KILL", 137}}) {
    const std::string signal = name;  // clang 14 lets no lambda, such as the messages of a check, see what was unpacked
    const int status = code;
    ScratchFolder folder;
    const std::string stay = "sh -c '" + note_namespace((folder / "noted").string()) + "; sleep 600'";
    // a shell's background processes ignore SIGINT, unless told not to
    const Outcome outcome = run_shell("env --default-signal=INT " + rig("--hosts 2 --rate 100mbit -- " + stay) + " & rig=$!\n" +
                                      wait_for((folder / "noted.0").string()) + wait_for((folder / "noted.1").string()) +
                                      "kill -" + signal + " $rig; wait $rig; status=$?; exit $status");
    CHECK_MESSAGE(outcome.status == status, signal, ": ", outcome.text);
    const int tries = signal == "KILL" ? 100 : 2;  // it can't wait for its ranks, which the kernel ends, on a busy machine late
    CHECK_MESSAGE(what_is_left(folder, tries) == "", signal);
  }
}

TEST_CASE("slownet: where mpirun is killed, its ranks go as well") {
  if (!can_be_here()) return;
  ScratchFolder folder;
  const std::string noted = (folder / "noted").string();
  const std::string stay = "sh -c '" + note_namespace(noted) + "; [ $OMPI_COMM_WORLD_RANK = 1 ] || { until [ -s " + noted +
                           ".1 ]; do sleep 0.02; done; kill -KILL $PPID; }; sleep 600'";
  const Outcome outcome = run_shell(rig("--hosts 2 --rate 100mbit -- " + stay));
  CHECK_MESSAGE(outcome.status == 137, outcome.text);
  CHECK(what_is_left(folder) == "");
}

TEST_CASE("slownet: hosts get the rate that was asked for, both ways at once, and the counters see it") {
  if (!can_be_here()) return;
  if (run_shell("python3 -c ''").status != 0) {
    MESSAGE("SKIPPED: there is no python3, by which this test sends");
    return;
  }
  for (const int hosts : {2, 3}) {
    ScratchFolder folder;
    const std::string counters = (folder / "counters.json").string();
    const Outcome outcome = run_shell(rig("--hosts " + std::to_string(hosts) + " --rate 100mbit --counters " + counters +
                                          " -- " + in_source("transfer.py") + " 1e8 0.5"));
    REQUIRE_MESSAGE(outcome.status == 0, outcome.text);
    const std::vector<double> shares = shares_in(outcome.text);
    CHECK_MESSAGE(shares.size() == 1U + static_cast<unsigned>(hosts), outcome.text);
    for (const double share : shares) {
      CHECK_MESSAGE(share > 0.7, outcome.text);   // of 0.956; less than that on a busy machine
      CHECK_MESSAGE(share < 1.01, outcome.text);  // the filter lets the first 256 kB pass at once
    }
    const auto counted = nlohmann::json::parse(contents_of(folder / "counters.json"));
    REQUIRE(counted["hosts"].size() == static_cast<size_t>(hosts));
    constexpr double kSize = 6.2e6;  // what a rank sends in one of the two transfers; host0 is in both
    for (const auto& host : counted["hosts"]) {
      const double size = kSize * (host["host"] == "host0" ? 2 : 1);
      CHECK_MESSAGE(host["sent"].get<double>() > size, counted.dump());
      CHECK_MESSAGE(host["sent"].get<double>() < 1.1 * size, counted.dump());
      CHECK_MESSAGE(host["sent_with_all_headers"].get<double>() > 1.04 * size, counted.dump());
    }
  }
}

TEST_CASE("slownet: two rigs at the same time do not meet") {
  if (!can_be_here()) return;
  ScratchFolder folder;
  const std::string mine = (folder / "mine").string(), other = (folder / "other").string();
  const auto meet = [](const std::string& own, const std::string& awaited) {
    return rig("--hosts 2 --rate unlimited -- sh -c '" + note_namespace(own) + "; until [ -s " + awaited +
               ".$OMPI_COMM_WORLD_RANK ]; do sleep 0.02; done'");
  };
  const Outcome outcome = run_shell(meet(mine, other) + " & " + meet(other, mine) + " && wait $!");
  CHECK_MESSAGE(outcome.status == 0, outcome.text);
  CHECK(run_shell("cat " + mine + ".* " + other + ".* | sort -u | wc -l").text == "4\n");
}

TEST_CASE("slownet: it refuses who is not root") {
  const bool is_root = ::geteuid() == 0;
  const std::string as_nobody = is_root ? "setpriv --reuid=65534 --clear-groups " : "";
  if (is_root && run_shell(as_nobody + "test -x " + in_source("rig.sh")).status != 0) {
    MESSAGE("SKIPPED: nobody may read this source folder, or there is no setpriv");
    return;
  }
  const Outcome outcome = run_shell(as_nobody + rig("--hosts 2 --rate 100mbit -- true"));
  CHECK_MESSAGE(outcome.status == kUnavailable, outcome.text);
  if (run_shell("PATH=$PATH:/usr/sbin:/sbin; command -v mpirun ip tc").status == 0) CHECK_SAYS(outcome, "run it as root");
}

TEST_CASE("slownet: what is wrong with the arguments is told") {
  const std::pair<const char*, const char*> wrong[] = {
      {"--hosts 1 --rate 100mbit -- true", "expected a number from 2 to 16"},
      {"--rate 100mbit -- true", "--hosts ''"},
      {"--hosts 2 --rate 100 -- true", "expected a rate as 100mbit"},
      {"--hosts 2 --rate -- true", "--rate lacks its value"},
      {"--hosts 2 --rate 1gbit --ranks-per-host 0 -- true", "--ranks-per-host '0'"},
      {"--hosts 2 --rate 1gbit --counters /nowhere/file -- true", "can't be written"},
      {"--hosts 2 --rate 1gbit true", "comes after --"},
      {"--hosts 2 --rate", "lacks its value"},
      {"--hosts 2 --rate 1gbit --", "there is no command"},
  };
  for (const auto& [typed, said] : wrong) {
    const std::string arguments = typed;
    const Outcome outcome = run_shell(rig(arguments));
    CHECK_MESSAGE(outcome.status == kWrongArguments, arguments, ": ", outcome.text);
    CHECK_SAYS(outcome, said);
  }
}
