// A step, from gradients to the commit.
#include <algorithm>
#include <cmath>
#include <limits>

#include <spdlog/logger.h>
#include <xxhash.h>

#include "float_environment.hpp"
#include "gradient_scan.hpp"
#include "session_impl.hpp"

namespace onebit {
namespace {

bool has_round(const Plan& plan, RoundKind kind) {
  return std::any_of(plan.rounds().begin(), plan.rounds().end(), [&](const Plan::Round& round) { return round.kind == kind; });
}

}  // namespace

StepReport Session::Impl::step(const std::vector<const float*>& gradients) {
  const double waited = all_timings().wait;
  double seconds = 0;
  StepReport report;
  {
    if (trace) trace->enter(next_step);
    const Lap lap(seconds, {trace.get(), "step"});
    report = take_step(gradients);
  }
  registry.metrics().record(report.skipped ? metrics.skipped : metrics.steps, 1);
  registry.metrics().record(metrics.step_seconds, seconds);
  registry.metrics().record(metrics.wait_seconds, all_timings().wait - waited);
  return report;
}

StepReport Session::Impl::take_step(const std::vector<const float*>& gradients) {
  const FloatEnvironment environment;
  point_at(gradients);
  const Step now = {
      sizeof(Step),  next_step,    communicator.rank(), communicator.size(), sync_requested ? uint64_t{ONEBIT_STEP_SYNC} : 0,
      groups.data(), groups.size()};
  plan.clear();
  optimizer->plan(now, totals(), plan);
  StepReport report;
  report.number = next_step;
  report.compressed = has_round(plan, RoundKind::compressed);
  report.local = plan.rounds().size == 0;
  const bool usable = agree(plan, report);
  report.skipped = !usable;
  if (!usable && !report.local) {
    tell_skipped();
    return report;
  }
  skipped_in_a_row = 0;
  state.set_partial_sums(0);
  if (usable) exchange.run(now, plan, applied_scale);
  communicator.enter(Stage::other);  // whatever the embedder sends between steps belongs to no round
  optimizer->combine(now, totals());
  if (plan.apply && usable) exchange.apply(plan);
  commit(plan, report);
  return report;
}

// Once for all ranks, and less and less often while it goes on: at the 1st, 2nd, 4th, 8th ... in a row.
void Session::Impl::tell_skipped() {
  ++counts.skipped_steps;
  ++skipped_in_a_row;
  if (communicator.rank() != 0 || !registry.logger() || (skipped_in_a_row & (skipped_in_a_row - 1)) != 0) return;
  if (beyond_wire.value > 0) {
    registry.logger()->warn(
        "step {}: a gradient of rank {} would be sent as {:g}, and fp16 ends at 65504: all ranks skip it ({} in a row); scale "
        "gradients down (set_gradient_scale, clip_norm), or set exchange.dense_dtype to \"bf16\"",
        next_step, beyond_wire.rank, beyond_wire.value, skipped_in_a_row);
    return;
  }
  registry.logger()->warn("step {}: a gradient is not finite, or larger than 2^55: all ranks skip it ({} in a row)", next_step,
                          skipped_in_a_row);
}

void Session::Impl::point_at(const std::vector<const float*>& gradients) {
  const size_t count = replicas.parameters().size();
  if (gradients.size() != count)
    throw Error(Code::invalid_argument, "step() got " + std::to_string(gradients.size()) + " gradients for " +
                                            std::to_string(count) + " parameters; a missing one is NULL");
  for (size_t t = 0; t < count; ++t) {
    if (gradients[t] == pointed[t] && gradients[t] != nullptr) continue;
    for (int64_t b = layout.first_block[t]; b < layout.first_block[t + 1]; ++b) {
      onebit_block& block = layout.blocks[static_cast<size_t>(b)];
      block.gradient = gradients[t] != nullptr ? gradients[t] + block.first : no_gradient.as<float>();
    }
    pointed[t] = gradients[t];
  }
}

// The one pass over the gradients.
Ballot Session::Impl::scan(const Plan& planned) {
  const Lap lap(timings.scan, {trace.get(), "scan"});
  const bool squares = clip_norm > 0;
  std::fill(worker_largest.begin(), worker_largest.end(), 0.0F);
  workers.run(static_cast<int64_t>(layout.blocks.size()), [&](int worker, int64_t b) {
    const onebit_block& block = layout.blocks[static_cast<size_t>(b)];
    const GradientScan found = scan_gradient(block.gradient, block.count, squares);
    float& largest = worker_largest[static_cast<size_t>(worker)];
    largest = std::max(largest, found.finite ? found.largest : std::numeric_limits<float>::infinity());
    block_squares[static_cast<size_t>(b)] = found.squares;
  });
  Ballot own;
  own.step = next_step;
  own.hash = plan_hash(planned);
  own.largest = *std::max_element(worker_largest.begin(), worker_largest.end());
  if (std::isinf(own.largest)) own.flags |= ballot_not_finite;
  if (missed_local) own.flags |= ballot_missed_local;
  for (const double block : block_squares) own.squares += block;
  return own;
}

const std::vector<Ballot>& Session::Impl::vote(const Ballot& own) {
  const Lap lap(timings.wait, {trace.get(), "agreement"});
  return agreement.vote(own);
}

// Whether this step can be taken. A local step has no agreement: what a rank found is told at the next one.
bool Session::Impl::agree(const Plan& planned, StepReport& report) {
  applied_scale = static_cast<float>(gradient_scale);
  beyond_wire = {};
  const Ballot own = scan(planned);
  const bool usable = (own.flags & ballot_not_finite) == 0;
  if (report.local) {
    missed_local = missed_local || !usable;
    if (usable) clip({own}, report);
    return usable;
  }
  const std::vector<Ballot>& ballots = vote(own);
  require_same(ballots, communicator.rank(), "its plan of this step, learning rate or weight decay");
  missed_local = false;
  for (size_t rank = 0; rank < ballots.size(); ++rank)
    if ((ballots[rank].flags & ballot_missed_local) != 0 && registry.logger())
      registry.logger()->warn("step {}: rank {} skipped a local step since the last round, its gradient was not finite",
                              next_step, rank);
  if (std::any_of(ballots.begin(), ballots.end(), [](const Ballot& b) { return (b.flags & ballot_not_finite) != 0; }))
    return false;
  clip(ballots, report);
  return fits_wire(planned, ballots);
}

// The largest gradient of each rank, as it will be sent: scaled and clipped, it must not round to infinity in fp16. All ranks
// decide this alike, from the ballots.
bool Session::Impl::fits_wire(const Plan& planned, const std::vector<Ballot>& ballots) {
  if (layout.options().dense_type != WireType::fp16 || !has_round(planned, RoundKind::dense)) return true;
  for (size_t rank = 0; rank < ballots.size() && beyond_wire.value == 0; ++rank) {
    const float sent = ballots[rank].largest * std::fabs(applied_scale);
    if (!(sent < fp16_overflow)) beyond_wire = {rank, sent};
  }
  return beyond_wire.value == 0;
}

// Over the ballots of all ranks, or, in a local step, of this one: its own norm is what it knows of the mean.
void Session::Impl::clip(const std::vector<Ballot>& ballots, StepReport& report) {
  if (clip_norm > 0) {
    double squares = 0;
    for (const Ballot& ballot : ballots) squares += ballot.squares;
    report.gradient_norm = std::fabs(gradient_scale) * std::sqrt(squares / static_cast<double>(ballots.size()));
    if (report.gradient_norm > clip_norm) applied_scale = static_cast<float>(gradient_scale * clip_norm / report.gradient_norm);
  }
  report.gradient_scale = applied_scale;
}

void Session::Impl::commit(const Plan& planned, StepReport& report) {
  if (!report.skipped) exchange.commit(planned);
  for (const int32_t slot : planned.releases()) state.release(slot);
  counts.dense_steps += has_round(planned, RoundKind::dense) ? 1 : 0;
  counts.compressed_steps += report.compressed ? 1 : 0;
  counts.local_steps += report.local ? 1 : 0;
  apart = report.local && state.anchor() >= 0;
  sync_requested = sync_requested && report.local;
  if (verify_every > 0 && next_step % verify_every == 0 && !report.local) replicas.verify(next_step);
  ++next_step;
}

uint64_t Session::Impl::plan_hash(const Plan& planned) const {
  uint64_t hash = XXH64(groups.data(), groups.size() * sizeof(Group), configuration_hash);
  for (const Plan::Round& round : planned.rounds()) {
    const int32_t words[] = {static_cast<int32_t>(round.kind), static_cast<int32_t>(round.of), round.retain ? 1 : 0};
    hash = XXH64(words, sizeof words, hash);
  }
  const int32_t words[] = {planned.apply ? 1 : 0, planned.reset_error ? 1 : 0};
  return XXH64(words, sizeof words, hash);
}

Totals Session::Impl::totals() const {
  return {sizeof(Totals),
          static_cast<int64_t>(layout.elements.size()),
          layout.first_block.data(),
          layout.elements.data(),
          state.totals_slots(),
          nullptr,
          nullptr};
}

}  // namespace onebit
