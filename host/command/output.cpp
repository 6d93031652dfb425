// SPDX-License-Identifier: Apache-2.0
// Writing to standard output.
#include "command/output.hpp"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "onebit/error.hpp"

namespace onebit::host {
namespace {

[[noreturn]] void fail_to_print(int trouble) {
  throw Error(Code::unavailable, std::string("standard output cannot be written: ") + std::strerror(trouble), trouble);
}

}  // namespace

int write_fully(int descriptor, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(descriptor, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {  // somebody has made a shared terminal or pipe non-blocking
      pollfd ready = {descriptor, POLLOUT, 0};
      ::poll(&ready, 1, -1);
      continue;
    }
    if (written < 0) return errno;
    text.remove_prefix(static_cast<size_t>(written));
  }
  return 0;
}

void print(std::string_view text) {
  if (const int trouble = write_fully(STDOUT_FILENO, text); trouble != 0) fail_to_print(trouble);
}

void StandardOutput::require_whole() const {
  if (!whole()) fail_to_print(buffer_.trouble);
}

StandardOutput::Buffer::int_type StandardOutput::Buffer::overflow(int_type next) {
  if (next != traits_type::eof()) pending.push_back(traits_type::to_char_type(next));
  return traits_type::not_eof(next);
}

std::streamsize StandardOutput::Buffer::xsputn(const char* text, std::streamsize size) {
  pending.append(text, static_cast<size_t>(size));
  return size;
}

int StandardOutput::Buffer::sync() {
  if (trouble == 0 && !pending.empty()) trouble = write_fully(STDOUT_FILENO, pending);
  pending.clear();
  if (trouble != 0 && !began) fail_to_print(trouble);
  began = true;
  return 0;
}

}  // namespace onebit::host
