// SPDX-License-Identifier: Apache-2.0
// A small reader of ELF files: what a shared library is and exports, found out without running any of it. Every read is checked
// against the file's size: truncated and lying files give an error, never a crash.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace onebit {

struct ElfLibrary {
  // Throws Error(invalid_argument) when the file is no whole shared library for this machine.
  explicit ElfLibrary(const std::filesystem::path& file);
  explicit ElfLibrary(int descriptor);  // of the open file

  std::vector<std::string> exported;  // defined global and weak symbols of .dynsym
  std::vector<std::string> unique;    // those of them that the dynamic loader makes one of in a process (STB_GNU_UNIQUE)
  std::vector<std::string> needed;    // DT_NEEDED
  // DT_RUNPATH and DT_RPATH, as they are: folders separated by ':'. Found where the dynamic loader finds them, without
  // sections.
  std::vector<std::string> search_paths;
  bool has_sections = true;  // false: stripped of its section headers, symbols and needed are unknown
};

}  // namespace onebit
