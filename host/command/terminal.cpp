// SPDX-License-Identifier: Apache-2.0
// Finding the terminal, also behind a launcher, which reads what its processes write through a pipe or a terminal of its own
// making: then it is the launcher's standard output that counts.
#include "command/terminal.hpp"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "launch/launcher.hpp"

namespace onebit::host {
namespace {

constexpr int kUsualWidth = 80;
constexpr int kMostAncestors = 16;

int width_of(int descriptor) {
  if (::isatty(descriptor) == 0) return 0;
  winsize size = {};
  const bool known = ::ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 1;
  return known ? size.ws_col : kUsualWidth;
}

std::string output_of(const std::string& process) {
  std::error_code ignored;
  return std::filesystem::read_symlink("/proc/" + process + "/fd/1", ignored).string();
}

// "" when there is none.
std::string parent_of(const std::string& process) {
  std::ifstream status("/proc/" + process + "/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("PPid:")) return line.substr(line.find_first_not_of("\t ", 5));
  return "";
}

// The standard output of the nearest ancestor that has another than this process: shells in between hand theirs on.
std::string output_of_launcher() {
  const std::string own = output_of("self");
  std::string process = "self";
  for (int i = 0; i < kMostAncestors; ++i) {
    process = parent_of(process);
    if (process.empty() || process == "0") return "";
    if (const std::string output = output_of(process); output != own) return output;
  }
  return "";
}

}  // namespace

int terminal_width() {
  if (!launched()) return width_of(STDOUT_FILENO);
  const std::string shown = output_of_launcher();
  if (!shown.starts_with("/dev/")) return 0;
  const int descriptor = ::open(shown.c_str(), O_RDONLY | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) return 0;
  const int width = width_of(descriptor);
  ::close(descriptor);
  return width;
}

}  // namespace onebit::host
