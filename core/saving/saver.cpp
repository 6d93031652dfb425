// SPDX-License-Identifier: Apache-2.0
#include "saving/saver.hpp"

#include <algorithm>
#include <atomic>
#include <string>
#include <system_error>
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

void require_possible(const SaveOptions& options) {
  if (options.keep < 0)
    throw Error(Code::invalid_argument, "keep is how many checkpoints stay, 0 for all; found " + std::to_string(options.keep));
  (void)hash_kind_of(options.hash);
}

// What all ranks must ask for alike; they go by it.
std::string asked_for(const SaveOptions& options, uint64_t step) {
  return "step " + std::to_string(step) + " with hashes " + options.hash + ", keeping " +
         (options.keep == 0 ? "all" : std::to_string(options.keep)) + (options.wait ? "" : ", without waiting") +
         (options.skip_if_busy ? ", unless one is under way" : "");
}

// In front of it, whether this rank is still writing the one before.
constexpr char writes_still = '!', writes_nothing = '.';

std::optional<Error> differing(const std::vector<std::string>& asked) {
  for (size_t rank = 1; rank < asked.size(); ++rank)
    if (asked[rank].substr(1) != asked[0].substr(1))
      return Error(Code::invalid_argument, "rank " + std::to_string(rank) + " saves " + asked[rank].substr(1) + ", rank 0 " +
                                               asked[0].substr(1) +
                                               ": every rank must call save() after the same step, with the same options");
  return std::nullopt;
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
  bool all_written = false;  // on every rank
  std::thread thread;

  ~UnderWay() {
    if (thread.joinable()) thread.join();
  }

  fs::path place() const { return root / folder_name(record.step); }

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

  // In a copy that has the shares one behind the other.
  const std::byte* in_copy(const std::byte* copy, size_t share, uint64_t begin) const {
    for (size_t i = 0; i < share; ++i) copy += shares[i].range.end - shares[i].range.begin;
    return copy + (begin - shares[share].range.begin);
  }

  // On rank 0. Answers what is told to all: what is left of older ones.
  std::string commit(const std::vector<std::string>& texts) {
    try {
      record.files = join_files(texts);
      add_lines(left, commit_checkpoint(root, record).left);
    } catch (const Error&) {
      free_disk();
      throw;
    }
    if (keep == 0) return left;
    try {
      add_lines(left, prune_checkpoints(root, keep, record.step).left);
    } catch (const Error& e) {  // the new one is complete all the same
      add_lines(left, e.what());
    }
    return left;
  }

  // After a commit that failed: training goes on, and needs the space. Where there is one of this step, the two may have
  // changed places in a way that a loss of power undoes; so both stay until the next save.
  void free_disk() const {
    std::error_code unknown;
    if (!fs::exists(place(), unknown) && !unknown) discard_checkpoint({folder, ""});
  }
};

Saver::Saver() = default;
Saver::~Saver() = default;

bool Saver::written() const { return under_way_ && under_way_->written; }
void Saver::all_have_written() {
  if (under_way_) under_way_->all_written = true;
}

Agreed<SaveReport> Saver::save(const SessionParts& parts, const RunFacts& facts, const fs::path& root,
                               const SaveOptions& options) {
  const auto step = static_cast<uint64_t>(parts.progress.next_step - 1);
  const Told asked = tell_all(parts.communicator, [&] {
    require_possible(options);
    return std::string(1, under_way_ && !written() ? writes_still : writes_nothing) + asked_for(options, step);
  });
  if (asked.error) return *asked.error;
  if (const std::optional<Error> error = differing(asked.texts)) return *error;
  const bool busy =
      std::any_of(asked.texts.begin(), asked.texts.end(), [](const std::string& text) { return text.front() == writes_still; });
  if (busy && options.skip_if_busy && !options.wait) return SaveReport{false, step, {}, false, ""};
  if (const std::optional<Error> error = make_way(parts.communicator)) return *error;
  return begin(parts, facts, root, options);
}

Agreed<SaveReport> Saver::begin(const SessionParts& parts, const RunFacts& facts, const fs::path& root,
                                const SaveOptions& options) {
  const auto step = static_cast<uint64_t>(parts.progress.next_step - 1);
  auto next = std::make_unique<UnderWay>();
  std::optional<Draft> draft;
  std::unique_ptr<std::byte[]> piece;
  // Whatever takes memory is done here, so that a rank without any is told of, and none waits for it.
  const Told ready = tell_all(parts.communicator, [&] {
    draft.emplace(parts, options, step);
    next->root = root;
    next->folder = root / folder_name(step, CheckpointState::unfinished);
    next->record.step = step;
    next->record.ranks = parts.ranks();
    next->record.hash = hash_kind_of(options.hash);
    if (parts.rank() == 0) next->record.session = described(parts, facts);
    next->keep = options.keep;
    next->shares = draft->shares();
    if (options.wait)
      piece.reset(new std::byte[kSavedPiece]);
    else
      take_snapshot(*draft);
    return std::string();
  });
  if (ready.error) return *ready.error;
  const Told begun = tell_all(parts.communicator, [&] {
    if (parts.rank() == 0) next->begin();
    return std::string();
  });
  if (begun.error) return *begun.error;
  under_way_ = std::move(next);
  if (!options.wait) return write_in_background();
  under_way_->write([&](size_t share, uint64_t from, uint64_t to) {
    draft->read(share, from, to, piece.get(), false);
    return piece.get();
  });
  return conclude(parts.communicator);
}

SaveReport Saver::write_in_background() {
  UnderWay& now = *under_way_;
  const std::byte* const copy = snapshot_.bytes();
  try {
    now.thread = std::thread([&now, copy] {
      now.write([&now, copy](size_t share, uint64_t from, uint64_t) { return now.in_copy(copy, share, from); });
    });
  } catch (const std::system_error& e) {
    now.error.emplace(Code::unavailable, std::string("there is no thread to write a checkpoint: ") + e.what(),
                      e.code().value());
    now.written = true;
  }
  return {true, now.record.step, now.place(), false, ""};
}

void Saver::take_snapshot(const Draft& draft) {
  if (snapshot_.size() < draft.bytes()) {
    snapshot_ = Buffer();  // first, for both at once may be too much
    snapshot_ = Buffer(meter_, draft.bytes());
  }
  std::byte* place = snapshot_.bytes();
  for (size_t i = 0; i < draft.shares().size(); ++i) {
    const ByteRange range = draft.shares()[i].range;
    draft.read(i, range.begin, range.end, place, true);
    place += range.end - range.begin;
  }
}

std::optional<Error> Saver::make_way(Communicator& communicator) {
  std::optional<Agreed<SaveReport>> earlier = std::exchange(untold_, std::nullopt);
  if (under_way_) earlier = conclude(communicator);
  if (!earlier || !std::holds_alternative<Error>(*earlier)) return std::nullopt;
  return std::get<Error>(*earlier);
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
  return SaveReport{true, done->record.step, done->place(), true, committed.texts[0]};
}

Agreed<SaveReport> Saver::finish(Communicator& communicator) {
  if (std::optional<Agreed<SaveReport>> told = std::exchange(untold_, std::nullopt)) return *std::move(told);
  if (!under_way_) return SaveReport{};
  return conclude(communicator);
}

void Saver::commit(Communicator& communicator) {
  if (under_way_ && under_way_->all_written) untold_ = conclude(communicator);
}

}  // namespace onebit
