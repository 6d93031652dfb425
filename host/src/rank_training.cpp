// The training loop of one rank.
#include "rank_training.hpp"

#include <algorithm>
#include <cmath>

#include "interrupt.hpp"
#include "random.hpp"

namespace onebit::host {
namespace {

constexpr int64_t kEvaluationBatch = 500;
constexpr uint64_t kOrderStream = uint64_t{1} << 32;  // the streams below are the initial model's
constexpr double kSmoothing = 0.05;                   // of the loss that the progress line shows between entries of the log

}  // namespace

RankTraining::RankTraining(const TrainSettings& settings, const DataSet& data, Model& model, Session& session, TrainLog* log)
    : settings_(settings),
      dealing_(settings, data.train),
      model_(model),
      session_(session),
      log_(log),
      train_feed_(data.train),
      test_feed_(data.test),
      test_count_(data.test.count),
      first_rate_(session.learning_rate()) {
  for (const Parameter& parameter : model.parameters()) parameters_ += elements_of(parameter);
}

RankOutcome RankTraining::run() {
  RankOutcome outcome;
  for (int64_t epoch = 0; epoch < settings_.epochs && !stop_; ++epoch) {
    train_epoch(epoch);
    const double loss = mean_over_ranks(epoch_losses_);
    if (std::isfinite(loss)) outcome.train_loss = loss;
    if (stop_) break;
    outcome.test_accuracy = evaluate();
    if (log_ != nullptr) log_->epoch(epoch + 1, settings_.epochs, taken_, outcome.train_loss, *outcome.test_accuracy, trained_);
  }
  if (stop_) outcome.test_accuracy.reset();
  outcome.seconds = trained_;
  outcome.interrupted = stop_;
  outcome.parameter_hash = session_.parameter_hash();
  outcome.traffic = session_.traffic();
  return outcome;
}

void RankTraining::train_epoch(int64_t epoch) {
  epoch_ = epoch;
  epoch_losses_ = {};
  epoch_began_ = Clock::now();
  const auto order = shuffled(dealing_.samples, Random(settings_.seed, kOrderStream + static_cast<uint64_t>(epoch)));
  const int64_t ranks = session_.size(), rank = session_.rank();
  for (int64_t k = 0; k < dealing_.steps_per_epoch && !stop_; ++k) {
    step(train_feed_.take(settings_.batch, [&](int64_t i) { return order[(k * settings_.batch + i) * ranks + rank]; }));
    if (taken_ % settings_.log_every == 0 || k + 1 == dealing_.steps_per_epoch) agree();
  }
  trained_ = seconds();
}

void RankTraining::step(const Batch& batch) {
  const double loss = model_.learn(batch);
  session_.set_learning_rate(scheduled_rate());
  const StepReport report = session_.step(model_.gradients());
  ++taken_;
  ++window_tried_;
  stage_ = report.compressed ? "compressed" : "dense";
  if (!report.skipped) {
    window_.add(loss);
    epoch_losses_.add(loss);
    shown_loss_ = taken_ == 1 ? loss : shown_loss_ + kSmoothing * (loss - shown_loss_);
  }
  if (log_ != nullptr) log_->step(progress(shown_loss_));
}

// Of steps tried, not committed: a skipped step has used its data, and its place in the schedule.
double RankTraining::scheduled_rate() const {
  if (settings_.schedule == "constant") return first_rate_;
  return first_rate_ * (1 - static_cast<double>(taken_) / static_cast<double>(steps()));
}

// All ranks learn the mean loss, and whether somebody wants to stop: a wish that each must hear at the same step.
void RankTraining::agree() {
  std::vector<double> sums = {window_.sum, Interruptible::requested() ? 1.0 : 0.0};
  sum_over_ranks(sums);
  const double now = seconds();
  speed_ = static_cast<double>(window_tried_ * settings_.batch * session_.size()) / std::max(now - window_began_, 1e-9);
  const double loss = sums[0] / static_cast<double>(window_.steps * session_.size());
  if (log_ != nullptr) log_->entry({progress(loss), session_.traffic().total(), now});
  stop_ = sums[1] > 0;
  window_ = {};
  window_tried_ = 0;
  window_began_ = now;
}

double RankTraining::evaluate() {
  const int64_t ranks = session_.size(), rank = session_.rank();
  const int64_t share = (test_count_ - rank + ranks - 1) / ranks;
  std::vector<double> correct = {0};
  for (int64_t first = 0; first < share; first += kEvaluationBatch) {
    const int64_t count = std::min(kEvaluationBatch, share - first);
    correct[0] +=
        static_cast<double>(model_.correct(test_feed_.take(count, [&](int64_t i) { return (first + i) * ranks + rank; })));
  }
  sum_over_ranks(correct);
  return correct[0] / static_cast<double>(test_count_);
}

double RankTraining::mean_over_ranks(const Losses& losses) {
  std::vector<double> sum = {losses.sum};
  sum_over_ranks(sum);
  return sum[0] / static_cast<double>(losses.steps * session_.size());  // NaN when there were none
}

void RankTraining::sum_over_ranks(std::vector<double>& values) {
  auto count = static_cast<int64_t>(values.size());
  int64_t stride = 1;
  Tensor tensor = {values.data(), {ONEBIT_DEVICE_CPU, 0}, 1, {ONEBIT_DTYPE_FLOAT, 64, 1}, &count, &stride, 0};
  Communicator& communicator = session_.communicator();
  communicator.wait(communicator.all_reduce(tensor, tensor, ReduceOp::sum, Call()));
}

ProgressState RankTraining::progress(double loss) const {
  const Traffic traffic = session_.traffic();
  const bool compressed = stage_[0] == 'c';
  ProgressState state;
  state.epoch = epoch_ + 1;
  state.epochs = settings_.epochs;
  state.step = taken_;
  state.steps = steps();
  state.loss = loss;
  const double per_second = static_cast<double>(taken_) / std::max(seconds(), 1e-9);
  state.samples_per_second = speed_ > 0 ? speed_ : per_second * static_cast<double>(settings_.batch * session_.size());
  state.seconds_left = static_cast<double>(state.steps - taken_) / per_second;
  state.stage = stage_;
  state.bits = wire_bits(compressed ? traffic.compressed_bytes : traffic.dense_bytes,
                         compressed ? traffic.compressed_steps : traffic.dense_steps, parameters_, session_.size());
  return state;
}

}  // namespace onebit::host
