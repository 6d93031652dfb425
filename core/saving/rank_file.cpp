// SPDX-License-Identifier: Apache-2.0
#include "saving/rank_file.hpp"

#include <algorithm>
#include <charconv>
#include <iterator>

#include "checkpoint/names.hpp"
#include "dtypes/half_conversion.hpp"
#include "saving/contents.hpp"

namespace onebit {
namespace {

bool begins_with(const std::string& text, const std::string& prefix) { return text.compare(0, prefix.size(), prefix) == 0; }

}  // namespace

std::string text_of(const SafetensorsReader& reader, const SafetensorsReader::Entry& entry) {
  std::string text(entry.bytes, '\0');
  reader.read_bytes(entry, 0, entry.bytes, text.data());
  return text;
}

RankFile::RankFile(const std::filesystem::path& folder, int rank, int ranks) : reader_(folder / rank_file_name(rank, ranks)) {
  for (const SafetensorsReader::Entry& entry : reader_.entries()) {
    const bool error = begins_with(entry.name, kWorkerError) || begins_with(entry.name, kServerError);
    has_errors_ = has_errors_ || error;
    if (entry.dtype != "F32" && entry.dtype != "BF16") continue;
    const size_t at = error ? entry.name.rfind('@') : std::string::npos;
    int64_t first = 0;
    if (at != std::string::npos) std::from_chars(entry.name.data() + at + 1, entry.name.data() + entry.name.size(), first);
    pieces_[entry.name.substr(0, at)].emplace(first, &entry);
  }
  const std::filesystem::path file = folder / rank_file_name(rank, ranks);
  told_ = read_rank(text_of(reader_, reader_.at(kRankText)), file);
}

bool RankFile::has_errors_of(const std::string& tensor) const {
  return pieces_.count(kWorkerError + tensor) > 0 || pieces_.count(kServerError + tensor) > 0;
}

// f(entry, its first element, overlap from, overlap to)
template <class F>
void RankFile::over_pieces(const std::string& name, int64_t first, int64_t count, F&& f) const {
  const auto found = pieces_.find(name);
  if (found == pieces_.end() || count <= 0) return;
  auto piece = found->second.upper_bound(first);
  if (piece != found->second.begin()) --piece;
  for (; piece != found->second.end() && piece->first < first + count; ++piece) {
    const int64_t from = std::max(first, piece->first);
    const int64_t to = std::min(first + count, piece->first + static_cast<int64_t>(piece->second->elements));
    if (from < to) f(*piece->second, piece->first, from, to);
  }
}

void RankFile::read_piece(const SafetensorsReader::Entry& entry, int64_t first, int64_t count, float* out) const {
  const auto at = static_cast<uint64_t>(first), size = static_cast<uint64_t>(count);
  if (entry.dtype == "F32") return reader_.read_bytes(entry, at * sizeof(float), size * sizeof(float), out);
  std::vector<uint16_t> halves(size);
  reader_.read_bytes(entry, at * sizeof(uint16_t), size * sizeof(uint16_t), halves.data());
  from_half(WireType::bf16, halves.data(), count, 1.0F, false, out);
}

int64_t RankFile::read(const std::string& name, int64_t first, int64_t count, float* out) const {
  int64_t found = 0;
  over_pieces(name, first, count, [&](const SafetensorsReader::Entry& entry, int64_t begins, int64_t from, int64_t to) {
    read_piece(entry, from - begins, to - from, out + (from - first));
    found += to - from;
  });
  return found;
}

bool RankFile::covers(const std::string& name, int64_t first, int64_t count) const {
  int64_t found = 0;
  over_pieces(name, first, count,
              [&](const SafetensorsReader::Entry&, int64_t, int64_t from, int64_t to) { found += to - from; });
  return found == count;
}

std::vector<CheckpointBlob> RankFile::blobs(const std::string& prefix, const std::string& suffix) const {
  std::vector<CheckpointBlob> found;
  for (const SafetensorsReader::Entry& entry : reader_.entries())
    if (begins_with(entry.name, prefix)) found.push_back({entry.name.substr(prefix.size()) + suffix, text_of(reader_, entry)});
  return found;
}

}  // namespace onebit
