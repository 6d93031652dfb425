// SPDX-License-Identifier: Apache-2.0
// What a person sees while a run goes on: one line that is redrawn on a terminal, plain lines elsewhere.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <ostream>
#include <string>

namespace onebit::host {

struct ProgressState {
  int64_t epoch = 1, epochs = 1;  // epoch from 1
  int64_t step = 0, steps = 1;    // of the whole run
  double loss = 0;
  double samples_per_second = 0;
  double seconds_left = 0;
  const char* stage = "dense";  // or "compressed", "local"
  std::optional<double> bits;   // per parameter and direction in this stage so far
};

class Progress {
 public:
  // width: of the terminal in characters; 0: not a terminal.
  Progress(std::ostream& out, int width) : out_(out), width_(width) {}

  bool live() const { return width_ > 0; }
  // Redraws the line, at most 10 times a second. Does nothing elsewhere than on a terminal.
  void draw(const ProgressState& state);
  // The state as a line of its own; nothing on a terminal, which has the other.
  void line(const ProgressState& state);
  // A line that stays, on terminals too.
  void note(const std::string& text);
  // Takes the redrawn line away.
  void clear();

 private:
  std::ostream& out_;
  int width_;
  std::chrono::steady_clock::time_point drawn_{};
  bool visible_ = false;
};

}  // namespace onebit::host
