// SPDX-License-Identifier: Apache-2.0
// Which checkpoints there are, by the names of folders.
#include <algorithm>
#include <fstream>
#include <system_error>
#include <tuple>
#include <utility>

#include "checkpoint/names.hpp"
#include "files/file_error.hpp"
#include "onebit/checkpoint.hpp"

namespace onebit {
namespace {

namespace fs = std::filesystem;

// Nothing when there is no such file, or it does not hold the name of a checkpoint and a line's end.
std::optional<uint64_t> latest_in(const fs::path& root) {
  std::ifstream in(root / kLatestName, std::ios::binary);
  std::string line(64, '\0');
  in.read(line.data(), static_cast<std::streamsize>(line.size()));
  line.resize(static_cast<size_t>(in.gcount()));
  if (line.empty() || line.back() != '\n') return std::nullopt;
  line.pop_back();
  const std::optional<FolderName> name = parse_folder_name(line);
  return name && name->state == CheckpointState::complete ? std::optional(name->step) : std::nullopt;
}

std::optional<CheckpointEntry> entry_of(const fs::directory_entry& found) {
  std::error_code gone;  // meanwhile: then it is no folder
  const std::optional<FolderName> name = parse_folder_name(found.path().filename().string());
  if (!name || found.symlink_status(gone).type() != fs::file_type::directory) return std::nullopt;
  return CheckpointEntry{name->step, name->state, found.path()};
}

bool newer(const CheckpointEntry& a, const CheckpointEntry& b) {
  return a.step != b.step ? a.step > b.step : a.state < b.state;
}

bool can_be_loaded(const CheckpointEntry& entry) {
  return entry.state == CheckpointState::complete || entry.state == CheckpointState::replaced;
}

}  // namespace

CheckpointList list_checkpoints(const fs::path& root) {
  CheckpointList list;
  std::error_code error;
  fs::directory_iterator next(root, error);
  for (; !error && next != fs::directory_iterator(); next.increment(error))
    if (std::optional<CheckpointEntry> entry = entry_of(*next)) list.entries.push_back(std::move(*entry));
  if (error == std::errc::no_such_file_or_directory) return {};
  if (error) fail_file(root, "cannot be searched for checkpoints", error.value());
  std::sort(list.entries.begin(), list.entries.end(), newer);
  list.latest = latest_in(root);
  return list;
}

std::vector<fs::path> loadable_checkpoints(const fs::path& folder) {
  std::error_code ignored;  // then the list will say it
  const fs::path named = folder.has_filename() ? folder : folder.parent_path();
  if (parse_folder_name(named.filename().string()) || fs::exists(folder / kRecordName, ignored)) return {folder};
  CheckpointList list = list_checkpoints(folder);
  std::stable_partition(list.entries.begin(), list.entries.end(),
                        [&](const CheckpointEntry& entry) { return entry.step == list.latest; });
  std::vector<fs::path> folders;
  for (CheckpointEntry& entry : list.entries)
    if (can_be_loaded(entry)) folders.push_back(std::move(entry.folder));
  return folders;
}

}  // namespace onebit
