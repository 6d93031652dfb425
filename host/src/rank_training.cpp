// The training loop of one rank.
#include "rank_training.hpp"

#include <algorithm>
#include <cmath>

#include "gathering.hpp"
#include "interrupt.hpp"
#include "onebit/error.hpp"
#include "random.hpp"

namespace onebit::host {
namespace {

constexpr int64_t kEvaluationBatch = 500;
constexpr uint64_t kOrderStream = uint64_t{1} << 32;  // the streams below are the initial model's
constexpr double kSmoothing = 0.05;                   // of the loss that the progress line shows between entries of the log
// How often ranks ask each other whether to stop: a launcher that was told to stop gives its processes a second.
constexpr double kVoteSeconds = 0.25;

double seconds_between(std::chrono::steady_clock::time_point begin, std::chrono::steady_clock::time_point end) {
  return std::chrono::duration<double>(end - begin).count();
}

}  // namespace

Dealing::Dealing(const TrainSettings& settings, const Images& train, int ranks)
    : samples(settings.samples == 0 ? train.count : settings.samples), steps_per_epoch(samples / (settings.batch * ranks)) {
  if (samples > train.count)
    throw Error(Code::invalid_argument, "train.samples = " + std::to_string(samples) + ", but the training set has " +
                                            std::to_string(train.count) + " samples");
  if (steps_per_epoch == 0)
    throw Error(Code::invalid_argument, "train.batch = " + std::to_string(settings.batch) + " on " + std::to_string(ranks) +
                                            " ranks takes " + std::to_string(settings.batch * ranks) +
                                            " samples a step, but there are " + std::to_string(samples) +
                                            "; lower train.batch or the number of ranks");
}

RankTraining::RankTraining(const TrainSettings& settings, const DataSet& data, Model& model, Session& session, TrainLog* log)
    : settings_(settings),
      dealing_(settings, data.train, session.size()),
      model_(model),
      session_(session),
      log_(log),
      train_feed_(data.train),
      test_feed_(data.test),
      test_count_(data.test.count) {
  for (const Parameter& parameter : model.parameters()) parameters_ += elements_of(parameter);
}

RankOutcome RankTraining::run() {
  require_same_run();
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
  outcome.timings = timings_;
  require_same_model(outcome.parameter_hash);
  return outcome;
}

// [train] is not the session's concern, so its ranks may differ there without a word: processes have a configuration each.
void RankTraining::require_same_run() {
  require_same_lines(session_.communicator(),
                     settings_.common + "samples in use = " + std::to_string(dealing_.samples) +
                         "\nsamples to test with = " + std::to_string(test_count_) + "\n",
                     "[train]");
}

// The ranks ran apart and met in collectives only; that they hold the same model is what all of this is for.
void RankTraining::require_same_model(uint64_t hash) {
  const std::vector<uint64_t> hashes = numbers_of_ranks(session_.communicator(), hash);
  for (size_t rank = 1; rank < hashes.size(); ++rank)
    if (hashes[rank] != hashes[0])
      throw Error(Code::internal, "rank " + std::to_string(rank) + " ended with other parameters than rank 0");
}

void RankTraining::train_epoch(int64_t epoch) {
  epoch_ = epoch;
  epoch_losses_ = {};
  epoch_began_ = Clock::now();
  const auto order = shuffled(dealing_.samples, Random(settings_.seed, kOrderStream + static_cast<uint64_t>(epoch)));
  const int64_t ranks = session_.size(), rank = session_.rank();
  for (int64_t k = 0; k < dealing_.steps_per_epoch && !stop_; ++k) {
    step(train_feed_.take(settings_.batch, [&](int64_t i) { return order[(k * settings_.batch + i) * ranks + rank]; }));
    const bool told = taken_ % settings_.log_every == 0 || k + 1 == dealing_.steps_per_epoch;
    if (told || taken_ == next_vote_) ask_whether_to_stop();
    if (told || stop_) report();
  }
  trained_ = seconds();
}

void RankTraining::step(const Batch& batch) {
  const Clock::time_point began = Clock::now();
  const double loss = model_.learn(batch);
  const Clock::time_point learned = Clock::now();
  session_.set_learning_rate_factor(scheduled_factor());
  const StepReport report = session_.step(model_.gradients());
  timings_.add(report, seconds_between(began, learned), seconds_between(began, Clock::now()), session_.timings());
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
double RankTraining::scheduled_factor() const {
  if (settings_.schedule == "constant") return 1;
  return 1 - static_cast<double>(taken_) / static_cast<double>(steps());
}

// A wish to stop is one that all ranks must hear at the same step. The mean of their clocks tells all of them alike when to ask
// again.
void RankTraining::ask_whether_to_stop() {
  std::vector<double> sums = {Interruptible::requested() ? 1.0 : 0.0, seconds() / static_cast<double>(taken_)};
  sum_over_ranks(session_.communicator(), sums);
  stop_ = sums[0] > 0;
  const double seconds_a_step = sums[1] / session_.size();
  next_vote_ = taken_ + std::max<int64_t>(1, static_cast<int64_t>(kVoteSeconds / std::max(seconds_a_step, 1e-9)));
}

// All ranks learn the mean loss since the last report; rank 0 tells it.
void RankTraining::report() {
  std::vector<double> sum = {window_.sum};
  sum_over_ranks(session_.communicator(), sum);
  const double now = seconds();
  speed_ = static_cast<double>(window_tried_ * settings_.batch * session_.size()) / std::max(now - window_began_, 1e-9);
  const double loss = sum[0] / static_cast<double>(window_.steps * session_.size());
  if (log_ != nullptr) log_->entry({progress(loss), session_.traffic().total(), now, timings_});
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
  sum_over_ranks(session_.communicator(), correct);
  return correct[0] / static_cast<double>(test_count_);
}

double RankTraining::mean_over_ranks(const Losses& losses) {
  std::vector<double> sum = {losses.sum};
  sum_over_ranks(session_.communicator(), sum);
  return sum[0] / static_cast<double>(losses.steps * session_.size());  // NaN when there were none
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
  state.bits =
      wire_bits(compressed ? traffic.compressed_bytes : traffic.dense_bytes,
                compressed ? traffic.compressed_steps : traffic.dense_steps, parameters_, session_.size(), traffic.sharers);
  return state;
}

}  // namespace onebit::host
