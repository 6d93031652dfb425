// SPDX-License-Identifier: Apache-2.0
// A library's file, held open from its first check to its loading, so that all of them speak of the same bytes. Where others
// could change it, a private copy takes its place.
#pragma once

#include <sys/stat.h>

#include <filesystem>
#include <optional>
#include <string>
#include <tuple>

#include "loading/trust.hpp"

namespace onebit {

class LibraryFile {
 public:
  // Which bytes: the file, and its state. A file that is written to or exchanged has another.
  struct Identity {
    dev_t device = 0;
    ino_t number = 0;
    off_t size = 0;
    timespec written{};
    bool operator==(const Identity& other) const {
      return std::tie(device, number, size, written.tv_sec, written.tv_nsec) ==
             std::tie(other.device, other.number, other.size, other.written.tv_sec, other.written.tv_nsec);
    }
    bool same_file(const Identity& other) const { return device == other.device && number == other.number; }
  };

  // Of the file that a path leads to, links followed; nothing where there is none.
  static std::optional<Identity> identity_at(const std::filesystem::path& path);

  // Throws Error where way_to() does, and when the file can't be opened.
  explicit LibraryFile(const std::filesystem::path& file, const Owners& owners = {});
  ~LibraryFile();
  LibraryFile(const LibraryFile&) = delete;
  LibraryFile& operator=(const LibraryFile&) = delete;

  // Why others could change the file; "" when they can't, or can no more.
  const std::string& doubt() const { return doubt_; }
  // From here on the bytes, and all that is said about them but path(), are those of a copy that nobody can change.
  void make_private();
  bool is_private() const { return !private_path_.empty(); }

  const std::filesystem::path& path() const { return path_; }  // absolute, without links
  // Under which the dynamic loader finds it: path(), or that of the copy.
  const std::filesystem::path& loading_path() const { return is_private() ? private_path_ : path_; }
  const Identity& identity() const { return identity_; }
  const Identity& original() const { return original_; }  // of the file that was opened, private or not
  int descriptor() const { return descriptor_; }
  std::string sha256() const;
  // Throws Error when the path no longer leads to the bytes that were opened.
  void check_unchanged() const;

 private:
  void examine();

  std::filesystem::path path_, private_path_;
  std::string doubt_;
  int descriptor_ = -1;
  Identity identity_, original_;
  timespec changed_{};  // by which everything that happens to a file is noticed, except to its folders
};

}  // namespace onebit
