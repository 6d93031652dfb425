// SPDX-License-Identifier: Apache-2.0
// Evaluating.
#include "training/evaluation.hpp"

#include <algorithm>
#include <numeric>
#include <vector>

#include "launch/gathering.hpp"

namespace onebit::host {
namespace {

constexpr int64_t kBatchAnswers = 512;  // a batch, whatever a sample is: what fits into a cache

// Sums over answers, in one array so that ranks can add theirs up: loss, right ones; then loss and answers of each band of
// targets, and of each band of inputs.
class Tally {
 public:
  explicit Tally(const DataSet& data) : data_(data), sums_(2 + 4 * data.bands.names.size()) {}
  std::vector<double>& sums() { return sums_; }

  void add(const Judgement& judgement, const Batch& batch) {
    sums_[0] += judgement.loss;
    sums_[1] += static_cast<double>(judgement.correct);
    if (data_.bands.names.empty()) return;
    for (size_t i = 0; i < judgement.losses.size(); ++i) {
      add_to(of_targets(batch.targets[i]), static_cast<double>(judgement.losses[i]));
      add_to(of_inputs(batch.symbols[i]), static_cast<double>(judgement.losses[i]));
    }
  }

  TestResult result() const {
    const auto all = static_cast<double>(data_.test->count() * data_.test->answers());
    TestResult result{sums_[0] / all, data_.labelled ? std::optional<double>(sums_[1] / all) : std::nullopt};
    for (size_t band = 0; band < data_.bands.names.size(); ++band) {
      tell(2 + 2 * band, data_.bands.names[band], result.by_target);
      tell(2 + 2 * (data_.bands.names.size() + band), data_.bands.names[band], result.by_input);
    }
    return result;
  }

 private:
  size_t of_targets(int64_t symbol) const { return 2 + 2 * size_t{data_.bands.of_class[static_cast<size_t>(symbol)]}; }
  size_t of_inputs(int64_t symbol) const { return of_targets(symbol) + 2 * data_.bands.names.size(); }
  void add_to(size_t place, double loss) {
    sums_[place] += loss;
    sums_[place + 1] += 1;
  }
  void tell(size_t place, const std::string& name, LossByBand& losses) const {
    if (sums_[place + 1] > 0) losses[name] = sums_[place] / sums_[place + 1];
  }

  const DataSet& data_;
  std::vector<double> sums_;
};

// The batches that are this rank's. Which samples are judged together does not depend on the number of ranks.
void judge_share(const DataSet& data, Model& model, Feed& feed, int64_t rank, int64_t ranks, Tally& tally) {
  const int64_t batch = std::max<int64_t>(1, kBatchAnswers / data.test->answers()), count = data.test->count();
  for (int64_t first = rank * batch; first < count; first += ranks * batch) {
    std::vector<int64_t> samples(static_cast<size_t>(std::min(batch, count - first)));
    std::iota(samples.begin(), samples.end(), first);
    const Batch taken = feed.take(samples);
    tally.add(model.judge(taken), taken);
  }
}

}  // namespace

TestResult evaluate_alone(const DataSet& data, Model& model) {
  Tally tally(data);
  judge_share(data, model, *data.test->feed(), 0, 1, tally);
  return tally.result();
}

Evaluation::Evaluation(const DataSet& data, Model& model, Session& session)
    : data_(data), model_(model), session_(session), feed_(data.test->feed()) {}

TestResult Evaluation::run() {
  const Session::AtAnchor shared(session_);
  Tally tally(data_);
  judge_share(data_, model_, *feed_, session_.rank(), session_.size(), tally);
  sum_over_ranks(session_.communicator(), tally.sums());
  return tally.result();
}

}  // namespace onebit::host
