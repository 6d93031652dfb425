// SPDX-License-Identifier: Apache-2.0
#include "saving/old_ranks.hpp"

#include <algorithm>
#include <utility>

namespace onebit {
namespace {

constexpr int64_t kMeanPiece = int64_t{1} << 20;  // elements

}  // namespace

OldRanks::OldRanks(Communicator& communicator, std::filesystem::path folder, int count)
    : communicator_(communicator), folder_(std::move(folder)), files_(static_cast<size_t>(count)) {}

void OldRanks::open_all() {
  for (int rank = 0; rank < count(); ++rank) file(rank);
}

const RankFile& OldRanks::file(int rank) {
  std::unique_ptr<RankFile>& opened = files_[static_cast<size_t>(rank)];
  if (!opened) opened = std::make_unique<RankFile>(folder_, rank, count());
  return *opened;
}

bool OldRanks::has_errors() const {
  return std::any_of(files_.begin(), files_.end(), [](const auto& opened) { return opened && opened->has_errors(); });
}

bool OldRanks::has_errors_of(const std::string& tensor) const {
  return std::any_of(files_.begin(), files_.end(), [&](const auto& opened) { return opened && opened->has_errors_of(tensor); });
}

void OldRanks::add_up(const std::string& name, int64_t first, int64_t count, int divisor, float* out) {
  sums_.assign(static_cast<size_t>(count), 0);
  for (const std::unique_ptr<RankFile>& opened : files_) {
    piece_.assign(static_cast<size_t>(count), 0);
    if (opened->read(name, first, count, piece_.data()) == 0) continue;
    for (size_t i = 0; i < piece_.size(); ++i) sums_[i] += static_cast<double>(piece_[i]);
  }
  for (size_t i = 0; i < sums_.size(); ++i) out[i] = static_cast<float>(sums_[i] / divisor);
}

void OldRanks::mean(const std::string& name, int64_t elements, int divisor, const Take& take) {
  const auto ranks = static_cast<int64_t>(communicator_.size()), rank = static_cast<int64_t>(communicator_.rank());
  for (int64_t first = 0; first < elements; first += kMeanPiece) {
    const int64_t count = std::min(kMeanPiece, elements - first);
    all_.resize(static_cast<size_t>(count));
    const int64_t begin = count * rank / ranks, end = count * (rank + 1) / ranks;
    if (ranks == 1) {
      add_up(name, first, count, divisor, all_.data());
      take(first, count, all_.data());
      continue;
    }
    own_.resize(static_cast<size_t>(end - begin) + 1);  // so that there is an address where this rank has no part
    add_up(name, first + begin, end - begin, divisor, own_.data());
    std::vector<onebit_part> parts;
    for (int64_t r = 0; r < ranks; ++r)
      parts.push_back({count * r / ranks * 4, (count * (r + 1) / ranks - count * r / ranks) * 4});
    communicator_.wait(communicator_.all_gather(own_.data(), all_.data(), parts.data(), Call()), -1);
    take(first, count, all_.data());
  }
}

}  // namespace onebit
