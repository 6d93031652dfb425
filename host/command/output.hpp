// SPDX-License-Identifier: Apache-2.0
// What the command writes to standard output, so that it is never lost without a word: a full disk is an error with its reason.
#pragma once

#include <ostream>
#include <streambuf>
#include <string>
#include <string_view>

namespace onebit::host {

// Writes all of it, however often the system takes a part only. Answers 0, or the errno of what went wrong.
int write_fully(int descriptor, std::string_view text);

// All of it to standard output. Throws Error(unavailable) with the reason where that can't be done.
void print(std::string_view text);

// For what is told while work goes on, which is not worth to be given up for it. The first write throws Error(unavailable)
// where it fails, for then nothing is lost yet; after that, whatever can't be written is left out, and require_whole() tells.
class StandardOutput {
 public:
  StandardOutput() { stream_.exceptions(std::ios::badbit); }
  std::ostream& stream() { return stream_; }
  bool whole() const { return buffer_.trouble == 0; }
  // Throws Error(unavailable) with the reason where something was left out.
  void require_whole() const;

 private:
  struct Buffer : std::streambuf {
    int_type overflow(int_type next) override;
    std::streamsize xsputn(const char* text, std::streamsize size) override;
    int sync() override;

    std::string pending;
    int trouble = 0;  // errno of the first write that failed
    bool began = false;
  };
  Buffer buffer_;
  std::ostream stream_{&buffer_};
};

}  // namespace onebit::host
