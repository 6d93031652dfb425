// SPDX-License-Identifier: Apache-2.0
// seeds FOLDER: writes what the fuzzers begin with where it is no text: FOLDER/safetensors, FOLDER/elf and so on.
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iostream>

#include "checkpoint/record.hpp"
#include "onebit/safetensors.hpp"
#include "rendezvous/store_protocol.hpp"

namespace {

namespace fs = std::filesystem;

void write(const fs::path& file, const std::string& bytes) {
  fs::create_directories(file.parent_path());
  std::ofstream(file, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

void write_safetensors(const fs::path& folder) {
  fs::create_directories(folder);
  const float values[6] = {1, -2, 3.5F, 0, 5, 6};
  onebit::SafetensorsWriter small(folder / "two", {{"a.weight", {2, 3}}, {"b", {}}}, {{"format", "onebit"}});
  small.write(0, values);
  small.write(1, values);
  small.commit();
  const std::string header =
      R"({"__metadata__":{"k":"v"},"h":{"dtype":"BF16","shape":[0,4],"data_offsets":[0,0]},"i":{"dtype":"I64",)"
      R"("shape":[1],"data_offsets":[0,8]}})";
  std::string bytes(8, '\0');
  bytes[0] = static_cast<char>(header.size());
  write(folder / "types", bytes + header + std::string(8, '\1'));
}

void write_records(const fs::path& folder) {
  for (const onebit::HashKind kind : {onebit::HashKind::xxh3_128, onebit::HashKind::sha256}) {
    onebit::CheckpointRecord record;
    record.step = 1234;
    record.ranks = 4;
    record.hash = kind;
    const std::string hash(onebit::digits_of(kind), '7');
    record.files = {{"model.safetensors", 30, {{0, 10, hash}, {10, 30, hash}}}, {"rank-00000-of-00004.safetensors", 0, {}}};
    record.session = {{"layout", {1, 2.5, nullptr, true}}, {"plugins", {{"name", "\\u00e9"}}}};
    write(folder / std::string(name_of(kind)), onebit::record_text(record));
  }
}

// Which codec, how many blocks, their sizes and keys, a weight, and bytes: as payload_fuzz.cpp takes them apart.
void write_payloads(const fs::path& folder) {
  for (char codec = 0; codec < 6; ++codec) {
    std::string bytes = {codec, 1, 33, 0, 0, 100, 0, 1, 0, 0, '\x80', '\x3f'};
    for (int i = 0; i < 600; ++i) bytes += static_cast<char>(i * 37);
    write(folder / std::to_string(codec), bytes);
  }
}

void write_requests(const fs::path& folder) {
  using namespace onebit::store;
  for (const Verb verb : {Verb::join, Verb::put, Verb::get}) {
    Request request;
    request.prefix.verb = static_cast<uint32_t>(verb);
    request.head.rank = 1;
    request.head.size = 2;
    request.head.job = 7;
    request.head.timeout_ns = 1000;
    request.head.key_bytes = verb == Verb::join ? 0 : 5;
    request.head.value_bytes = verb == Verb::put ? 4 : 0;
    std::string bytes(sizeof request, '\0');
    std::memcpy(bytes.data(), &request, sizeof request);
    write(folder / std::to_string(static_cast<int>(verb)), bytes + (verb == Verb::join ? "" : "there") + "data");
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: seeds FOLDER\n";
    return 2;
  }
  const fs::path folder = argv[1];
  try {
    write_safetensors(folder / "safetensors");
    write_records(folder / "checkpoint");
    write_payloads(folder / "payload");
    write_requests(folder / "store");
    fs::create_directories(folder / "elf");
    fs::copy_file(ONEBIT_FUZZ_LIBRARY, folder / "elf/library", fs::copy_options::overwrite_existing);
  } catch (const std::exception& e) {
    std::cerr << "seeds: " << e.what() << '\n';
    return 1;
  }
}
