// SPDX-License-Identifier: Apache-2.0
// Evaluating.
#include "training/evaluation.hpp"

#include <algorithm>
#include <vector>

#include "launch/gathering.hpp"

namespace onebit::host {
namespace {

constexpr int64_t kBatchAnswers = 512;  // a batch, whatever a sample is: what fits into a cache

}  // namespace

Evaluation::Evaluation(const DataSet& data, Model& model, Session& session)
    : model_(model),
      session_(session),
      labelled_(data.labelled),
      count_(data.test->count()),
      answers_(data.test->answers()),
      feed_(data.test->feed()) {}

TestResult Evaluation::run() {
  const Session::AtAnchor shared(session_);
  const int64_t ranks = session_.size(), batch = std::max<int64_t>(1, kBatchAnswers / answers_);
  std::vector<double> sums = {0, 0};
  std::vector<int64_t> samples;
  for (int64_t next = session_.rank(); next < count_; next += ranks) {
    samples.push_back(next);
    if (static_cast<int64_t>(samples.size()) < batch && next + ranks < count_) continue;
    const Judgement judgement = model_.judge(feed_->take(samples));
    sums[0] += judgement.loss;
    sums[1] += static_cast<double>(judgement.correct);
    samples.clear();
  }
  sum_over_ranks(session_.communicator(), sums);
  const auto all = static_cast<double>(count_ * answers_);
  return {sums[0] / all, labelled_ ? std::optional<double>(sums[1] / all) : std::nullopt};
}

}  // namespace onebit::host
