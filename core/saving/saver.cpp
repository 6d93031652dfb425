// SPDX-License-Identifier: Apache-2.0
#include "saving/saver.hpp"

#include <atomic>
#include <filesystem>
#include <thread>
#include <utility>
#include <vector>

#include "checkpoint/commit.hpp"
#include "checkpoint/names.hpp"
#include "files/range_writer.hpp"
#include "saving/description.hpp"
#include "saving/draft.hpp"

namespace onebit {
namespace {

namespace fs = std::filesystem;

void add_lines(std::string& all, const std::string& more) {
  if (!more.empty()) all += (all.empty() ? "" : "\n") + more;
}

// Where is rank 0's folder? A rank that does not see it would write somewhere else.
void require_shared(const fs::path& folder, const FileShare& share) {
  std::error_code ignored;
  if (!fs::exists(folder / share.file, ignored))
    throw Error(Code::unavailable, (folder / share.file).string() +
                                       ": is not there, though rank 0 has made it: checkpoints need a folder that all "
                                       "machines share, under one name");
}

}  // namespace

struct Saver::UnderWay {
  fs::path root, folder;
  CheckpointRecord record;  // its files are yet to come
  int keep = 0;
  std::string left;               // of earlier ones; rank 0's
  std::vector<FileShare> shares;  // this rank's
  std::string files;              // once written: this rank's files_text,
  std::optional<Error> error;     // or why there is none
  std::atomic<bool> written{false};
  std::thread thread;

  ~UnderWay() {
    if (thread.joinable()) thread.join();
  }

  // On rank 0.
  void begin() {
    const BegunCheckpoint begun = begin_checkpoint(root, record.step);
    left = begun.left;
    try {
      for (const FileShare& share : shares)
        if (!share.own) create_file(begun.folder / share.file, share.file_bytes);
    } catch (const Error&) {
      discard_checkpoint(begun);
      throw;
    }
  }

  template <class Next>  // next(share, begin, end)
  void write(Next&& next) {
    try {
      require_shared(folder, shares.front());
      std::vector<RecordedFile> done;
      for (size_t i = 0; i < shares.size(); ++i)
        done.push_back(
            write_share(folder, shares[i], record.hash, [&](uint64_t begin, uint64_t end) { return next(i, begin, end); }));
      files = files_text(done);
    } catch (const Error& e) {
      error = e;
    } catch (const std::exception& e) {
      error.emplace(Code::internal, e.what());
    }
    written = true;
  }

  // On rank 0. Answers what is told to all: what is left of older ones.
  std::string commit(const std::vector<std::string>& texts) {
    record.files = join_files(texts);
    add_lines(left, commit_checkpoint(root, record).left);
    if (keep == 0) return left;
    try {
      add_lines(left, prune_checkpoints(root, keep, record.step).left);
    } catch (const Error& e) {  // the new one is complete all the same
      add_lines(left, e.what());
    }
    return left;
  }
};

Saver::Saver() = default;
Saver::~Saver() = default;

bool Saver::written() const { return under_way_ && under_way_->written; }

Agreed<SaveReport> Saver::save(const SessionParts& parts, const RunFacts& facts, const fs::path& root,
                               const SaveOptions& options) {
  if (std::optional<Agreed<SaveReport>> earlier = make_way(parts, options)) return *std::move(earlier);
  const auto step = static_cast<uint64_t>(parts.progress.next_step - 1);
  auto next = std::make_unique<UnderWay>();
  std::optional<Draft> draft;
  const Told ready = tell_all(parts.communicator, [&] {
    if (options.keep < 0)
      throw Error(Code::invalid_argument,
                  "keep is how many checkpoints stay, 0 for all; found " + std::to_string(options.keep));
    next->record.hash = hash_kind_of(options.hash);
    draft.emplace(parts, options, step);
    if (!options.wait) reserve(draft->bytes());
    return "step " + std::to_string(step) + " with hashes " + options.hash + (options.wait ? "" : ", without waiting");
  });
  if (ready.error) return *ready.error;
  for (size_t rank = 1; rank < ready.texts.size(); ++rank)
    if (ready.texts[rank] != ready.texts[0])
      return Error(Code::invalid_argument, "rank " + std::to_string(rank) + " saves " + ready.texts[rank] + ", rank 0 " +
                                               ready.texts[0] + ": every rank must call save() after the same step");
  next->root = root;
  next->folder = root / folder_name(step, CheckpointState::unfinished);
  next->record.step = step;
  next->record.ranks = parts.ranks();
  next->record.session = described(parts, facts);
  next->keep = options.keep;
  next->shares = draft->shares();
  under_way_ = std::move(next);
  return write(parts, options, *draft);
}

Agreed<SaveReport> Saver::write(const SessionParts& parts, const SaveOptions& options, Draft& draft) {
  UnderWay& now = *under_way_;
  const Told begun = tell_all(parts.communicator, [&] {
    if (parts.rank() == 0) now.begin();
    return "";
  });
  if (begun.error) {
    under_way_.reset();
    return *begun.error;
  }
  if (options.wait) {
    const std::unique_ptr<std::byte[]> buffer(new std::byte[kSavedPiece]);
    now.write([&](size_t share, uint64_t begin, uint64_t end) {
      draft.read(share, begin, end, buffer.get());
      return buffer.get();
    });
    return conclude(parts.communicator);
  }
  take_snapshot(draft);
  now.thread = std::thread([&now, at = snapshot_.bytes()] {
    std::vector<const std::byte*> begins;
    const std::byte* place = at;
    for (const FileShare& share : now.shares) {
      begins.push_back(place - share.range.begin);
      place += share.range.end - share.range.begin;
    }
    now.write([&](size_t share, uint64_t begin, uint64_t) { return begins[share] + begin; });
  });
  return SaveReport{true, now.record.step, now.root / folder_name(now.record.step), false, ""};
}

void Saver::reserve(uint64_t bytes) {
  if (snapshot_.size() >= bytes) return;
  snapshot_ = Buffer();
  snapshot_ = Buffer(meter_, bytes);
}

void Saver::take_snapshot(const Draft& draft) {
  std::byte* place = snapshot_.bytes();
  for (size_t i = 0; i < draft.shares().size(); ++i) {
    const ByteRange range = draft.shares()[i].range;
    draft.read(i, range.begin, range.end, place);
    place += range.end - range.begin;
  }
}

std::optional<Agreed<SaveReport>> Saver::make_way(const SessionParts& parts, const SaveOptions& options) {
  if (const std::optional<Agreed<SaveReport>> told = std::exchange(untold_, std::nullopt))
    if (std::holds_alternative<Error>(*told)) return told;
  if (!under_way_) return std::nullopt;
  if (options.skip_if_busy && !options.wait) {
    const Told busy = tell_all(parts.communicator, [&] { return written() ? "" : "busy"; });
    for (const std::string& text : busy.texts)
      if (!text.empty()) return SaveReport{false, static_cast<uint64_t>(parts.progress.next_step - 1), {}, false, ""};
  }
  Agreed<SaveReport> earlier = conclude(parts.communicator);
  if (std::holds_alternative<Error>(earlier)) return earlier;
  return std::nullopt;
}

// Every rank has written, or failed to. Nobody waits for another's thread but here.
Agreed<SaveReport> Saver::conclude(Communicator& communicator) {
  const std::unique_ptr<UnderWay> done = std::move(under_way_);
  if (done->thread.joinable()) done->thread.join();
  const Told wrote = tell_all(communicator, [&] {
    if (done->error) throw Error(*done->error);
    return done->files;
  });
  const Told committed = tell_all(communicator, [&] {
    if (communicator.rank() != 0) return std::string();
    if (!wrote.error) return done->commit(wrote.texts);
    discard_checkpoint({done->folder, ""});
    return std::string();
  });
  if (wrote.error) return *wrote.error;
  if (committed.error) return *committed.error;
  return SaveReport{true, done->record.step, done->root / folder_name(done->record.step), true, committed.texts[0]};
}

Agreed<SaveReport> Saver::finish(Communicator& communicator) {
  if (std::optional<Agreed<SaveReport>> told = std::exchange(untold_, std::nullopt)) return *std::move(told);
  if (!under_way_) return SaveReport{};
  return conclude(communicator);
}

void Saver::commit(Communicator& communicator) {
  if (under_way_) untold_ = conclude(communicator);
}

}  // namespace onebit
