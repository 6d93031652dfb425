// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/shares.hpp"

#include <algorithm>
#include <bit>
#include <iterator>
#include <utility>

#include "onebit/error.hpp"

namespace onebit {
namespace {

using json = nlohmann::json;

constexpr uint64_t kSmallestGrain = uint64_t{4} << 10U, kLargestGrain = uint64_t{1} << 20U;

std::vector<RecordedFile> parse_files(const std::string& text) {
  std::vector<RecordedFile> files;
  const json parsed = json::parse(text);
  for (const json& file : parsed) {
    files.push_back({file.at("name"), file.at("bytes"), {}});
    for (const json& piece : file.at("pieces")) files.back().pieces.push_back({piece.at(0), piece.at(1), piece.at(2)});
  }
  return files;
}

void add(std::vector<RecordedFile>& all, RecordedFile part) {
  const auto found = std::find_if(all.begin(), all.end(), [&](const RecordedFile& file) { return file.name == part.name; });
  if (found == all.end()) return all.push_back(std::move(part));
  if (found->bytes != part.bytes)
    throw Error(Code::internal, "ranks wrote " + part.name + " as files of different sizes: " + std::to_string(found->bytes) +
                                    " and " + std::to_string(part.bytes) + " bytes");
  std::move(part.pieces.begin(), part.pieces.end(), std::back_inserter(found->pieces));
}

void check_cover(RecordedFile& file) {
  std::sort(file.pieces.begin(), file.pieces.end(),
            [](const HashedPiece& a, const HashedPiece& b) { return a.begin < b.begin; });
  uint64_t end = 0;
  for (const HashedPiece& piece : file.pieces) {
    if (piece.begin != end)
      throw Error(Code::internal, file.name + ": after byte " + std::to_string(end) + " ranks wrote from byte " +
                                      std::to_string(piece.begin) + " on");
    end = piece.end;
  }
  if (end != file.bytes)
    throw Error(Code::internal,
                file.name + ": ranks wrote " + std::to_string(end) + " of " + std::to_string(file.bytes) + " bytes");
}

}  // namespace

ByteRange share_of(uint64_t bytes, uint64_t rank, uint64_t ranks) {
  const uint64_t grain = std::clamp(std::bit_floor(bytes / ranks / 16), kSmallestGrain, kLargestGrain);
  const uint64_t grains = (bytes + grain - 1) / grain;
  // grains * rank / ranks, rounded to the nearest, of numbers whose product may not fit
  const auto cut = [&](uint64_t before) {
    const uint64_t whole = grains / ranks * before, rest = grains % ranks * before;
    return std::min(bytes, (whole + (rest + ranks / 2) / ranks) * grain);
  };
  return {cut(rank), cut(rank + 1)};
}

std::string files_text(const std::vector<RecordedFile>& files) {
  json all = json::array();
  for (const RecordedFile& file : files) {
    json pieces = json::array();
    for (const HashedPiece& piece : file.pieces) pieces.push_back({piece.begin, piece.end, piece.hash});
    all.push_back({{"name", file.name}, {"bytes", file.bytes}, {"pieces", std::move(pieces)}});
  }
  return all.dump();
}

std::vector<RecordedFile> join_files(const std::vector<std::string>& texts) {
  std::vector<RecordedFile> all;
  try {
    for (const std::string& text : texts)
      for (RecordedFile& file : parse_files(text)) add(all, std::move(file));
  } catch (const json::exception& e) {
    throw Error(Code::internal, std::string("what a rank says that it wrote cannot be read: ") + e.what());
  }
  for (RecordedFile& file : all) check_cover(file);
  return all;
}

}  // namespace onebit
