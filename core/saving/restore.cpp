// SPDX-License-Identifier: Apache-2.0
// What all ranks have alike, and the order of all.
#include "saving/restore.hpp"

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>

#include "checkpoint/names.hpp"
#include "onebit/error.hpp"
#include "saving/compatibility.hpp"
#include "saving/contents.hpp"
#include "saving/draft.hpp"
#include "saving/settings.hpp"

namespace onebit {
namespace {

constexpr const char* alone =
    "the optimizer's state, errors and the step number: parameters alone were asked for (ignore_state)";

void require_entry(const SafetensorsReader::Entry& entry, const Stored& stored) {
  if (entry.dtype == stored.tensor.dtype && entry.bytes == stored.bytes()) return;
  throw Error(Code::invalid_argument, "tensor '" + entry.name + "' of the checkpoint is " + entry.dtype + " of " +
                                          std::to_string(entry.bytes) + " bytes, expected " + stored.tensor.dtype + " of " +
                                          std::to_string(stored.bytes()));
}

SavedSession judged(const SessionParts& parts, const RunFacts& facts, const FoundCheckpoint& found,
                    const LoadOptions& options) {
  SavedSession saved = read_description(found.record.session, found.folder / kRecordName);
  require_same_model(parts, saved, found.folder);
  if (!options.ignore_state) {
    require_same_state(parts, facts, saved, found.folder);
    return saved;
  }
  saved.retained.reset();
  saved.restored = false;
  return saved;
}

// Before anything is read: what the call itself has wrong.
std::optional<Error> refusal_of(const SessionParts& parts, const LoadOptions& options) {
  const Told asked = tell_all(parts.communicator, [&] {
    if (parts.swapped) throw Error(Code::invalid_argument, "load() was called while an AtAnchor lives; let it go out of scope");
    return std::string(options.ignore_state ? "ignores state" : "takes state");
  });
  if (asked.error) return asked.error;
  for (size_t rank = 1; rank < asked.texts.size(); ++rank)
    if (asked.texts[rank] != asked.texts[0])
      return Error(Code::invalid_argument, "rank " + std::to_string(rank) + " " + asked.texts[rank] + ", rank 0 " +
                                               asked.texts[0] + ": every rank must call load() with the same options");
  return std::nullopt;
}

bool feeds_back(const SessionParts& parts) { return parts.layout.codes() && parts.compressor->describe().feedback != 0; }

bool has_carried(const SessionParts& parts, const SafetensorsReader& state) {
  return !parts.tensors.empty() && state.find(kCarried + parts.tensors[0].name) != nullptr;
}

std::vector<ErrorPiece> in_slices(const std::vector<ErrorPiece>& pieces) {
  constexpr auto most = static_cast<int64_t>(kSavedPiece / sizeof(float));
  std::vector<ErrorPiece> slices;
  for (const ErrorPiece& piece : pieces)
    for (int64_t at = 0; at < piece.count; at += most)
      slices.push_back({piece.tensor, piece.first + at, std::min(most, piece.count - at), piece.position + at});
  return slices;
}

}  // namespace

Agreed<std::unique_ptr<Restore>> Restore::open(const SessionParts& parts, const RunFacts& facts,
                                               const std::filesystem::path& place, const LoadOptions& options) {
  if (const std::optional<Error> error = refusal_of(parts, options)) return *error;
  Agreed<FoundCheckpoint> found = find_checkpoint(parts.communicator, place);
  if (const auto* error = std::get_if<Error>(&found)) return *error;
  std::unique_ptr<Restore> restore;
  const Told judged_here = tell_all(parts.communicator, [&] {
    restore = std::make_unique<Restore>(parts, facts, std::get<FoundCheckpoint>(found), options);
    return restore->said();
  });
  if (judged_here.error) return *judged_here.error;
  const Told opened = tell_all(parts.communicator, [&] {
    restore->agree(judged_here.texts);
    return std::string();
  });
  if (opened.error) return *opened.error;
  return restore;
}

namespace {

void read_in_place(const SafetensorsReader& reader, const SafetensorsReader::Entry& entry, const Stored& stored) {
  uint64_t at = 0;
  for (const MemoryRun& run : stored.runs) {
    reader.read_bytes(entry, at, run.bytes, run.at);
    at += run.bytes;
  }
}

}  // namespace

void copy_stored(const SafetensorsReader& reader, const Stored& stored) {
  const SafetensorsReader::Entry& entry = reader.at(stored.tensor.name);
  require_entry(entry, stored);
  if (stored.order.empty() && stored.device == nullptr) return read_in_place(reader, entry, stored);
  const uint64_t most = stored.order.empty() ? kSavedPiece : entry.bytes;
  const std::unique_ptr<std::byte[]> buffer(new std::byte[std::min(most, entry.bytes)]);
  for (uint64_t at = 0; at < entry.bytes; at += most) {
    const uint64_t now = std::min(most, entry.bytes - at);
    reader.read_bytes(entry, at, now, buffer.get());
    stored.write(at, at + now, buffer.get());
  }
}

std::vector<size_t> buffers_to_fill(const SessionParts& parts, const LoadOptions& options) {
  if (options.ignore_state || parts.progress.next_step > 1) return {};
  std::vector<size_t> sizes;
  for (const StateSlot& slot : parts.state.slots())
    if (!slot.later) sizes.push_back(StateStore::bytes_of(slot, parts.layout));
  const auto [worker, server] = parts.exchange.error_sizes();
  sizes.insert(sizes.end(), {worker, server});
  return sizes;
}

Restore::Restore(const SessionParts& parts, const RunFacts& facts, const FoundCheckpoint& found, const LoadOptions& options)
    : parts_(parts),
      folder_(found.folder),
      saved_(judged(parts, facts, found, options)),
      with_state_(!options.ignore_state),
      model_(folder_ / kModelFile),
      state_(folder_ / kStateFile),
      old_(parts_.communicator, folder_, found.record.ranks),
      retained_(parts_, facts, saved_, state_),
      worker_(in_slices(worker_pieces(parts_.layout))),
      served_(in_slices(served_pieces(parts_.layout))),
      feeds_back_(feeds_back(parts_)),
      was_carried_(has_carried(parts_, state_)) {
  report_.folder = folder_;
  report_.step = found.record.step;
  report_.ranks = found.record.ranks;
  report_.refused = found.refused;
  report_.changed = changed_settings(settings_of(saved_.configuration), settings_of(facts.configuration));
  if (!with_state_) report_.afresh.emplace_back(alone);
  parts_.apart = parts_.swapped = false;
  for (const Stored& stored : model_contents(parts_)) require_entry(model_.at(stored.tensor.name), stored);
}

void Restore::run() {
  begin_anew();
  read_model();
  if (!with_state_) return take_blobs();
  read_slots();
  parts_.apart = saved_.apart && parts_.state.anchor() >= 0;
  read_own_parameters();
  read_errors();
  retained_.restore();
  read_progress();
  take_blobs();
}

void Restore::begin_anew() {
  parts_.state.begin_anew(parts_.layout, parts_.meter);
  parts_.exchange.begin_anew();
  for (size_t slot = 0; slot < saved_.slots.size() && with_state_; ++slot)
    if (saved_.slots[slot].released)
      parts_.state.release(static_cast<int>(slot));
    else if (parts_.state.slots()[slot].later)
      parts_.state.acquire(static_cast<int>(slot), parts_.layout, parts_.meter);
}

// An anchor is what ranks share, too.
void Restore::read_model() {
  for (const Stored& stored : model_contents(parts_)) copy_stored(model_, stored);
  if (parts_.state.anchor() < 0) return;
  for (size_t t = 0; t < parts_.tensors.size(); ++t) {
    const size_t bytes = static_cast<size_t>(parts_.tensors[t].elements) * sizeof(float);
    if (bytes == 0) continue;
    if (parts_.device != nullptr)
      parts_.device->copy(parts_.anchor(t), parts_.tensors[t].data, bytes);
    else
      std::memcpy(parts_.anchor(t), parts_.tensors[t].data, bytes);
  }
}

void Restore::read_slots() {
  for (size_t slot = 0; slot < parts_.state.slots().size(); ++slot) {
    const StateSlot& declared = parts_.state.slots()[slot];
    for (const Stored& stored : slot_contents(parts_, slot)) {
      if (declared.scope == ONEBIT_REPLICATED)
        copy_stored(state_, stored);
      else
        read_local(stored, declared.reshard);
    }
  }
}

void Restore::take_blobs() {
  report_.of_all = old_.file(0).blobs(kBlobOfAll);
  if (old_.same_number()) {
    report_.of_rank = old_.own().blobs(kBlob);
    return;
  }
  for (int rank = 0; rank < old_.count(); ++rank)
    for (CheckpointBlob& blob : old_.file(rank).blobs(kBlob, "@" + std::to_string(rank)))
      report_.of_rank.push_back(std::move(blob));
}

// What was each rank's own becomes, with other ranks, what any of them had.
void Restore::read_progress() {
  progress_ = saved_.progress;
  const int first = old_.same_number() ? parts_.rank() : 0, last = old_.same_number() ? first + 1 : old_.count();
  const size_t words = static_cast<size_t>(words_of(static_cast<int64_t>(parts_.tensors.size())));
  progress_.ever.assign(words, 0);
  progress_.local.assign(words, 0);
  for (int rank = first; rank < last; ++rank) {
    const Progress& own = old_.file(rank).told().progress;
    if (own.ever.size() != words || own.local.size() != words)
      throw Error(Code::invalid_argument, (folder_ / rank_file_name(rank, old_.count())).string() + ": is of another model");
    progress_.missed_local = progress_.missed_local || own.missed_local;
    progress_.steps_without = std::max(progress_.steps_without, own.steps_without);
    for (size_t w = 0; w < words; ++w) {
      progress_.ever[w] |= own.ever[w];
      progress_.local[w] |= own.local[w];
    }
  }
}

}  // namespace onebit
