// SPDX-License-Identifier: Apache-2.0
// Where linked files look for libraries (RUNPATH, RPATH), read from the files, and what is wrong with it.
#pragma once

#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "support/running.hpp"

namespace onebit::test {

struct LinkedFile {
  std::filesystem::path file;
  std::vector<std::string> entries;  // of RUNPATH and RPATH
  std::vector<std::string> needed;
};

// What stands between the brackets of a line of readelf's.
inline std::string in_brackets(const std::string& line) {
  const size_t begin = line.find('['), end = line.rfind(']');
  return begin == std::string::npos ? "" : line.substr(begin + 1, end - begin - 1);
}

// "a::b" are three entries, and "" is one, which is empty.
inline std::vector<std::string> entries_of(const std::string& path) {
  std::vector<std::string> entries(1);
  for (const char c : path)
    if (c == ':')
      entries.emplace_back();
    else
      entries.back() += c;
  return entries;
}

inline LinkedFile linked_file(const std::filesystem::path& file) {
  LinkedFile found{file, {}, {}};
  const Outcome told = run_shell("LC_ALL=C readelf --wide --dynamic '" + file.string() + "'");
  if (told.status != 0) throw std::runtime_error(told.text);
  std::istringstream lines(told.text);
  for (std::string line; std::getline(lines, line);) {
    if (line.find("(NEEDED)") != std::string::npos) found.needed.push_back(in_brackets(line));
    if (line.find("(RUNPATH)") == std::string::npos && line.find("(RPATH)") == std::string::npos) continue;
    for (std::string& entry : entries_of(in_brackets(line))) found.entries.push_back(std::move(entry));
  }
  return found;
}

inline bool is_inside(const std::filesystem::path& file, const std::filesystem::path& folder) {
  const std::filesystem::path way = file.lexically_relative(folder);
  return !way.empty() && *way.begin() != "..";
}

// A folder outside, where CMake has found a library: nobody's but its owner's to write to.
inline std::string fault_of_absolute(const std::filesystem::path& folder) {
  struct stat status {};
  if (::stat(folder.c_str(), &status) != 0) return "is not there";
  return (status.st_mode & S_IWOTH) != 0 ? "is writable by everybody" : "";
}

// What is wrong with an entry; "" when nothing is. Rules: what belongs to us, all of which is in the folder `own`, is looked
// for relative to the file; what was found elsewhere when it was built (an MPI, a libtorch of pip's), where it was found.
inline std::string fault_of(const LinkedFile& linked, const std::string& entry, const std::filesystem::path& own) {
  if (entry.empty()) return "is empty, which means the working directory";
  const std::filesystem::path folder = linked.file.parent_path();
  if (entry == "$ORIGIN") return "";
  if (entry.rfind("$ORIGIN/", 0) == 0)
    return is_inside((folder / entry.substr(8)).lexically_normal(), own) ? "" : "leads out of " + own.string();
  if (entry.front() != '/') return "is relative to the working directory";
  if (is_inside(entry, own)) return "is one of our own, and not by $ORIGIN";
  return fault_of_absolute(entry);
}

// A line for each entry that is wrong.
inline std::string search_path_faults(const std::vector<std::filesystem::path>& files, const std::filesystem::path& own) {
  std::string faults;
  for (const std::filesystem::path& file : files) {
    const LinkedFile linked = linked_file(file);
    for (const std::string& entry : linked.entries)
      if (const std::string fault = fault_of(linked, entry, own); !fault.empty())
        faults += file.string() + ": the entry '" + entry + "' of its RUNPATH " + fault + "\n";
  }
  return faults;
}

// Programs and libraries below a folder, by their first bytes; links are passed over.
inline std::vector<std::filesystem::path> linked_files_in(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file() || entry.is_symlink()) continue;
    char head[18] = {};
    std::ifstream(entry.path(), std::ios::binary).read(head, sizeof head);
    const bool linked = head[16] == 2 || head[16] == 3;  // ET_EXEC, ET_DYN
    if (std::string_view(head, 4) == "\177ELF" && linked) files.push_back(entry.path());
  }
  return files;
}

}  // namespace onebit::test
