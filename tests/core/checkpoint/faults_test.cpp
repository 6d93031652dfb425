// SPDX-License-Identifier: Apache-2.0
// A save, or a prune, that is broken off at each of its calls of the system in turn: by the end of the process before or after
// the call, by errors, by a full disk. Whatever the call, what is found afterwards is the checkpoint before or the new one,
// whole.
#include <doctest/doctest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <functional>

#include "faulty_system.hpp"
#include "onebit/checkpoint.hpp"
#include "saving.hpp"
#include "support/scratch_folder.hpp"

namespace fs = std::filesystem;
using namespace onebit::test;
using onebit::CheckpointEntry;
using onebit::CheckpointState;

namespace {

struct Breakage {
  std::string name;
  Fault fault;
  int error = 0;
  bool writes_only = false;
};
const std::vector<Breakage> kBreakages = {{"end before", Fault::exit_before},   {"end after", Fault::exit_after},
                                          {"EIO", Fault::error, EIO},           {"ENOSPC", Fault::error, ENOSPC},
                                          {"EINTR", Fault::error, EINTR, true}, {"a short write", Fault::short_write, 0, true},
                                          {"a full disk", Fault::full}};

// What happens to a root, again and again from the same beginning.
struct Scenario {
  std::function<void(const fs::path&root)> before, broken_off;
  std::vector<Saving> newest;  // after that, one of these is loaded first; none: nothing may be there as well
  Saving wanted;               // this one, when no error was told
  std::vector<Saving> kept;    // complete whatever happened
  bool no_exchange = false;
};

struct Report {
  int status = 0;
  bool happened = false;
  char error[1000] = {};
};

// In memory that parent and child share: what a child says of itself, also when it ends before its time.
class SharedReport {
 public:
  SharedReport() : report_(mmap(nullptr, sizeof(Report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)) {}
  ~SharedReport() { munmap(report_, sizeof(Report)); }
  SharedReport(const SharedReport&) = delete;
  SharedReport& operator=(const SharedReport&) = delete;
  Report& get() const { return *static_cast<Report*>(report_); }

 private:
  void* report_;
};

constexpr int kDone = 0, kErrorTold = 3, kOtherwise = 4;

[[noreturn]] void run_child(const std::function<void()>& act, Report& report) {
  int status = kOtherwise;
  try {
    act();
    status = kDone;
  } catch (const onebit::Error& e) {
    std::snprintf(report.error, sizeof report.error, "%s", e.what());
    status = kErrorTold;
  } catch (...) {
  }
  report.happened = fault_happened();
  _exit(status);
}

Report run_broken_off(const std::function<void()>& act, const FaultPlan& plan) {
  const SharedReport shared;
  shared.get() = {};
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    begin_faults(plan);
    run_child(act, shared.get());
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  Report report = shared.get();
  report.status = WEXITSTATUS(status);
  if (report.status == kKilledStatus) report.happened = true;
  return report;
}

bool is_one_of(const fs::path& folder, const std::vector<Saving>& savings) {
  return std::any_of(savings.begin(), savings.end(), [&](const Saving& saving) { return difference(folder, saving).empty(); });
}

void check_what_is_there(const fs::path& root, const Scenario& scenario, const Report& report) {
  CHECK((report.status == kDone || report.status == kErrorTold || report.status == kKilledStatus));
  const std::vector<fs::path> folders = onebit::loadable_checkpoints(root);
  for (const fs::path& folder : folders) CHECK(error_text(folder) == "");  // all, and not the newest alone
  if (!folders.empty())
    CHECK(is_one_of(folders.front(), scenario.newest));
  else
    CHECK(scenario.kept.empty());
  if (report.status == kDone) {
    REQUIRE_FALSE(folders.empty());
    CHECK(difference(folders.front(), scenario.wanted) == "");
  }
  for (const Saving& saving : scenario.kept)
    CHECK(std::any_of(folders.begin(), folders.end(),
                      [&](const fs::path& folder) { return difference(folder, saving).empty(); }));
}

// An undisturbed save and prune afterwards find nothing that stands in their way, and leave nothing behind.
void check_next_save(const fs::path& root) {
  const Saving next = {500, 50};
  CHECK(save(root, next).left.empty());
  CHECK(difference(onebit::loadable_checkpoints(root).front(), next) == "");
  CHECK(onebit::prune_checkpoints(root, 1).left.empty());
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(root)) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  CHECK(names == std::vector<std::string>{"latest", onebit::folder_name(next.step)});
}

// Where there is one, a file system in memory: a busy disk would make the thousands of saves here take minutes.
fs::path fast_folder() {
  const char* memory = "/dev/shm";
  return access(memory, W_OK | X_OK) == 0 ? fs::path(memory) : fs::temp_directory_path();
}

// False when the n-th call was not reached.
bool try_point(const Scenario& scenario, const Breakage& breakage, uint64_t n) {
  const ScratchFolder scratch(fast_folder());
  const fs::path root = scratch / "root";
  FaultPlan plan;
  plan.folder = scratch.path().string();
  plan.no_exchange = scenario.no_exchange;
  begin_faults(plan);  // no fault, and no waiting for the disk
  scenario.before(root);
  plan.at = n;
  plan.fault = breakage.fault;
  plan.error = breakage.error;
  plan.writes_only = breakage.writes_only;
  const Report report = run_broken_off([&] { scenario.broken_off(root); }, plan);
  CAPTURE(breakage.name);
  CAPTURE(n);
  CAPTURE(report.error);
  check_what_is_there(root, scenario, report);
  check_next_save(root);
  end_faults();
  return report.happened;
}

void try_all_points(const std::string& name, const Scenario& scenario) {
  if (!calls_can_fail) {
    MESSAGE("SKIPPED: under a sanitizer, which has its own calls of the system");
    return;
  }
  uint64_t points = 0;
  std::string counts;
  for (const Breakage& breakage : kBreakages) {
    uint64_t n = 1;
    while (try_point(scenario, breakage, n)) ++n;
    points += n - 1;
    counts += std::string(counts.empty() ? "" : ", ") + breakage.name + " " + std::to_string(n - 1);
  }
  CHECK(points > 0);
  MESSAGE(name << ": broken off at " << points << " points (" << counts << ")");
}

const Saving kOld = {100, 1}, kNew = {200, 2}, kAgain = {100, 3};

void save_old(const fs::path& root) { save(root, kOld); }

}  // namespace

TEST_CASE("the first save, broken off at each call") {
  Scenario scenario;
  scenario.before = [](const fs::path&) {};
  scenario.broken_off = [](const fs::path& root) { save(root, kNew); };
  scenario.newest = {kNew};
  scenario.wanted = kNew;
  try_all_points("the first save", scenario);
}

TEST_CASE("a second save, broken off at each call") {
  Scenario scenario;
  scenario.before = save_old;
  scenario.broken_off = [](const fs::path& root) { save(root, kNew); };
  scenario.newest = {kOld, kNew};
  scenario.wanted = kNew;
  scenario.kept = {kOld};
  try_all_points("a second save", scenario);
}

TEST_CASE("the same step again, broken off at each call") {
  for (const bool no_exchange : {false, true}) {
    Scenario scenario;
    scenario.before = save_old;
    scenario.broken_off = [](const fs::path& root) { save(root, kAgain); };
    scenario.newest = {kOld, kAgain};
    scenario.wanted = kAgain;
    scenario.no_exchange = no_exchange;
    try_all_points(no_exchange ? "the same step again, where names cannot be exchanged" : "the same step again", scenario);
  }
}

TEST_CASE("a save that cleans up after others, broken off at each call") {
  Scenario scenario;
  scenario.before = [](const fs::path& root) {
    for (const uint64_t step : {60, 70, 80}) save(root, {step, 1});
    fs::rename(root / "step-00000060", root / "step-00000060.removed");
    fs::rename(root / "step-00000070", root / "step-00000070.unfinished");
    fs::rename(root / "step-00000080", root / "step-00000080.replaced");  // the only one of its step
    save_old(root);
    fs::copy(root / "step-00000100", root / "step-00000100.replaced", fs::copy_options::recursive);
    fs::copy(root / "step-00000100", root / "step-00000200.unfinished", fs::copy_options::recursive);
  };
  scenario.broken_off = [](const fs::path& root) { save(root, kNew); };
  scenario.newest = {kOld, kNew};
  scenario.wanted = kNew;
  scenario.kept = {kOld, {80, 1}};
  try_all_points("a save that cleans up", scenario);
}

TEST_CASE("a prune, broken off at each call") {
  Scenario scenario;
  scenario.before = [](const fs::path& root) {
    for (const uint64_t step : {60, 70, 80, 100}) save(root, {step, 1});
    fs::copy(root / "step-00000060", root / "step-00000050.removed", fs::copy_options::recursive);
  };
  scenario.broken_off = [](const fs::path& root) { onebit::prune_checkpoints(root, 2); };
  scenario.newest = {kOld};
  scenario.wanted = kOld;
  scenario.kept = {kOld, {80, 1}};
  try_all_points("a prune", scenario);
}
