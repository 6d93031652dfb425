// SPDX-License-Identifier: Apache-2.0
// Writing checkpoint.json. Its members have an order, for the last one is the hash of all before it.
#include "checkpoint/record.hpp"

#include <spdlog/fmt/fmt.h>

#include <numeric>
#include <utility>

#include "checkpoint/names.hpp"
#include "onebit/error.hpp"

namespace onebit {
namespace {

nlohmann::ordered_json described(const RecordedFile& file) {
  auto pieces = nlohmann::ordered_json::array();
  for (const HashedPiece& piece : file.pieces) pieces.push_back({{"end", piece.end}, {"hash", piece.hash}});
  return {{"name", file.name}, {"bytes", file.bytes}, {"pieces", std::move(pieces)}};
}

}  // namespace

std::string with_own_hash(std::string text, HashKind kind) {
  text += "\"hash\":";
  return text + fmt::format("\"{}\"}}\n", hash_of(kind, text));
}

// One line a member and a file, so that people can read it.
std::string record_text(const CheckpointRecord& record) {
  try {
    std::string text = fmt::format("{{\"format\":{},\n\"step\":{},\n\"ranks\":{},\n\"hashes\":\"{}\",\n\"files\":[",
                                   record.format, record.step, record.ranks, name_of(record.hash));
    for (const RecordedFile& file : record.files) text += (text.back() == '[' ? "\n" : ",\n") + described(file).dump();
    text += "],\n\"session\":" + record.session.dump() + ",\n";
    text = with_own_hash(std::move(text), record.hash);
    parse_record(text, kRecordName);
    return text;
  } catch (const std::exception& e) {
    throw Error(Code::internal, std::string("a checkpoint that could not be read again: ") + e.what());
  }
}

uint64_t bytes_of(const CheckpointRecord& record) {
  return std::accumulate(record.files.begin(), record.files.end(), uint64_t{0},
                         [](uint64_t sum, const RecordedFile& file) { return sum + file.bytes; });
}

}  // namespace onebit
