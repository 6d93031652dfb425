// SPDX-License-Identifier: Apache-2.0
// The check of a library's file before it is loaded, on any bytes: an answer, or a reason in words.
#include "loading/elf.hpp"
#include "memory_file.hpp"
#include "onebit/error.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const onebit::fuzz::MemoryFile file(bytes, size);
  try {
    const onebit::ElfLibrary library(file.descriptor());
    size_t text = 0;
    for (const std::string& name : library.exported) text += name.size();
    if (text > 4 * size) __builtin_trap();
  } catch (const onebit::Error& e) {
    if (*e.what() == '\0') __builtin_trap();
  }
  return 0;
}
