// SPDX-License-Identifier: Apache-2.0
#include "saving/draft.hpp"

#include <cstring>
#include <iterator>
#include <utility>

#include "checkpoint/names.hpp"
#include "checkpoint/verify.hpp"
#include "saving/contents.hpp"
#include "saving/description.hpp"

namespace onebit {
namespace {

void append(std::vector<Stored>& all, std::vector<Stored> more) {
  all.insert(all.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
}

Stored of_text(std::string name, const std::string& text) {
  auto* const at = reinterpret_cast<std::byte*>(const_cast<char*>(text.data()));  // it is only read
  return {{std::move(name), "U8", {static_cast<int64_t>(text.size())}}, nullptr, {{at, text.size()}}, {}};
}

void append_slots(const SessionParts& parts, int32_t scope, std::vector<Stored>& all) {
  for (size_t slot = 0; slot < parts.state.slots().size(); ++slot)
    if (parts.state.slots()[slot].scope == scope) append(all, slot_contents(parts, slot));
}

}  // namespace

Draft::Draft(const SessionParts& parts, const SaveOptions& options, uint64_t step) : rank_text_(described_rank(parts).dump()) {
  add(kModelFile, model_contents(parts), step);
  std::vector<Stored> state, own;
  append_slots(parts, ONEBIT_REPLICATED, state);
  append(state, retained_contents(parts));
  append(state, carried_contents(parts));
  add(kStateFile, std::move(state), step);
  append_slots(parts, ONEBIT_RANK_LOCAL, own);
  append(own, own_parameter_contents(parts));
  append(own, error_contents(parts));
  own.push_back(of_text(kRankText, rank_text_));
  for (const CheckpointBlob& blob : options.of_rank) own.push_back(of_text(kBlob + blob.name, blob.bytes));
  if (parts.rank() == 0)
    for (const CheckpointBlob& blob : options.of_all) own.push_back(of_text(kBlobOfAll + blob.name, blob.bytes));
  add(rank_file_name(parts.rank(), parts.ranks()), std::move(own), step);
  const auto rank = static_cast<uint64_t>(parts.rank()), ranks = static_cast<uint64_t>(parts.ranks());
  for (FileShare& share : shares_) share.range = share_of(share.file_bytes, rank, ranks);
  shares_.back().range = {0, shares_.back().file_bytes};
  shares_.back().own = true;
}

void Draft::add(std::string name, std::vector<Stored> contents, uint64_t step) {
  std::vector<SafetensorsLayout::Tensor> tensors;
  for (const Stored& stored : contents) tensors.push_back(stored.tensor);
  files_.push_back({std::move(contents), SafetensorsLayout(std::move(tensors), checkpoint_metadata(step))});
  shares_.push_back({std::move(name), files_.back().layout.file_bytes(), {0, 0}, false});
}

uint64_t Draft::bytes() const {
  uint64_t total = 0;
  for (const FileShare& share : shares_) total += share.range.end - share.range.begin;
  return total;
}

void Draft::read(size_t share, uint64_t begin, uint64_t end, std::byte* out, bool streamed) const {
  const File& file = files_[share];
  for (const SafetensorsLayout::Segment& segment : file.layout.segments(begin, end)) {
    if (segment.tensor == SafetensorsLayout::Segment::kHeader)
      std::memcpy(out, file.layout.header().data() + segment.begin, segment.end - segment.begin);
    else
      file.contents[segment.tensor].read(segment.begin, segment.end, out, streamed);
    out += segment.end - segment.begin;
  }
}

}  // namespace onebit
