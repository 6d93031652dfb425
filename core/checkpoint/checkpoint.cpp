// SPDX-License-Identifier: Apache-2.0
// What embedders and the command ask of one checkpoint.
#include "onebit/checkpoint.hpp"

#include "checkpoint/record.hpp"
#include "checkpoint/verify.hpp"
#include "onebit/error.hpp"

namespace onebit {

CheckpointInfo read_checkpoint_info(const std::filesystem::path& folder) {
  const CheckpointRecord record = read_record(folder);
  CheckpointInfo info;
  info.format = record.format;
  info.step = record.step;
  info.ranks = record.ranks;
  info.hash = name_of(record.hash);
  for (const RecordedFile& file : record.files) info.files.push_back({file.name, file.bytes});
  info.bytes = bytes_of(record);
  info.session = record.session.dump();
  return info;
}

void verify_checkpoint(const std::filesystem::path& folder) {
  const std::string fault = find_fault(folder, read_record(folder));
  if (!fault.empty()) throw Error(Code::invalid_argument, fault);
}

}  // namespace onebit
