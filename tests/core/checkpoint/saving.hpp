// SPDX-License-Identifier: Apache-2.0
// Saves as a session of several ranks makes them, of numbers that a seed makes.
#pragma once

#include <cstring>
#include <exception>
#include <filesystem>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "checkpoint/commit.hpp"
#include "checkpoint/names.hpp"
#include "checkpoint/shares.hpp"
#include "checkpoint/verify.hpp"
#include "files/safetensors_layout.hpp"
#include "onebit/error.hpp"
#include "onebit/safetensors.hpp"

namespace onebit::test {

struct Saving {
  uint64_t step = 0;
  uint32_t seed = 0;
  int ranks = 2;
  HashKind hash = HashKind::xxh3_128;
  bool at_once = false;  // ranks are threads; else one after another, so that calls of the system have an order
};

inline std::vector<SafetensorsLayout::Tensor> tensors_of(const std::string& file) {
  if (file == "model.safetensors")
    return {{"body.weight", "F32", {70, 33}}, {"body.bias", "F32", {33}}, {"empty", "F32", {0, 4}}, {"scale", "F32", {}}};
  if (file == "state.safetensors") return {{"momentum", "F32", {2347}}, {"sums", "F64", {5}}, {"frozen", "U8", {3}}};
  return {{"worker_error", "F32", {347}}, {"blob.position", "U8", {17}}};
}

inline std::string data_of(const Saving& saving, const std::string& file, size_t tensor, uint64_t bytes) {
  std::mt19937_64 random(std::hash<std::string>{}(file) + saving.seed * 1000 + tensor);
  std::string data((bytes + 7) / 8 * 8, '\0');
  for (size_t at = 0; at < data.size(); at += 8) {
    const uint64_t word = random();
    std::memcpy(&data[at], &word, sizeof word);
  }
  data.resize(bytes);
  return data;
}

inline SafetensorsLayout layout_of(const Saving& saving, const std::string& file) {
  return SafetensorsLayout(tensors_of(file), checkpoint_metadata(saving.step));
}

// The bytes [range) of a file that is there.
inline RecordedFile write_range(const Saving& saving, const std::filesystem::path& file, ByteRange range) {
  const std::string name = file.filename().string();
  const SafetensorsLayout layout = layout_of(saving, name);
  RangeWriter writer(file, saving.hash);
  writer.begin(range.begin);
  for (const auto& segment : layout.segments(range.begin, range.end)) {
    const bool header = segment.tensor == SafetensorsLayout::Segment::kHeader;
    const std::string data = header ? layout.header() : data_of(saving, name, segment.tensor, layout.bytes(segment.tensor));
    writer.write(data.data() + segment.begin, segment.end - segment.begin);
  }
  return {name, layout.file_bytes(), writer.finish()};
}

inline std::string write_rank(const Saving& saving, const std::filesystem::path& folder, int rank) {
  std::vector<RecordedFile> files;
  for (const char* name : {"model.safetensors", "state.safetensors"})
    files.push_back(write_range(saving, folder / name, share_of(layout_of(saving, name).file_bytes(), rank, saving.ranks)));
  const std::string own = rank_file_name(rank, saving.ranks);
  const uint64_t bytes = layout_of(saving, own).file_bytes();
  create_file(folder / own, bytes);
  files.push_back(write_range(saving, folder / own, {0, bytes}));
  return files_text(files);
}

inline std::vector<std::string> write_ranks(const Saving& saving, const std::filesystem::path& folder) {
  std::vector<std::string> texts(saving.ranks);
  std::vector<std::exception_ptr> failures(saving.ranks);
  const auto run = [&](int rank) {
    try {
      texts[rank] = write_rank(saving, folder, rank);
    } catch (...) {
      failures[rank] = std::current_exception();
    }
  };
  std::vector<std::thread> threads;
  for (int rank = 0; rank < saving.ranks; ++rank) {
    if (saving.at_once)
      threads.emplace_back(run, rank);
    else
      run(rank);
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::exception_ptr& failure : failures)
    if (failure) std::rethrow_exception(failure);
  return texts;
}

inline CommittedCheckpoint save(const std::filesystem::path& root, const Saving& saving) {
  const BegunCheckpoint begun = begin_checkpoint(root, saving.step);
  try {
    for (const char* name : {"model.safetensors", "state.safetensors"})
      create_file(begun.folder / name, layout_of(saving, name).file_bytes());
    CheckpointRecord record;
    record.step = saving.step;
    record.ranks = saving.ranks;
    record.hash = saving.hash;
    record.files = join_files(write_ranks(saving, begun.folder));
    record.session = {{"seed", saving.seed}};
    return commit_checkpoint(root, record);
  } catch (const Error&) {
    discard_checkpoint(begun);
    throw;
  }
}

// Why the folder is not a checkpoint of exactly these numbers; "" when it is.
inline std::string difference(const std::filesystem::path& folder, const Saving& saving) {
  const CheckpointRecord record = read_record(folder);
  if (std::string fault = find_fault(folder, record); !fault.empty()) return fault;
  if (record.step != saving.step || record.session.at("seed") != saving.seed) return folder.string() + ": another one";
  for (const RecordedFile& file : record.files) {
    const SafetensorsReader reader(folder / file.name);
    const std::vector<SafetensorsLayout::Tensor> tensors = tensors_of(file.name);
    for (size_t i = 0; i < tensors.size(); ++i) {
      const auto& entry = reader.at(tensors[i].name);
      std::string data(entry.bytes, '\0');
      reader.read_bytes(entry, 0, entry.bytes, data.data());
      if (data != data_of(saving, file.name, i, entry.bytes)) return file.name + ": " + entry.name + " has other numbers";
    }
  }
  return "";
}

inline std::string error_text(const std::filesystem::path& folder) {
  try {
    verify_checkpoint(folder);
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

}  // namespace onebit::test
