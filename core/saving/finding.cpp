// SPDX-License-Identifier: Apache-2.0
#include "saving/finding.hpp"

#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "checkpoint/names.hpp"
#include "checkpoint/verify.hpp"
#include "onebit/checkpoint.hpp"

namespace onebit {
namespace {

namespace fs = std::filesystem;

// On rank 0: the place, for errors that all tell alike, and the names of folders below it; "" is the place itself.
std::string names_told(const fs::path& place) {
  auto names = nlohmann::json::array();
  names.push_back(place.string());
  for (const fs::path& folder : loadable_checkpoints(place))
    names.push_back(folder == place ? std::string() : folder.filename().string());
  return names.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

// On rank 0 the record. The others only look whether they see it, for their parts are checked next.
std::string record_told(const fs::path& folder, int rank) {
  if (rank == 0) return record_text(read_record(folder));
  std::error_code ignored;
  if (fs::exists(folder / kRecordName, ignored)) return "";
  throw Error(Code::unavailable, folder.string() + ": rank " + std::to_string(rank) +
                                     " sees no checkpoint there: checkpoints need a folder that all machines share, under one "
                                     "name");
}

// "" where all ranks find their part to be as it was saved.
std::string fault_in(Communicator& communicator, const fs::path& folder, CheckpointRecord& record) {
  const Told read = tell_all(communicator, [&] { return record_told(folder, communicator.rank()); });
  if (read.error) return read.reason;  // rank 0's first, if it has one
  record = parse_record(read.texts[0], folder / kRecordName);
  const auto rank = static_cast<uint64_t>(communicator.rank()), ranks = static_cast<uint64_t>(communicator.size());
  const Told verified = tell_all(communicator, [&] { return find_fault(folder, record, rank, ranks); });
  if (verified.error) return verified.error->what();
  for (const std::string& fault : verified.texts)
    if (!fault.empty()) return fault;
  return "";
}

Error none_is_whole(const std::string& place, const std::vector<std::string>& refused) {
  std::string text = place + ": no checkpoint here can be loaded:";
  for (const std::string& reason : refused) text += "\n  " + reason;
  return {Code::invalid_argument, text};
}

}  // namespace

Agreed<FoundCheckpoint> find_checkpoint(Communicator& communicator, const fs::path& place) {
  const Told named = tell_all(communicator, [&] { return communicator.rank() == 0 ? names_told(place) : ""; });
  if (named.error) return *named.error;
  const nlohmann::json names = nlohmann::json::parse(named.texts[0]);
  const auto told = names.at(0).get<std::string>();
  FoundCheckpoint found;
  for (size_t i = 1; i < names.size(); ++i) {
    const auto name = names.at(i).get<std::string>();
    found.folder = name.empty() ? place : place / name;
    std::string fault = fault_in(communicator, found.folder, found.record);
    if (fault.empty()) return found;
    found.refused.push_back(std::move(fault));
  }
  if (!found.refused.empty()) return none_is_whole(told, found.refused);
  return Error(Code::unavailable, told + ": there is no checkpoint here");
}

}  // namespace onebit
