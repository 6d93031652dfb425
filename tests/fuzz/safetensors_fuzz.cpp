// SPDX-License-Identifier: Apache-2.0
// A safetensors file of any bytes: what passes the check of its header can be read whole.
#include <cstring>

#include "memory_file.hpp"
#include "onebit/error.hpp"
#include "onebit/safetensors.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const onebit::fuzz::MemoryFile file(bytes, size);
  try {
    const onebit::SafetensorsReader reader(file.path());
    for (const auto& entry : reader.entries()) {
      if (reader.find(entry.name) == nullptr || entry.offset + entry.bytes > size) __builtin_trap();
      std::vector<char> data(entry.bytes);
      reader.read_bytes(entry, 0, entry.bytes, data.data());
      if (!data.empty() && std::memcmp(data.data(), bytes + entry.offset, entry.bytes) != 0) __builtin_trap();
      if (entry.dtype != "F32") continue;
      const std::vector<float> values = reader.read(entry.name);
      if (values.size() * sizeof(float) != entry.bytes) __builtin_trap();
      if (!values.empty() && std::memcmp(values.data(), bytes + entry.offset, entry.bytes) != 0) __builtin_trap();
    }
  } catch (const onebit::Error& e) {
    if (*e.what() == '\0') __builtin_trap();
  }
  return 0;
}
