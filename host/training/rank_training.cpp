// SPDX-License-Identifier: Apache-2.0
// The training loop of one rank.
#include "training/rank_training.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <utility>

#include "launch/gathering.hpp"
#include "launch/interrupt.hpp"
#include "onebit/error.hpp"

namespace onebit::host {
namespace {

constexpr double kSmoothing = 0.05;  // of the loss that the progress line shows between entries of the log
// How often ranks ask each other whether to stop: a launcher that was told to stop gives its processes a second.
constexpr double kVoteSeconds = 0.25;

}  // namespace

RankTraining::RankTraining(const TrainSettings& settings, const CheckpointPlan& checkpoints, const DataSet& data, Model& model,
                           Session& session, TrainLog* log)
    : settings_(settings),
      plan_(checkpoints),
      dealing_(settings, data.train->count(), session.size()),
      model_(model),
      session_(session),
      log_(log),
      attached_(model.attach(session)),
      feed_(data.train->feed()),
      evaluation_(data, model, session),
      checkpoints_(checkpoints, session, log),
      test_count_(data.test->count()) {
  for (const Parameter& parameter : model.parameters()) parameters_ += elements_of(parameter);
  model_.set_label_smoothing(settings.label_smoothing);
  session_.set_gradient_scale(1 / static_cast<double>(settings.accumulate));
}

RankOutcome RankTraining::run() {
  require_same_run();
  begin();
  while (run_.epoch < settings_.epochs && !stop_) {
    train_epoch();
    end_epoch();
  }
  RankOutcome outcome = this->outcome();
  if (stop_)
    checkpoints_.finish();
  else
    checkpoints_.save_last(place());
  return outcome;
}

// The model is written whatever is to be said of the run, and before the last checkpoint, which may fail.
RankOutcome RankTraining::outcome() {
  const Session::AtAnchor shared(session_);
  RankOutcome outcome;
  if (!stop_) outcome.test = run_.test;
  outcome.train_loss = run_.train_loss;
  outcome.seconds = trained_.seconds();
  outcome.signal = signal_;
  outcome.failure = failure();
  outcome.parameter_hash = session_.parameter_hash();
  outcome.last = run_.last;
  outcome.traffic = traffic();
  outcome.timings = timings_;
  require_same_model(outcome.parameter_hash);
  if (log_ != nullptr) log_->write_model(model_);
  return outcome;
}

// From the beginning, or from where a checkpoint has it.
void RankTraining::begin() {
  if (auto earlier = checkpoints_.resume(settings_.common)) {
    run_ = std::move(earlier->run);
    own_ = earlier->own;
    trained_.go_on(run_.seconds);
    timings_.go_on(run_.timings, session_.timings());
    traffic_.go_on(run_.traffic, session_.traffic());
  }
  if (log_ != nullptr && plan_.resume) log_->go_on(run_);
  next_vote_ = run_.taken + 1;
  dealing_.shuffle(run_.epoch, run_.samples);
  const int64_t epochs_left = settings_.epochs - run_.epoch;
  steps_ = run_.taken + (epochs_left > 0 ? dealing_.steps_left() + dealing_.steps_per_epoch() * (epochs_left - 1) : 0);
}

// What a checkpoint says of the run as it is now.
RunCheckpoints::Place RankTraining::place() const {
  RunCheckpoints::Place now = {run_, own_};
  now.run.seconds = trained_.seconds();
  now.run.timings = timings_.by_stage();
  now.run.traffic = traffic();
  now.run.settings = settings_.common;
  return now;
}

// Collective: a local step is skipped by a rank alone.
std::string RankTraining::failure() {
  uint64_t most = 0, last = 0;
  for (const uint64_t skipped :
       numbers_of_ranks(session_.communicator(), 2 * static_cast<uint64_t>(own_.skipped) + own_.last_skipped)) {
    most = std::max(most, skipped / 2);
    last |= skipped % 2;
  }
  if (last != 0 || 2 * most > static_cast<uint64_t>(run_.taken))
    return fmt::format("{} of {} steps were skipped{}", most, run_.taken, last != 0 ? ", the last one among them" : "");
  return !run_.test || std::isfinite(run_.test->loss) ? "" : "the loss on the test set is not finite";
}

// [train] and [checkpoint] are not the session's concern, so its ranks may differ there without a word: processes have a
// configuration each.
void RankTraining::require_same_run() {
  require_same_lines(session_.communicator(),
                     settings_.common + "samples in use = " + std::to_string(dealing_.samples()) +
                         "\nsamples to test with = " + std::to_string(test_count_) + "\n",
                     "[train]");
  require_same_lines(session_.communicator(), plan_.common(), "[checkpoint]");
}

// The ranks ran apart and met in collectives only; that they hold the same model is what all of this is for.
void RankTraining::require_same_model(uint64_t hash) {
  const std::vector<uint64_t> hashes = numbers_of_ranks(session_.communicator(), hash);
  for (size_t rank = 1; rank < hashes.size(); ++rank)
    if (hashes[rank] != hashes[0])
      throw Error(Code::internal, "rank " + std::to_string(rank) + " ended with other parameters than rank 0");
}

void RankTraining::train_epoch() {
  dealing_.shuffle(run_.epoch, run_.samples);
  feed_->begin_epoch(Random(settings_.seed, kCutStream + static_cast<uint64_t>(run_.epoch)),
                     2 * (run_.epoch + 1) <= settings_.epochs);
  const int64_t steps = dealing_.steps_left();
  if (run_.samples > 0 && steps > 0) evaluate_if_due();  // a signal, and the checkpoint upon it, came before that
  trained_.start();
  for (int64_t k = 0; k < steps; ++k) {
    const bool last = k + 1 == steps;
    step(k);
    const bool told = run_.taken % settings_.log_every == 0 || last;
    if (told || run_.taken == next_vote_) ask_whether_to_stop();
    if (told) report();
    if (stop_) {
      end_early(told);
      break;
    }
    if (last) break;  // evaluating and saving come with the epoch's end
    trained_.stop();
    evaluate_if_due();
    if (checkpoints_.due(run_.taken)) checkpoints_.save(place());
    trained_.start();
  }
  trained_.stop();
}

// The checkpoint is of a run that was not interrupted, whose log has no line here unless one was due.
void RankTraining::end_early(bool told) {
  trained_.stop();
  if (checkpoints_.on_signal()) checkpoints_.save_last(place());
  if (!told) report();
}

void RankTraining::step(int64_t step_of_epoch) {
  // By the data that lies behind: a skipped step has used its data, and its place in the schedule. Part of a run may have been
  // steps on another number of ranks.
  const int64_t all = dealing_.steps_per_epoch() * settings_.epochs,
                behind = dealing_.steps_per_epoch() * run_.epoch + run_.samples / dealing_.samples_a_step();
  session_.set_learning_rate_factor(learning_rate_share(settings_.schedule, behind, all));
  // What local steps have learnt becomes part of the outcome.
  if (run_.epoch + 1 == settings_.epochs && step_of_epoch + 1 == dealing_.steps_left()) session_.request_sync();
  const Stopwatch::Clock::time_point began = Stopwatch::Clock::now();
  const double loss = learn(step_of_epoch);
  const Stopwatch::Clock::time_point learned = Stopwatch::Clock::now();
  model_.step(session_);
  const StepReport report = session_.settle();
  timings_.add(report, Stopwatch::between(began, learned), Stopwatch::between(began, Stopwatch::Clock::now()),
               session_.timings());
  note(report, loss);
  if (log_ != nullptr) log_->step(progress(run_.shown_loss), traffic(), trained_.seconds());
}

// The mean loss of this rank's micro-batches. Their gradients add up; the session divides them by their number.
double RankTraining::learn(int64_t step_of_epoch) {
  double sum = 0;
  for (int64_t micro = 0; micro < settings_.accumulate; ++micro)
    sum += model_.learn(feed_->take(dealing_.micro_batch(step_of_epoch, micro, session_.rank())), micro > 0,
                        micro + 1 < settings_.accumulate);
  return sum / static_cast<double>(settings_.accumulate);
}

void RankTraining::note(const StepReport& report, double loss) {
  ++run_.taken;
  ++run_.window_tried;
  run_.samples += dealing_.samples_a_step();
  run_.last = report;
  run_.stage = report.compressed ? kCompressed : report.local ? kLocal : kDense;
  own_.last_skipped = report.skipped;
  own_.skipped += report.skipped ? 1 : 0;
  if (report.skipped) return;
  own_.window.add(loss);
  own_.epoch.add(loss);
  run_.shown_loss = run_.taken == 1 ? loss : run_.shown_loss + kSmoothing * (loss - run_.shown_loss);
}

// A wish to stop is one that all ranks must hear at the same step. The mean of their clocks tells all of them alike when to ask
// again.
void RankTraining::ask_whether_to_stop() {
  const int heard = Interruptible::requested();
  std::vector<double> sums = {heard != 0 ? 1.0 : 0.0, heard == SIGTERM ? 1.0 : 0.0,
                              trained_.seconds() / static_cast<double>(run_.taken)};
  sum_over_ranks(session_.communicator(), sums);
  stop_ = sums[0] > 0;
  signal_ = !stop_ ? 0 : sums[1] > 0 ? SIGTERM : SIGINT;
  const double seconds_a_step = sums[2] / session_.size();
  next_vote_ = run_.taken + std::max<int64_t>(1, static_cast<int64_t>(kVoteSeconds / std::max(seconds_a_step, 1e-9)));
}

// All ranks learn the mean loss since the last report; rank 0 tells it.
void RankTraining::report() {
  const double loss = mean_over_ranks(own_.window).value_or(NAN);
  const double now = trained_.seconds();
  run_.speed = static_cast<double>(run_.window_tried * settings_.samples_a_step(session_.size())) /
               std::max(now - run_.window_began, 1e-9);
  if (log_ != nullptr) log_->entry({progress(loss), traffic().total(), now, timings_, run_.last});
  own_.window = {};
  run_.window_tried = 0;
  run_.window_began = now;
}

void RankTraining::end_epoch() {
  const std::optional<double> loss = mean_over_ranks(own_.epoch);
  if (loss) run_.train_loss = loss;
  if (stop_) return;
  evaluate(true, loss);
  ++run_.epoch;
  run_.samples = 0;
  own_.epoch = {};
  if (checkpoints_.due(run_.taken)) checkpoints_.save(place());
}

// Between two steps of an epoch.
void RankTraining::evaluate_if_due() {
  const bool due = settings_.evaluate_every > 0 && run_.taken % settings_.evaluate_every == 0;
  if (due && run_.evaluated != run_.taken) evaluate(false, std::nullopt);
}

void RankTraining::evaluate(bool epoch_done, std::optional<double> epoch_loss) {
  run_.test = evaluation_.run();
  run_.evaluated = run_.taken;
  if (log_ == nullptr) return;
  log_->evaluation({run_.taken, steps_, run_.epoch + 1, settings_.epochs, *run_.test, epoch_done, epoch_loss, traffic().total(),
                    trained_.seconds()});
}

// None when no step was committed, or a loss was not finite. A local step may have been skipped on one rank alone.
std::optional<double> RankTraining::mean_over_ranks(const Losses& losses) {
  std::vector<double> sums = {losses.sum, static_cast<double>(losses.steps)};
  sum_over_ranks(session_.communicator(), sums);
  const double mean = sums[0] / sums[1];
  return std::isfinite(mean) ? std::optional<double>(mean) : std::nullopt;
}

ProgressState RankTraining::progress(double loss) const {
  const Traffic traffic = this->traffic();
  const bool compressed = run_.stage == kCompressed;
  ProgressState state;
  state.epoch = run_.epoch + 1;
  state.epochs = settings_.epochs;
  state.step = run_.taken;
  state.steps = steps_;
  state.loss = loss;
  const double per_second = static_cast<double>(run_.taken) / std::max(trained_.seconds(), 1e-9);
  state.samples_per_second =
      run_.speed > 0 ? run_.speed : per_second * static_cast<double>(settings_.samples_a_step(session_.size()));
  state.seconds_left = static_cast<double>(state.steps - run_.taken) / per_second;
  state.stage = run_.stage.c_str();
  if (run_.stage == kLocal) return state;
  state.bits =
      wire_bits(compressed ? traffic.compressed_bytes : traffic.dense_bytes,
                compressed ? traffic.compressed_steps : traffic.dense_steps, parameters_, session_.size(), traffic.sharers);
  return state;
}

}  // namespace onebit::host
