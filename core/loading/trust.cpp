// SPDX-License-Identifier: Apache-2.0
// The way to a file, gone name by name as the kernel goes it: every folder and every link on it is looked at.
#include "loading/trust.hpp"

#include <spdlog/fmt/fmt.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>

#include "loading/refuse.hpp"
#include "onebit/error.hpp"

namespace onebit {
namespace {

namespace fs = std::filesystem;
constexpr int most_links = 40;  // the kernel's limit

bool is_open_to_all(const struct stat& status) { return (status.st_mode & S_IWOTH) != 0; }
bool is_sticky(const struct stat& status) { return (status.st_mode & S_ISVTX) != 0; }

std::string owned_by_a_stranger(const struct stat& status) {
  return fmt::format(
      "belongs to {0}; expected root or the user who runs this ({1}); if you trust that user, set in the manifest "
      "plugins.trusted_owners = [\"{2}\"]",
      user_label(status.st_uid), geteuid(), status.st_uid);
}

const char* kind_of(mode_t mode) {
  if (S_ISFIFO(mode)) return "a pipe";
  if (S_ISSOCK(mode)) return "a socket";
  return S_ISCHR(mode) || S_ISBLK(mode) ? "a device" : "another kind of file";
}

class Walk {
 public:
  Walk(const fs::path& file, const Owners& owners) : owners_(owners) {
    if (file.native().find('\0') != std::string::npos) refuse("its path has a zero byte in it");
    look("/");
    put_in_front(file.relative_path());
    while (!names_.empty()) step();
    check_file();
  }
  Way way() const { return {place_, doubt_}; }

 private:
  void step() {
    const std::string name = names_.front();
    names_.pop_front();
    if (name.empty() || name == ".") return;
    if (name == "..") {
      place_ = place_.parent_path();
      look(place_);
      return;
    }
    if (!S_ISDIR(status_.st_mode)) fail(ENOTDIR);
    const bool in_sticky = is_open_to_all(status_) && is_sticky(status_);
    look(place_ / name);
    if (S_ISREG(status_.st_mode)) {
      place_ /= name;
    } else {
      if (in_sticky && !is_trusted())
        doubt(fmt::format("{}, which lies where everybody may write, {}", (place_ / name).string(),
                          owned_by_a_stranger(status_)));
      S_ISLNK(status_.st_mode) ? follow(place_ / name) : void(place_ /= name);
    }
  }

  // place: where this is now, if that is a folder, then a sound one.
  void look(const fs::path& place) {
    if (lstat(place.c_str(), &status_) != 0) fail(errno);
    if (S_ISDIR(status_.st_mode) && is_open_to_all(status_) && !is_sticky(status_))
      doubt(fmt::format("its folder {0} is writable by everybody; correct that with: chmod o-w {0}", place.string()));
  }

  void follow(const fs::path& link) {
    if (++links_ > most_links) fail(ELOOP);
    std::error_code error;
    const fs::path target = fs::read_symlink(link, error);
    if (error) fail(error.value());
    by_link_ = fmt::format(" (the link {} names {})", link.string(), target.string());
    if (target.is_absolute()) place_ = "/";
    look(place_);
    put_in_front(target.relative_path());
  }

  void put_in_front(const fs::path& path) { names_.insert(names_.begin(), path.begin(), path.end()); }

  void check_file() {
    if (S_ISDIR(status_.st_mode)) refuse("expected a shared library, found a folder");
    if (!S_ISREG(status_.st_mode)) refuse(fmt::format("expected a regular file, found {}", kind_of(status_.st_mode)));
    if (!is_trusted()) doubt("the file " + owned_by_a_stranger(status_));
    if (is_open_to_all(status_)) doubt("the file is writable by everybody; correct that with: chmod o-w " + place_.string());
  }

  bool is_trusted() const {
    return status_.st_uid == 0 || status_.st_uid == geteuid() ||
           std::find(owners_.begin(), owners_.end(), status_.st_uid) != owners_.end();
  }
  // The first is the one to tell.
  void doubt(const std::string& reason) {
    if (doubt_.empty()) doubt_ = reason;
  }

  [[noreturn]] void fail(int error) const {
    throw Error(Code::unavailable, std::string("the file can't be found: ") + std::strerror(error) + by_link_, error);
  }

  const Owners& owners_;
  std::string doubt_;
  fs::path place_ = "/";   // without links
  struct stat status_ {};  // of what was looked at last
  std::deque<std::string> names_;
  std::string by_link_;
  int links_ = 0;
};

}  // namespace

Way way_to(const fs::path& file, const Owners& owners) { return Walk(fs::absolute(file), owners).way(); }

fs::path written_out(const fs::path& file) {
  const fs::path whole = fs::absolute(file);
  return std::find(whole.begin(), whole.end(), "..") == whole.end() ? whole.lexically_normal() : whole;
}

}  // namespace onebit
