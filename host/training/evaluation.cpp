// SPDX-License-Identifier: Apache-2.0
// Evaluating.
#include "training/evaluation.hpp"

#include <algorithm>
#include <vector>

#include "launch/gathering.hpp"

namespace onebit::host {
namespace {

constexpr int64_t kBatchAnswers = 512;  // a batch, whatever a sample is: what fits into a cache

// Over the samples that are this rank's: loss, and right answers.
std::vector<double> judged_share(Model& model, Feed& feed, int64_t count, int64_t answers, int64_t rank, int64_t ranks) {
  const int64_t batch = std::max<int64_t>(1, kBatchAnswers / answers);
  std::vector<double> sums = {0, 0};
  std::vector<int64_t> samples;
  for (int64_t next = rank; next < count; next += ranks) {
    samples.push_back(next);
    if (static_cast<int64_t>(samples.size()) < batch && next + ranks < count) continue;
    const Judgement judgement = model.judge(feed.take(samples));
    sums[0] += judgement.loss;
    sums[1] += static_cast<double>(judgement.correct);
    samples.clear();
  }
  return sums;
}

TestResult result_of(const std::vector<double>& sums, int64_t all, bool labelled) {
  const auto of_all = static_cast<double>(all);
  return {sums[0] / of_all, labelled ? std::optional<double>(sums[1] / of_all) : std::nullopt};
}

}  // namespace

TestResult evaluate_alone(const DataSet& data, Model& model) {
  const int64_t count = data.test->count(), answers = data.test->answers();
  const std::unique_ptr<Feed> feed = data.test->feed();
  return result_of(judged_share(model, *feed, count, answers, 0, 1), count * answers, data.labelled);
}

Evaluation::Evaluation(const DataSet& data, Model& model, Session& session)
    : model_(model),
      session_(session),
      labelled_(data.labelled),
      count_(data.test->count()),
      answers_(data.test->answers()),
      feed_(data.test->feed()) {}

TestResult Evaluation::run() {
  const Session::AtAnchor shared(session_);
  std::vector<double> sums = judged_share(model_, *feed_, count_, answers_, session_.rank(), session_.size());
  sum_over_ranks(session_.communicator(), sums);
  return result_of(sums, count_ * answers_, labelled_);
}

}  // namespace onebit::host
