// SPDX-License-Identifier: Apache-2.0
// The progress line: redrawn on a terminal, seldom and never wider than it; plain lines elsewhere.
#include "training/progress.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <sstream>

using onebit::host::Progress;
using onebit::host::ProgressState;

namespace {

ProgressState state() {
  ProgressState s;
  s.epoch = 2;
  s.epochs = 4;
  s.step = 50;
  s.steps = 200;
  s.loss = 0.5;
  s.samples_per_second = 12345.6;
  s.seconds_left = 83.2;
  s.stage = "compressed";
  s.bits = 1.0128;
  return s;
}

}  // namespace

TEST_CASE("elsewhere than on a terminal there are plain lines") {
  std::ostringstream out;
  Progress progress(out, 0);
  progress.draw(state());
  CHECK(out.str().empty());
  progress.line(state());
  progress.note("done");
  CHECK(out.str() == "epoch 2/4  step 50/200  loss 0.5000  12346 samples/s  compressed  1.013 bits  ETA 1:24\ndone\n");
}

TEST_CASE("on a terminal one line is redrawn, at most 10 times a second") {
  std::ostringstream out;
  Progress progress(out, 200);
  for (int i = 0; i < 1000; ++i) progress.draw(state());
  const std::string text = out.str();
  CHECK(std::count(text.begin(), text.end(), '\r') <= 10);
  CHECK(text.find("\r[#####...............]  25%  epoch 2/4") == 0);
  CHECK(text.find('\n') == std::string::npos);
  progress.line(state());
  CHECK(out.str() == text);
  progress.note("done");
  CHECK(out.str() == text + "\r\x1b[Kdone\n");
}

TEST_CASE("the line is never wider than the terminal") {
  std::ostringstream out;
  Progress progress(out, 40);
  progress.draw(state());
  const std::string text = out.str();
  CHECK(text.find("\x1b[K") == 1 + 39);
}
