// SPDX-License-Identifier: Apache-2.0
// What checkpoint.json says of a session, and the small text that each rank adds of itself: for the sessions that load it, and
// for people.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "exchange/layout.hpp"
#include "exchange/machines.hpp"
#include "onebit/optimizer.hpp"
#include "saving/parts.hpp"

namespace onebit {

nlohmann::json described(const SessionParts& parts, const RunFacts& facts);
// A rank's own, kept in its file as "session".
nlohmann::json described_rank(const SessionParts& parts);
inline constexpr const char* kRankText = "session";

// A description, read. Of a slot, all that must be the same for its bytes to mean the same.
struct SavedSlot {
  std::string name;
  int64_t extent = 0, count = 0, scope = 0;
  bool released = false;
  WireType type = WireType::fp32;
};
struct SavedSession {
  std::vector<ModelTensor> tensors;  // without data
  std::string configuration;
  std::vector<SavedSlot> slots;
  LayoutOptions layout;  // of rank 0; without the codec's sizes
  bool codes = false;    // were there any
  std::optional<RoundKind> retained;
  bool restored = false;  // a mean was kept as fp32
  bool apart = false;
  bool errors = false;
  Progress progress;  // without what is a rank's own
};
// Throws Error(invalid_argument), which names the file, where it is not what described() writes.
SavedSession read_description(const nlohmann::json& session, const std::filesystem::path& file);

struct SavedRank {
  Place place;
  Progress progress;  // what is a rank's own
};
SavedRank read_rank(const std::string& text, const std::filesystem::path& file);

}  // namespace onebit
