// SPDX-License-Identifier: Apache-2.0
// Saving and going on.
#include "training/run_checkpoints.hpp"

#include <fmt/format.h>

#include <map>
#include <sstream>
#include <utility>
#include <vector>

#include "launch/gathering.hpp"
#include "onebit/checkpoint.hpp"
#include "onebit/error.hpp"

namespace onebit::host {
namespace {

namespace fs = std::filesystem;

constexpr const char* kBlob = "train";  // of a rank, and of all

const CheckpointBlob* find_blob(const std::vector<CheckpointBlob>& blobs, const std::string& name) {
  for (const CheckpointBlob& blob : blobs)
    if (blob.name == name) return &blob;
  return nullptr;
}

std::map<std::string, std::string> settings_by_key(const std::string& lines) {
  std::map<std::string, std::string> settings;
  std::istringstream in(lines);
  for (std::string line; std::getline(in, line);)
    if (const size_t equals = line.find(" = "); equals != std::string::npos)
      settings[line.substr(0, equals)] = line.substr(equals + 3);
  return settings;
}

// Lines "train.epochs: 4 when it was saved, 8 now".
std::vector<std::string> differences(const std::string& then, const std::string& now) {
  std::vector<std::string> found;
  const std::map<std::string, std::string> before = settings_by_key(then);
  for (const auto& [key, value] : settings_by_key(now))
    if (const auto old = before.find(key); old != before.end() && old->second != value)
      found.push_back(fmt::format("train.{}: {} when it was saved, {} now", key, old->second, value));
  return found;
}

// The same text for the same folder.
fs::path same_path(const fs::path& folder) {
  const fs::path path = fs::weakly_canonical(fs::absolute(folder));
  return path.has_filename() ? path : path.parent_path();
}

// Is a folder the run's own root, or one of the checkpoints there?
bool is_of(const fs::path& folder, const fs::path& root) {
  if (root.empty()) return false;
  const fs::path found = same_path(folder), wanted = same_path(root);
  return found == wanted || found.parent_path() == wanted;
}

}  // namespace

std::string CheckpointPlan::common() const {
  return settings.common + "--resume = " + (resume ? "true" : "false") +
         "\n--ignore-state = " + (ignore_state ? "true" : "false") + "\n";
}

CheckpointPlan plan_checkpoints(const CheckpointSettings& settings, const fs::path& out,
                                const std::optional<std::string>& resume, bool ignore_state) {
  CheckpointPlan plan{settings, {}, {}, ignore_state};
  if (!settings.folder.empty()) plan.root = out / settings.folder;
  if (ignore_state && !resume)
    throw Error(Code::invalid_argument, "--ignore-state is about what --resume loads; give --resume FOLDER, too");
  if (!resume) return plan;
  if (resume->empty() && plan.root.empty())
    throw Error(
        Code::invalid_argument,
        "--resume: there is no folder of checkpoints; give one, --resume FOLDER, or set checkpoint.folder, in which the "
        "run will also save");
  plan.resume = resume->empty() ? plan.root : fs::path(*resume);
  return plan;
}

void require_room(const CheckpointPlan& plan) {
  if (plan.root.empty() || loadable_checkpoints(plan.root).empty()) return;
  if (plan.resume && !plan.ignore_state && is_of(*plan.resume, plan.root)) return;
  throw Error(Code::invalid_argument,
              plan.root.string() +
                  ": there are checkpoints of an earlier run; go on from them with --resume alone, or save elsewhere, by "
                  "another checkpoint.folder or another folder for the results (--out)");
}

RunCheckpoints::RunCheckpoints(const CheckpointPlan& plan, Session& session, TrainLog* log)
    : plan_(plan), session_(session), log_(log) {}

std::optional<RunCheckpoints::Place> RunCheckpoints::resume(const std::string& settings) {
  if (!plan_.resume) return std::nullopt;
  if (!first_finds([&] { return !loadable_checkpoints(*plan_.resume).empty(); })) {
    if (plan_.ignore_state)
      throw Error(Code::invalid_argument,
                  plan_.resume->string() + ": no checkpoint is there; --ignore-state needs one, to take its parameters");
    tell(plan_.resume->string() + ": no checkpoint is there, so the run begins");
    return std::nullopt;
  }
  LoadOptions options;
  options.ignore_state = plan_.ignore_state;
  LoadReport report = session_.load(*plan_.resume, options);
  if (plan_.ignore_state) {
    tell(report);
    return std::nullopt;
  }
  Place place = place_in(report);
  for (const std::string& line : differences(place.run.settings, settings)) report.changed.push_back(line);
  tell(report);
  saved_ = first_finds([&] { return is_of(report.folder, plan_.root); }) ? place.run.taken : -1;
  return place;
}

// What rank 0 sees decides for all: ranks that each went by their own sight of a folder might part ways. What they see of a
// checkpoint, load() compares.
bool RunCheckpoints::first_finds(const std::function<bool()>& seen) {
  return numbers_of_ranks(session_.communicator(), log_ != nullptr && seen() ? 1 : 0).front() != 0;
}

RunCheckpoints::Place RunCheckpoints::place_in(const LoadReport& report) const {
  const CheckpointBlob* run = find_blob(report.of_all, kBlob);
  if (run == nullptr)
    throw Error(Code::invalid_argument, report.folder.string() +
                                            " was not saved by `onebit train`: it does not say which samples come next; "
                                            "--ignore-state takes its parameters alone");
  if (const CheckpointBlob* own = find_blob(report.of_rank, kBlob))
    return {run_place_of(run->bytes), rank_place_of(own->bytes)};
  std::vector<RankPlace> old;
  for (int rank = 0; rank < report.ranks; ++rank)
    if (const CheckpointBlob* one = find_blob(report.of_rank, fmt::format("{}@{}", kBlob, rank)))
      old.push_back(rank_place_of(one->bytes));
  return {run_place_of(run->bytes), shared_out(old, session_.rank(), session_.size())};
}

void RunCheckpoints::tell(const LoadReport& report) const {
  for (const std::string& why : report.refused) tell("not taken: " + why);
  tell(fmt::format("{}: {} step {}, saved by {} ranks", report.folder.string(),
                   plan_.ignore_state ? "the run begins with the parameters of" : "goes on after", report.step, report.ranks));
  for (const std::string& what : report.afresh) tell("begins afresh: " + what);
  if (plan_.ignore_state) return;  // it goes by its own options
  for (const std::string& what : report.changed) tell("changed: " + what);
}

bool RunCheckpoints::due(int64_t taken) const {
  return saves() && plan_.settings.every > 0 && taken % plan_.settings.every == 0;
}

void RunCheckpoints::save(Place place) {
  if (!plan_.settings.skip_if_busy) finish();
  write(std::move(place), !plan_.settings.async);
}

void RunCheckpoints::save_last(Place place) {
  if (!saves()) return;
  finish();
  if (place.run.taken != saved_) write(std::move(place), true);
}

void RunCheckpoints::finish() {
  if (saves()) attempt([&] { tell_left(session_.finish_save()); });
}

// Only rank 0 has a log, but all ranks are told what its disk refuses: they save together or not at all.
MetricsMark RunCheckpoints::mark() {
  MetricsMark mark;
  std::string fault;
  try {
    if (log_ != nullptr) mark = log_->mark();
  } catch (const Error& e) {
    fault = e.what();
  }
  fault = text_of_first(session_.communicator(), "!" + fault).substr(1);
  if (!fault.empty()) throw Error(Code::unavailable, fault);
  return mark;
}

void RunCheckpoints::write(Place place, bool wait) {
  SaveOptions options;
  options.keep = plan_.settings.keep;
  options.hash = plan_.settings.hash;
  options.wait = wait;
  options.skip_if_busy = plan_.settings.skip_if_busy && !wait;
  options.of_rank.push_back({kBlob, text_of(place.own)});
  attempt([&] {
    place.run.metrics = mark();
    options.of_all.push_back({kBlob, text_of(place.run)});
    tell_saved(session_.save(plan_.root, options), place.run.taken);
  });
}

void RunCheckpoints::tell_saved(const SaveReport& report, int64_t taken) {
  if (!report.begun) {
    tell(fmt::format("the checkpoint after step {} is left out: the one before is still being written", taken));
    return;
  }
  saved_ = taken;
  tell(fmt::format("checkpoint after step {}: {}{}", taken, report.folder.string(), report.committed ? "" : ", being written"));
  tell_left(report);
}

void RunCheckpoints::tell_left(const SaveReport& report) const {
  if (!report.left.empty()) tell("left on the disk: " + report.left);
}

void RunCheckpoints::tell(const std::string& text) const {
  if (log_ != nullptr) log_->note(text);
}

// Where the system refuses to write, or has no memory for a copy, every rank is told the same, and its session can go on.
template <class F>
void RunCheckpoints::attempt(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    saved_ = -1;
    const bool refused = e.code() == Code::unavailable || e.code() == Code::out_of_memory;
    if (!refused || plan_.settings.end_on_error) throw;
    tell(std::string("warning: a checkpoint could not be saved: ") + e.what());
  }
}

}  // namespace onebit::host
