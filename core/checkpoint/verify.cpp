// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/verify.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <numeric>

#include "files/file_reader.hpp"
#include "onebit/error.hpp"

namespace onebit {
namespace {

constexpr uint64_t kBuffer = uint64_t{128} << 10U;  // hashed while it is in the processor's cache
constexpr const char* kFormatKey = "format";
constexpr const char* kStepKey = "onebit.step";

// The step that a safetensors file says it belongs to; "" where it says none, or is too damaged to be asked.
std::string step_in(const std::filesystem::path& file) {
  try {
    const SafetensorsReader reader(file);
    const auto found = reader.metadata().find(kStepKey);
    return found == reader.metadata().end() ? "" : found->second;
  } catch (const Error&) {
    return "";
  }
}

// A file's size is dealt out as one piece more, so that not every rank asks for each file's.
uint64_t count_pieces(const CheckpointRecord& record) {
  return std::accumulate(record.files.begin(), record.files.end(), uint64_t{0},
                         [](uint64_t sum, const RecordedFile& file) { return sum + file.pieces.size() + 1; });
}

// Looks at one part of the pieces of all files: at neighbours, which a disk reads ahead.
class Verification {
 public:
  Verification(const std::filesystem::path& folder, const CheckpointRecord& record, uint64_t part, uint64_t parts)
      : folder_(folder),
        record_(record),
        first_(count_pieces(record) * part / parts),
        last_(count_pieces(record) * (part + 1) / parts),
        hasher_(record.hash),
        buffer_(new char[kBuffer]) {}

  std::string fault_of(const RecordedFile& file) {
    if (!has_work(file)) return "";
    const std::filesystem::path path = folder_ / file.name;
    try {
      const FileReader reader(path);
      if (reader.bytes() != file.bytes) return size_fault(path, reader.bytes(), file.bytes);
      mine();  // the size
      for (const HashedPiece& piece : file.pieces)
        if (mine() && hash(reader, piece) != piece.hash) return hash_fault(path, piece);
      return "";
    } catch (const Error& e) {
      return e.native() == ENOENT ? path.string() + ": is missing, so the checkpoint is incomplete" : e.what();
    }
  }

 private:
  // Without any for this part, a file is skipped.
  bool has_work(const RecordedFile& file) {
    const uint64_t count = file.pieces.size() + 1;
    if (next_ < last_ && next_ + count > first_) return true;
    next_ += count;
    return false;
  }
  bool mine() {
    const uint64_t now = next_++;
    return first_ <= now && now < last_;
  }

  std::string hash(const FileReader& reader, const HashedPiece& piece) {
    for (uint64_t at = piece.begin; at < piece.end;) {
      const uint64_t now = std::min(kBuffer, piece.end - at);
      reader.read(buffer_.get(), now, at);
      hasher_.update(buffer_.get(), now);
      at += now;
    }
    return hasher_.digest();
  }

  std::string size_fault(const std::filesystem::path& file, uint64_t found, uint64_t expected) const {
    return mixed_or(file, fmt::format("has {} bytes, {} were saved; {}", found, expected,
                                      found < expected ? "it was cut short" : "something was added to it"));
  }
  std::string hash_fault(const std::filesystem::path& file, const HashedPiece& piece) const {
    return mixed_or(file, fmt::format("bytes {} to {} are not those that were saved; it is damaged, or of another checkpoint",
                                      piece.begin, piece.end - 1));
  }
  std::string mixed_or(const std::filesystem::path& file, const std::string& fault) const {
    const std::string step = step_in(file);
    if (step.empty() || step == std::to_string(record_.step)) return file.string() + ": " + fault;
    return fmt::format(
        "{}: belongs to a checkpoint of step {}, the others here to one of step {}; files of two checkpoints "
        "are mixed",
        file.string(), step, record_.step);
  }

  const std::filesystem::path& folder_;
  const CheckpointRecord& record_;
  const uint64_t first_, last_;  // of all sizes and pieces; not the last
  uint64_t next_ = 0;
  Hasher hasher_;
  std::unique_ptr<char[]> buffer_;
};

}  // namespace

std::string find_fault(const std::filesystem::path& folder, const CheckpointRecord& record, uint64_t part, uint64_t parts) {
  Verification verification(folder, record, part, parts);
  for (const RecordedFile& file : record.files)
    if (std::string fault = verification.fault_of(file); !fault.empty()) return fault;
  return "";
}

TensorMetadata checkpoint_metadata(uint64_t step) { return {{kFormatKey, "pt"}, {kStepKey, std::to_string(step)}}; }

}  // namespace onebit
