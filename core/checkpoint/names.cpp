// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/names.hpp"

#include <spdlog/fmt/fmt.h>

#include <charconv>
#include <system_error>

namespace onebit {
namespace {

constexpr std::string_view kStepPrefix = "step-";
constexpr CheckpointState kStates[] = {CheckpointState::complete, CheckpointState::replaced, CheckpointState::unfinished,
                                       CheckpointState::removed};

std::string_view suffix_of(CheckpointState state) {
  switch (state) {
    case CheckpointState::complete:
      return "";
    case CheckpointState::replaced:
      return ".replaced";
    case CheckpointState::unfinished:
      return ".unfinished";
    case CheckpointState::removed:
      return ".removed";
  }
  return "";
}

}  // namespace

std::string folder_name(uint64_t step, CheckpointState state) {
  return fmt::format("{}{:08}{}", kStepPrefix, step, suffix_of(state));
}

std::optional<FolderName> parse_folder_name(std::string_view name) {
  if (name.substr(0, kStepPrefix.size()) != kStepPrefix) return std::nullopt;
  uint64_t step = 0;
  const char* digits = name.data() + kStepPrefix.size();
  if (std::from_chars(digits, name.data() + name.size(), step).ec != std::errc{}) return std::nullopt;
  for (const CheckpointState state : kStates)
    if (name == folder_name(step, state)) return FolderName{step, state};
  return std::nullopt;
}

std::string rank_file_name(int rank, int ranks) { return fmt::format("rank-{:05}-of-{:05}.safetensors", rank, ranks); }

}  // namespace onebit
