// SPDX-License-Identifier: Apache-2.0
// Reading checkpoint.json, which may be anybody's bytes: whatever passes can be relied on without another thought.
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <set>
#include <utility>

#include "checkpoint/names.hpp"
#include "checkpoint/record.hpp"
#include "files/file_reader.hpp"
#include "onebit/error.hpp"

namespace onebit {
namespace {

namespace fs = std::filesystem;
using json = nlohmann::json;

constexpr int kDeepestRecord = 64;  // what writes JSON again goes down by recursion
constexpr uint64_t kMostBytes = INT64_MAX, kMostRanks = 1U << 24U;
constexpr size_t kLongestName = 255;  // that file systems take

// What is expected of a value, and what its place is called.
class Field {
 public:
  Field(const json& value, std::string place, const fs::path& file) : value_(value), place_(std::move(place)), file_(file) {}

  [[noreturn]] void fail(const std::string& expected) const {
    std::string found = value_.dump(-1, ' ', true, json::error_handler_t::replace);
    if (found.size() > 80) found = found.substr(0, 80) + "...";
    throw Error(Code::invalid_argument,
                fmt::format("{}: {} is {}, expected {}; the checkpoint is damaged, or was written by something else",
                            file_.string(), place_, found, expected));
  }
  Field at(const char* key) const {
    if (!value_.is_object()) fail("an object");
    const auto found = value_.find(key);
    if (found == value_.end()) fail(fmt::format("an object with the member \"{}\"", key));
    return {*found, place_ + "." + key, file_};
  }
  uint64_t number(uint64_t least, uint64_t most) const {
    if (!value_.is_number_unsigned() || value_.get<uint64_t>() < least || value_.get<uint64_t>() > most)
      fail(fmt::format("a whole number from {} to {}", least, most));
    return value_.get<uint64_t>();
  }
  const std::string& text() const {
    if (!value_.is_string()) fail("a text");
    return value_.get_ref<const std::string&>();
  }
  std::vector<Field> elements() const {
    if (!value_.is_array()) fail("an array");
    std::vector<Field> all;
    for (size_t i = 0; i < value_.size(); ++i) all.emplace_back(value_[i], fmt::format("{}[{}]", place_, i), file_);
    return all;
  }
  const json& object() const {
    if (!value_.is_object()) fail("an object");
    return value_;
  }

 private:
  const json& value_;
  std::string place_;
  const fs::path& file_;
};

void check_size(uint64_t bytes, const fs::path& file) {
  if (bytes > kLargestRecord)
    throw Error(Code::invalid_argument,
                fmt::format("{}: has {} bytes, expected at most {}", file.string(), bytes, kLargestRecord));
}

json parse_json(const std::string& text, const fs::path& file) {
  const auto watch = [&](int depth, json::parse_event_t, json&) {
    if (depth > kDeepestRecord)
      throw Error(Code::invalid_argument,
                  fmt::format("{}: is nested deeper than {}; no onebit writes that", file.string(), kDeepestRecord));
    return true;
  };
  try {
    return json::parse(text, watch);
  } catch (const json::exception& e) {
    throw Error(Code::invalid_argument, file.string() + ": is not JSON, so the checkpoint is damaged: " + e.what());
  }
}

std::string parse_hash(const Field& field, HashKind kind) {
  const std::string& hash = field.text();
  if (hash.size() != digits_of(kind) || hash.find_first_not_of("0123456789abcdef") != std::string::npos)
    field.fail(fmt::format("{} hexadecimal digits, as {} has", digits_of(kind), name_of(kind)));
  return hash;
}

// Of a file in the same folder, and no other.
std::string parse_name(const Field& field) {
  const std::string& name = field.text();
  const bool plain = !name.empty() && name.size() <= kLongestName && name != "." && name != ".." && name != kRecordName;
  if (!plain || name.find('/') != std::string::npos || name.find('\0') != std::string::npos) field.fail("the name of a file");
  return name;
}

RecordedFile parse_file(const Field& field, HashKind kind) {
  RecordedFile file = {parse_name(field.at("name")), field.at("bytes").number(0, kMostBytes), {}};
  uint64_t end = 0;
  for (const Field& piece : field.at("pieces").elements()) {
    if (end == file.bytes) piece.fail("no piece after the file's last byte");
    const uint64_t begin = std::exchange(end, piece.at("end").number(end + 1, file.bytes));
    file.pieces.push_back({begin, end, parse_hash(piece.at("hash"), kind)});
  }
  if (end != file.bytes) field.at("pieces").fail(fmt::format("pieces of all {} bytes", file.bytes));
  return file;
}

HashKind parse_hash_kind(const Field& field) {
  try {
    return hash_kind_of(field.text());
  } catch (const Error&) {
    field.fail("\"xxh3-128\" or \"sha256\"");
  }
}

// Before anything else of the text is believed, but for its version: a later one may have another form.
void check_own_hash(const std::string& text, HashKind kind, const fs::path& file) {
  const std::string end = "\"hash\":\"" + std::string(digits_of(kind), '0') + "\"}\n";
  const size_t before = text.size() - std::min(text.size(), end.size());
  if (text != with_own_hash(text.substr(0, before), kind))
    throw Error(Code::invalid_argument,
                file.string() + ": does not have the hash that it had when it was written; the checkpoint is damaged");
}

void check_format(const Field& record, const fs::path& file) {
  const uint64_t format = record.at("format").number(1, kMostBytes);
  if (format > kCheckpointFormat)
    throw Error(Code::invalid_argument,
                fmt::format("{}: the checkpoint has format version {}, this onebit ({}) reads up to version {}; load it with "
                            "the version that wrote it, or a later one",
                            file.string(), format, ONEBIT_CORE_VERSION, kCheckpointFormat));
}

void check_folder_name(const fs::path& folder) {
  const fs::path named = (folder.has_filename() ? folder : folder.parent_path()).filename();
  const std::optional<FolderName> name = parse_folder_name(named.string());
  if (name && name->state == CheckpointState::unfinished)
    throw Error(Code::invalid_argument, folder.string() + ": is no checkpoint: the save was not finished");
  if (name && name->state == CheckpointState::removed)
    throw Error(Code::invalid_argument, folder.string() + ": is no checkpoint: it is being deleted, or that was broken off");
}

}  // namespace

CheckpointRecord parse_record(const std::string& text, const fs::path& file) {
  check_size(text.size(), file);
  const json parsed = parse_json(text, file);
  const Field top(parsed, "the record", file);
  check_format(top, file);
  CheckpointRecord record;
  record.hash = parse_hash_kind(top.at("hashes"));
  check_own_hash(text, record.hash, file);
  record.format = top.at("format").number(1, kCheckpointFormat);
  record.step = top.at("step").number(0, kMostBytes);
  record.ranks = static_cast<int>(top.at("ranks").number(1, kMostRanks));
  record.session = top.at("session").object();
  std::set<std::string> names;
  uint64_t bytes = 0;
  for (const Field& field : top.at("files").elements()) {
    record.files.push_back(parse_file(field, record.hash));
    const RecordedFile& last = record.files.back();
    if (!names.insert(last.name).second) field.fail("a file that is named once");
    bytes += last.bytes;
    if (bytes > kMostBytes) field.fail("files that a disk can hold");
  }
  return record;
}

CheckpointRecord read_record(const fs::path& folder) {
  check_folder_name(folder);
  const fs::path file = folder / kRecordName;
  try {
    const FileReader reader(file);
    check_size(reader.bytes(), file);
    std::string text(reader.bytes(), '\0');
    reader.read(text.data(), text.size(), 0);
    return parse_record(text, file);
  } catch (const Error& e) {
    if (e.native() != ENOENT && e.native() != ENOTDIR) throw;
    throw Error(Code::invalid_argument,
                fmt::format("{}: is no checkpoint: there is no {} in it", folder.string(), kRecordName));
  }
}

}  // namespace onebit
