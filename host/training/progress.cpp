// SPDX-License-Identifier: Apache-2.0
// The progress line.
#include "training/progress.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace onebit::host {
namespace {

constexpr auto kRedraw = std::chrono::milliseconds(100);
constexpr int kBar = 20;

std::string clock_text(double seconds) {
  const auto whole = static_cast<int64_t>(std::ceil(std::max(0.0, seconds)));
  return fmt::format("{}:{:02}", whole / 60, whole % 60);
}

std::string state_text(const ProgressState& s) {
  const std::string bits = s.bits ? fmt::format("  {:.3f} bits", *s.bits) : "";
  return fmt::format("epoch {}/{}  step {}/{}  loss {:.4f}  {:.0f} samples/s  {}{}  ETA {}", s.epoch, s.epochs, s.step, s.steps,
                     s.loss, s.samples_per_second, s.stage, bits, clock_text(s.seconds_left));
}

std::string bar_text(const ProgressState& s) {
  const int64_t done = std::clamp<int64_t>(s.step * kBar / std::max<int64_t>(1, s.steps), 0, kBar);
  return fmt::format("[{}{}] {:3}%", std::string(done, '#'), std::string(kBar - done, '.'),
                     100 * s.step / std::max<int64_t>(1, s.steps));
}

}  // namespace

void Progress::draw(const ProgressState& state) {
  const auto now = std::chrono::steady_clock::now();
  if (!live() || (visible_ && now - drawn_ < kRedraw)) return;
  // One less than the width: a full line would wrap, and the next \r would not reach its beginning.
  const std::string text = (bar_text(state) + "  " + state_text(state)).substr(0, static_cast<size_t>(width_ - 1));
  out_ << '\r' << text << "\x1b[K" << std::flush;
  drawn_ = now;
  visible_ = true;
}

void Progress::line(const ProgressState& state) {
  if (!live()) out_ << state_text(state) << std::endl;
}

void Progress::note(const std::string& text) {
  clear();
  out_ << text << std::endl;
}

void Progress::clear() {
  if (visible_) out_ << "\r\x1b[K" << std::flush;
  visible_ = false;
}

}  // namespace onebit::host
