// SPDX-License-Identifier: Apache-2.0
// Checkpoints as text and as JSON.
#include "checkpoint/checkpoint_text.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <optional>

#include "onebit/error.hpp"

namespace onebit::host {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

bool is_checkpoint(const fs::path& folder) {
  const std::vector<fs::path> loadable = loadable_checkpoints(folder);
  return loadable.size() == 1 && loadable.front() == folder;
}

CheckpointList checkpoints_in(const fs::path& root) {
  CheckpointList list = list_checkpoints(root);
  if (list.entries.empty())
    throw Error(Code::invalid_argument,
                root.string() +
                    ": there is no checkpoint; expected a folder of checkpoints, as checkpoint.folder names it, or one "
                    "of them");
  return list;
}

const char* name_of(CheckpointState state) {
  switch (state) {
    case CheckpointState::replaced:
      return "replaced";
    case CheckpointState::unfinished:
      return "unfinished";
    case CheckpointState::removed:
      return "removed";
    default:
      return "complete";
  }
}

const char* meaning_of(CheckpointState state) {
  switch (state) {
    case CheckpointState::replaced:
      return "the former one of this step; loaded where no other of it is there";
    case CheckpointState::unfinished:
      return "a save that is under way, or was broken off; never loaded";
    case CheckpointState::removed:
      return "is being deleted, or that was broken off; never loaded";
    default:
      return "";
  }
}

// What its record says, or the reason why that can't be read.
struct Described {
  std::optional<CheckpointInfo> info;
  std::string fault;
};

Described described(const fs::path& folder) {
  try {
    return {read_checkpoint_info(folder), ""};
  } catch (const Error& e) {
    return {std::nullopt, e.what()};
  }
}

std::string size_text(uint64_t bytes) {
  const auto value = static_cast<double>(bytes);
  if (bytes < 10'000) return fmt::format("{} bytes", bytes);
  if (bytes < 10'000'000) return fmt::format("{:.1f} kB", value / 1e3);
  return bytes < 10'000'000'000 ? fmt::format("{:.1f} MB", value / 1e6) : fmt::format("{:.1f} GB", value / 1e9);
}

std::string line_of(const CheckpointEntry& entry, bool latest) {
  const std::string name = fmt::format("  {:<26} ", entry.folder.filename().string());
  if (entry.state == CheckpointState::unfinished || entry.state == CheckpointState::removed)
    return name + meaning_of(entry.state) + "\n";
  const Described found = described(entry.folder);
  if (!found.info) return name + "damaged: " + found.fault + "\n";
  std::string text = name + fmt::format("{} ranks, {}", found.info->ranks, size_text(found.info->bytes));
  if (latest) text += ", the latest";
  if (entry.state == CheckpointState::replaced) text += std::string(", ") + meaning_of(entry.state);
  return text + "\n";
}

// What a session says of itself in a word or a number; how many there are of what it lists.
std::string session_text(const std::string& session) {
  std::string text;
  const ordered_json told = ordered_json::parse(session, nullptr, false);
  for (const auto& [key, value] : told.items()) {
    if (value.is_array())
      text += fmt::format("  {}: {} entries\n", key, value.size());
    else if (value.is_string() && value.get<std::string>().find('\n') == std::string::npos)
      text += fmt::format("  {}: {}\n", key, value.get<std::string>());
    else if (value.is_number() || value.is_boolean())
      text += fmt::format("  {}: {}\n", key, value.dump());
  }
  return text;
}

std::string checkpoint_text(const fs::path& folder) {
  const CheckpointInfo info = read_checkpoint_info(folder);
  std::string text = fmt::format("{}: step {}, saved by {} ranks, {}, verified by {}, form {}\n", folder.string(), info.step,
                                 info.ranks, size_text(info.bytes), info.hash, info.format);
  for (const CheckpointInfo::File& file : info.files) text += fmt::format("  {:<34} {:>14} bytes\n", file.name, file.bytes);
  return text + session_text(info.session);
}

ordered_json json_of(const CheckpointInfo& info) {
  ordered_json files = ordered_json::array();
  for (const CheckpointInfo::File& file : info.files) files.push_back({{"name", file.name}, {"bytes", file.bytes}});
  return {{"format", info.format}, {"step", info.step},   {"ranks", info.ranks},
          {"hash", info.hash},     {"bytes", info.bytes}, {"files", files}};
}

ordered_json json_of(const CheckpointEntry& entry) {
  ordered_json out = {{"folder", entry.folder.string()}, {"state", name_of(entry.state)}, {"step", entry.step}};
  if (entry.state == CheckpointState::unfinished || entry.state == CheckpointState::removed) return out;
  const Described found = described(entry.folder);
  if (found.info) out.update(json_of(*found.info));
  out["fault"] = found.info ? ordered_json(nullptr) : ordered_json(found.fault);
  return out;
}

std::string dumped(const ordered_json& value) {
  return value.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

ordered_json paths_json(const std::vector<fs::path>& paths) {
  ordered_json out = ordered_json::array();
  for (const fs::path& path : paths) out.push_back(path.string());
  return out;
}

}  // namespace

std::string shown_text(const fs::path& folder) {
  if (is_checkpoint(folder)) return checkpoint_text(folder);
  const CheckpointList list = checkpoints_in(folder);
  std::string text = folder.string() + ":\n";
  for (const CheckpointEntry& entry : list.entries)
    text += line_of(entry, entry.state == CheckpointState::complete && entry.step == list.latest);
  return text;
}

std::string shown_json(const fs::path& folder) {
  if (is_checkpoint(folder)) {
    const CheckpointInfo info = read_checkpoint_info(folder);
    ordered_json out = {{"folder", folder.string()}};
    out.update(json_of(info));
    out["session"] = ordered_json::parse(info.session, nullptr, false);
    return dumped(out);
  }
  const CheckpointList list = checkpoints_in(folder);
  ordered_json out = {{"folder", folder.string()},
                      {"latest", list.latest ? ordered_json(*list.latest) : ordered_json(nullptr)},
                      {"checkpoints", ordered_json::array()}};
  for (const CheckpointEntry& entry : list.entries) out["checkpoints"].push_back(json_of(entry));
  return dumped(out);
}

std::vector<Verdict> verdicts_of(const fs::path& folder) {
  std::vector<Verdict> verdicts;
  for (const fs::path& one : loadable_checkpoints(folder)) {
    verdicts.push_back({one, ""});
    try {
      verify_checkpoint(one);
    } catch (const Error& e) {
      verdicts.back().fault = e.what();
    }
  }
  if (verdicts.empty()) checkpoints_in(folder);
  return verdicts;
}

std::string verdicts_text(const std::vector<Verdict>& verdicts) {
  std::string text;
  for (const Verdict& verdict : verdicts)
    text += verdict.folder.string() + ": " + (verdict.fault.empty() ? "whole" : "damaged: " + verdict.fault) + "\n";
  return text.empty() ? "none of them is complete\n" : text;
}

std::string verdicts_json(const std::vector<Verdict>& verdicts) {
  ordered_json out = {{"checkpoints", ordered_json::array()}};
  for (const Verdict& verdict : verdicts)
    out["checkpoints"].push_back({{"folder", verdict.folder.string()},
                                  {"whole", verdict.fault.empty()},
                                  {"fault", verdict.fault.empty() ? ordered_json(nullptr) : ordered_json(verdict.fault)}});
  return dumped(out);
}

std::string pruned_text(const PrunedCheckpoints& pruned) {
  std::string text;
  for (const fs::path& folder : pruned.removed) text += folder.string() + ": removed\n";
  for (const fs::path& folder : pruned.later)
    text += folder.string() + ": stays, for it is of a later step than the latest, and so of another run\n";
  if (!pruned.left.empty()) text += "left, and tried again the next time: " + pruned.left + "\n";
  return text.empty() ? "nothing to remove\n" : text;
}

std::string pruned_json(const PrunedCheckpoints& pruned) {
  return dumped({{"removed", paths_json(pruned.removed)}, {"later", paths_json(pruned.later)}, {"left", pruned.left}});
}

}  // namespace onebit::host
