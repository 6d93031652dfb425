// SPDX-License-Identifier: Apache-2.0
// The training loop of one rank.
#include "training/rank_training.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <csignal>

#include "launch/gathering.hpp"
#include "launch/interrupt.hpp"
#include "onebit/error.hpp"

namespace onebit::host {
namespace {

constexpr double kSmoothing = 0.05;  // of the loss that the progress line shows between entries of the log
// How often ranks ask each other whether to stop: a launcher that was told to stop gives its processes a second.
constexpr double kVoteSeconds = 0.25;

}  // namespace

RankTraining::RankTraining(const TrainSettings& settings, const DataSet& data, Model& model, Session& session, TrainLog* log)
    : settings_(settings),
      dealing_(settings, data.train->count(), session.size()),
      model_(model),
      session_(session),
      log_(log),
      feed_(data.train->feed()),
      evaluation_(data, model, session),
      test_count_(data.test->count()) {
  for (const Parameter& parameter : model.parameters()) parameters_ += elements_of(parameter);
  session_.set_gradient_scale(1 / static_cast<double>(settings.accumulate));
}

RankOutcome RankTraining::run() {
  require_same_run();
  for (int64_t epoch = 0; epoch < settings_.epochs && !stop_; ++epoch) {
    train_epoch(epoch);
    end_epoch();
  }
  const Session::AtAnchor shared(session_);
  RankOutcome outcome;
  if (!stop_) outcome.test = test_;
  outcome.train_loss = train_loss_;
  outcome.seconds = trained_.seconds();
  outcome.signal = signal_;
  outcome.failure = failure();
  outcome.parameter_hash = session_.parameter_hash();
  outcome.traffic = session_.traffic();
  outcome.timings = timings_;
  require_same_model(outcome.parameter_hash);
  return outcome;
}

// Collective: a local step is skipped by a rank alone.
std::string RankTraining::failure() {
  uint64_t most = 0, last = 0;
  for (const uint64_t skipped :
       numbers_of_ranks(session_.communicator(), 2 * static_cast<uint64_t>(skipped_) + last_skipped_)) {
    most = std::max(most, skipped / 2);
    last |= skipped % 2;
  }
  if (last != 0 || 2 * most > static_cast<uint64_t>(taken_))
    return fmt::format("{} of {} steps were skipped{}", most, taken_, last != 0 ? ", the last one among them" : "");
  return !test_ || std::isfinite(test_->loss) ? "" : "the loss on the test set is not finite";
}

// [train] is not the session's concern, so its ranks may differ there without a word: processes have a configuration each.
void RankTraining::require_same_run() {
  require_same_lines(session_.communicator(),
                     settings_.common + "samples in use = " + std::to_string(dealing_.samples()) +
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
  dealing_.shuffle(epoch);
  feed_->begin_epoch(Random(settings_.seed, kCutStream + static_cast<uint64_t>(epoch)));
  trained_.start();
  for (int64_t k = 0; k < dealing_.steps_per_epoch() && !stop_; ++k) {
    const bool last = k + 1 == dealing_.steps_per_epoch();
    step(k);
    const bool told = taken_ % settings_.log_every == 0 || last;
    if (told || taken_ == next_vote_) ask_whether_to_stop();
    if (told || stop_) report();
    const bool due = settings_.evaluate_every > 0 && taken_ % settings_.evaluate_every == 0;
    if (!due || last || stop_) continue;  // after the epoch's last step it is done anyway
    trained_.stop();
    evaluate(false, std::nullopt);
    trained_.start();
  }
  trained_.stop();
}

void RankTraining::step(int64_t step_of_epoch) {
  const Stopwatch::Clock::time_point began = Stopwatch::Clock::now();
  const double loss = learn(step_of_epoch);
  const Stopwatch::Clock::time_point learned = Stopwatch::Clock::now();
  // Of steps tried, not committed: a skipped step has used its data, and its place in the schedule.
  session_.set_learning_rate_factor(learning_rate_share(settings_.schedule, taken_, steps()));
  if (taken_ + 1 == steps()) session_.request_sync();  // what local steps have learnt becomes part of the outcome
  session_.step(model_.gradients(), model_.stream());
  const StepReport report = session_.settle();
  timings_.add(report, Stopwatch::between(began, learned), Stopwatch::between(began, Stopwatch::Clock::now()),
               session_.timings());
  note(report, loss);
  if (log_ != nullptr) log_->step(progress(shown_loss_), session_.traffic(), trained_.seconds());
}

// The mean loss of this rank's micro-batches. Their gradients add up; the session divides them by their number.
double RankTraining::learn(int64_t step_of_epoch) {
  double sum = 0;
  for (int64_t micro = 0; micro < settings_.accumulate; ++micro)
    sum += model_.learn(feed_->take(dealing_.micro_batch(step_of_epoch, micro, session_.rank())), micro > 0);
  return sum / static_cast<double>(settings_.accumulate);
}

void RankTraining::note(const StepReport& report, double loss) {
  ++taken_;
  ++window_tried_;
  stage_ = report.compressed ? kCompressed : report.local ? kLocal : kDense;
  last_skipped_ = report.skipped;
  skipped_ += report.skipped ? 1 : 0;
  if (report.skipped) return;
  window_.add(loss);
  epoch_losses_.add(loss);
  shown_loss_ = taken_ == 1 ? loss : shown_loss_ + kSmoothing * (loss - shown_loss_);
}

// A wish to stop is one that all ranks must hear at the same step. The mean of their clocks tells all of them alike when to ask
// again.
void RankTraining::ask_whether_to_stop() {
  const int heard = Interruptible::requested();
  std::vector<double> sums = {heard != 0 ? 1.0 : 0.0, heard == SIGTERM ? 1.0 : 0.0,
                              trained_.seconds() / static_cast<double>(taken_)};
  sum_over_ranks(session_.communicator(), sums);
  stop_ = sums[0] > 0;
  signal_ = !stop_ ? 0 : sums[1] > 0 ? SIGTERM : SIGINT;
  const double seconds_a_step = sums[2] / session_.size();
  next_vote_ = taken_ + std::max<int64_t>(1, static_cast<int64_t>(kVoteSeconds / std::max(seconds_a_step, 1e-9)));
}

// All ranks learn the mean loss since the last report; rank 0 tells it.
void RankTraining::report() {
  const double loss = mean_over_ranks(window_).value_or(NAN);
  const double now = trained_.seconds();
  speed_ = static_cast<double>(window_tried_ * settings_.samples_a_step(session_.size())) / std::max(now - window_began_, 1e-9);
  if (log_ != nullptr) log_->entry({progress(loss), session_.traffic().total(), now, timings_});
  window_ = {};
  window_tried_ = 0;
  window_began_ = now;
}

void RankTraining::end_epoch() {
  const std::optional<double> loss = mean_over_ranks(epoch_losses_);
  if (loss) train_loss_ = loss;
  if (!stop_) evaluate(true, loss);
}

void RankTraining::evaluate(bool epoch_done, std::optional<double> epoch_loss) {
  test_ = evaluation_.run();
  if (log_ == nullptr) return;
  const Traffic traffic = session_.traffic();
  log_->evaluation(
      {taken_, steps(), epoch_ + 1, settings_.epochs, *test_, epoch_done, epoch_loss, traffic.total(), trained_.seconds()});
}

// None when no step was committed, or a loss was not finite. A local step may have been skipped on one rank alone.
std::optional<double> RankTraining::mean_over_ranks(const Losses& losses) {
  std::vector<double> sums = {losses.sum, static_cast<double>(losses.steps)};
  sum_over_ranks(session_.communicator(), sums);
  const double mean = sums[0] / sums[1];
  return std::isfinite(mean) ? std::optional<double>(mean) : std::nullopt;
}

ProgressState RankTraining::progress(double loss) const {
  const Traffic traffic = session_.traffic();
  const bool compressed = stage_ == kCompressed;
  ProgressState state;
  state.epoch = epoch_ + 1;
  state.epochs = settings_.epochs;
  state.step = taken_;
  state.steps = steps();
  state.loss = loss;
  const double per_second = static_cast<double>(taken_) / std::max(trained_.seconds(), 1e-9);
  state.samples_per_second = speed_ > 0 ? speed_ : per_second * static_cast<double>(settings_.samples_a_step(session_.size()));
  state.seconds_left = static_cast<double>(state.steps - taken_) / per_second;
  state.stage = stage_;
  if (stage_ == kLocal) return state;
  state.bits =
      wire_bits(compressed ? traffic.compressed_bytes : traffic.dense_bytes,
                compressed ? traffic.compressed_steps : traffic.dense_steps, parameters_, session_.size(), traffic.sharers);
  return state;
}

}  // namespace onebit::host
