// SPDX-License-Identifier: Apache-2.0
// A checkpoint.json of any bytes, and of such bytes with the hash that a fuzzer cannot guess: what passes is written so that it
// reads back the same, and its files, which are not there, are looked for in its folder alone.
#include <algorithm>

#include "checkpoint/record.hpp"
#include "checkpoint/verify.hpp"
#include "onebit/error.hpp"

namespace {

using onebit::CheckpointRecord;

void check_files(const CheckpointRecord& record) {
  uint64_t bytes = 0;
  for (const onebit::RecordedFile& file : record.files) {
    uint64_t end = 0;
    for (const onebit::HashedPiece& piece : file.pieces) {
      if (piece.begin != end || piece.end <= end || piece.hash.size() != onebit::digits_of(record.hash)) __builtin_trap();
      end = piece.end;
    }
    if (end != file.bytes || file.name.find('/') != std::string::npos) __builtin_trap();
    bytes += end;
  }
  if (bytes != onebit::bytes_of(record)) __builtin_trap();
  const std::string fault = onebit::find_fault("/no/such/folder", record);
  if (record.files.empty() != fault.empty()) __builtin_trap();
}

void read(const std::string& text) {
  try {
    const CheckpointRecord record = onebit::parse_record(text, "checkpoint.json");
    check_files(record);
    const std::string written = onebit::record_text(record);
    if (onebit::record_text(onebit::parse_record(written, "checkpoint.json")) != written) __builtin_trap();
  } catch (const onebit::Error& e) {
    if (*e.what() == '\0' || e.code() != onebit::Code::invalid_argument) __builtin_trap();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const std::string text(reinterpret_cast<const char*>(bytes), size);
  read(text);
  const std::string members = text.substr(0, std::min(text.rfind("\"hash\":"), text.size()));
  for (const onebit::HashKind kind : {onebit::HashKind::xxh3_128, onebit::HashKind::sha256})
    read(onebit::with_own_hash(members, kind));
  return 0;
}
