// Ownership and permissions of a library and of every folder above it, as it was named and as links resolve it.
#include "trust.hpp"

#include <spdlog/fmt/fmt.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace onebit {
namespace {

std::string distrust_folders(const std::filesystem::path& file) {
  for (std::filesystem::path folder = file.parent_path();; folder = folder.parent_path()) {
    struct stat status {};
    if (stat(folder.c_str(), &status) != 0)
      return "its folder " + folder.string() + " can't be examined: " + std::strerror(errno);
    if ((status.st_mode & S_IWOTH) != 0 && (status.st_mode & S_ISVTX) == 0)
      return "its folder " + folder.string() + " is writable by everybody; correct that with: chmod o-w " + folder.string();
    if (folder == folder.root_path()) return "";
  }
}

}  // namespace

std::string distrust(const std::filesystem::path& file) {
  struct stat status {};
  if (stat(file.c_str(), &status) != 0) return std::string("the file can't be found: ") + std::strerror(errno);
  if (S_ISDIR(status.st_mode)) return "expected a shared library, found a folder";
  if (!S_ISREG(status.st_mode)) return "expected a regular file";
  if (status.st_uid != 0 && status.st_uid != geteuid())
    return fmt::format("the file belongs to user {}; expected root or the user who runs this ({})", status.st_uid, geteuid());
  if ((status.st_mode & S_IWOTH) != 0)
    return "the file is writable by everybody; correct that with: chmod o-w " + file.string();
  const std::filesystem::path named = std::filesystem::absolute(file).lexically_normal();
  const std::filesystem::path real = std::filesystem::canonical(file);
  std::string reason = distrust_folders(real);
  return reason.empty() && named != real ? distrust_folders(named) : reason;
}

}  // namespace onebit
