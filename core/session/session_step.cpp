// SPDX-License-Identifier: Apache-2.0
// A step, from gradients to the commit.
#include <algorithm>
#include <cmath>
#include <cstdio>

#include <spdlog/logger.h>
#include <xxhash.h>

#include "device/gradient_scan.hpp"
#include "session/session_impl.hpp"

namespace onebit {
namespace {

bool has_round(const Plan& plan, RoundKind kind) {
  return std::any_of(plan.rounds().begin(), plan.rounds().end(), [&](const Plan::Round& round) { return round.kind == kind; });
}

}  // namespace

StepReport Session::Impl::step(const std::vector<const float*>& gradients, void* stream) {
  return timed([&] {
    open_step(stream);
    take_step(gradients);
  });
}

// All that comes before the gradients.
void Session::Impl::open_step(void* stream) {
  if (trace) trace->enter(next_step);
  if (at_anchor)
    throw Error(
        Code::invalid_argument,
        "a step was begun while an AtAnchor lives: the parameters are not this rank's own then; let it go out of scope");
  settle();
  saver.commit(host_side());  // here, where ranks are sure to come in the same order as to collectives of the embedder
  now = step_now();
  plan.clear();
  optimizer->plan(now, on_device ? on_device->host_totals() : totals(), plan);
  for (const int32_t slot : plan.acquires()) state.acquire(slot, layout, meter);
  report = {};
  report.number = next_step;
  report.compressed = has_round(plan, RoundKind::compressed) && compresses();
  report.local = plan.rounds().size == 0;
  report.frozen_at = frozen_at;
  report.unseen = unseen.total();
  terms_of_step = terms();
  groups_of_step = groups;
  sync_of_step = sync_requested;
  embedder = stream;
  is_ahead = false;
}

void Session::Impl::take_step(const std::vector<const float*>& gradients) {
  check(gradients);
  open = true;
  on_device ? step_on_device() : step_on_cpu();
}

void Session::Impl::check(const std::vector<const float*>& gradients) {
  const Lap lap(timings.checks);
  point_at(gradients);
  given.note(gradients);
}

void Session::Impl::find_absent() {
  const Lap lap(timings.checks);
  given.find_absent(ballots);
  if (!on_device) show_absent(given.absent().data());
}

Step Session::Impl::step_now() {
  const onebit_group* const device_groups = on_device ? on_device->update_groups(groups) : nullptr;
  return {sizeof(Step),
          next_step,
          communicator.rank(),
          communicator.size(),
          sync_requested ? uint64_t{ONEBIT_STEP_SYNC} : 0,
          groups.data(),
          groups.size(),
          device_groups,
          given.missed(),
          on_device ? on_device->update_missed(given.missed()) : nullptr};
}

// The same order of work in both, and the same verdict; here it is known before anything is written,
void Session::Impl::step_on_cpu() {
  scan(0, static_cast<int64_t>(layout.blocks.size()));
  const Verdict verdict = agreed();
  if (same(ballots) && verdict.skip == 0) work(opening, totals(), verdict.skip_tiles == 0);
  conclude();
}

// After the agreement, where gradients have been scanned.
Verdict Session::Impl::agreed() {
  ballots = vote(scanned());
  const Verdict verdict = judge(ballots, terms_of_step);
  find_absent();
  scale_of_step = verdict.gradient_scale;
  opening = {&scale_of_step, nullptr, given.any_absent() ? given.absent().data() : nullptr, nullptr};
  return verdict;
}

// and here every kernel asks for it.
void Session::Impl::step_on_device() {
  device->follow(embedder);
  const Opening with = on_device->open(said(), terms_of_step, given.bits(report.local), given.lacking(report.local));
  work(with, on_device->totals(), true);
  leave_device(with.skip);
}

void Session::Impl::leave_device(const int32_t* skip) {
  replicas.masters().round_all(skip);
  on_device->report(exchange->vanished());
  device->lead(embedder);
}

void Session::Impl::work(const Opening& with, const Totals& whole, bool tiles) {
  state.forget_partial_sums();
  if (tiles) exchange->run(now, plan, with);
  second_pass(whole, tiles);
}

void Session::Impl::second_pass(const Totals& whole, bool tiles) {
  communicator.enter(Stage::other);  // whatever the embedder sends between steps belongs to no round
  optimizer->combine(now, whole);
  if (plan.apply && tiles) exchange->apply(plan);
}

void Session::Impl::settle() {
  if (!open || !device) return;
  const Lap lap(timings.wait, {trace.get(), "settle"});
  device->settle();
  ballots = on_device->ballots();
  find_absent();
  conclude();
  std::fill(kept.begin(), kept.end(), nullptr);
}

void Session::Impl::conclude() {
  open = false;
  if (!same(ballots)) tell_apart();
  if (!report.local) compare_moved();
  if (!report.local) note_saved();
  const Verdict verdict = judge(ballots, terms_of_step);
  report.skipped = verdict.skip_tiles != 0;
  report.gradient_norm = verdict.gradient_norm;
  report.gradient_scale = static_cast<double>(verdict.gradient_scale);
  registry.metrics().record(report.skipped ? metrics.skipped : metrics.steps, 1);
  if (!report.local) tell_missed();
  tell_vanished(on_device ? on_device->vanished() : *exchange->vanished());
  missed_local = report.local && (missed_local || report.skipped);
  report.absent = given.absent_count();
  if (clamped_slot >= 0) report.clamped_share = *doubles(on_device ? on_device->host_totals() : totals(), clamped_slot);
  if (verdict.skip != 0) return tell_skipped(verdict);
  skipped_in_a_row = 0;
  commit();
}

void Session::Impl::tell_missed() const {
  for (int64_t rank = 0; rank < ballots.count; ++rank)
    if ((ballots[rank].flags & ballot_missed_local) != 0 && registry.logger())
      registry.logger()->warn("step {}: rank {} skipped a local step since the last round, its gradient was not finite",
                              next_step, rank);
}

// now: all that have vanished so far. Each rank tells of the first, and counts all.
void Session::Impl::tell_vanished(uint64_t now) {
  if (now == vanished) return;
  if (vanished == 0 && registry.logger())
    registry.logger()->warn(
        "step {}: rank {} has rounded {} elements to zero: exchange.dense_dtype has 16 bits, in which nothing below 2^-39 of "
        "the largest in a block of {} (fp16), or below 2^-134 (bf16), can travel; if such elements matter, set it to \"fp32\" "
        "(told once; the metric session.vanished_elements counts them all)",
        report.number, communicator.rank(), now, layout.options().block);
  registry.metrics().record(metrics.vanished, static_cast<double>(now - vanished));
  vanished = now;
}

// Once for all ranks, and less and less often while it goes on: at the 1st, 2nd, 4th, 8th ... in a row. All ranks have skipped
// the same steps, so where there were too many they all end here.
void Session::Impl::tell_skipped(const Verdict& verdict) {
  ++counts.skipped_steps;
  ++skipped_in_a_row;
  if (skipped_in_a_row == 1) first_skipped = "step " + std::to_string(next_step) + ": " + fault_of(verdict);
  const std::string advice = verdict.too_large > 0 ? "scale gradients down (set_gradient_scale, session.clip_norm)"
                                                   : "lower the learning rate, or clip gradients (session.clip_norm)";
  if (max_skipped > 0 && skipped_in_a_row >= max_skipped)
    throw Error(Code::invalid_argument, std::to_string(skipped_in_a_row) +
                                            " steps in a row were skipped (session.max_skipped), "
                                            "the first of them " +
                                            first_skipped + "; " + advice + ", or raise session.max_skipped (0: no limit)");
  if (communicator.rank() != 0 || !registry.logger() || (skipped_in_a_row & (skipped_in_a_row - 1)) != 0) return;
  registry.logger()->warn("step {}: {}: all ranks skip it ({} in a row); {}", next_step, fault_of(verdict), skipped_in_a_row,
                          advice);
}

// What is wrong with which tensor on which rank: the first of those that can't be used, or could not once scaled.
std::string Session::Impl::fault_of(const Verdict& verdict) const {
  const bool scaled = verdict.too_large > 0;
  const auto is_bad = [&](int64_t r) {
    if (!scaled) return (ballots[r].flags & ballot_not_finite) != 0;
    return !(ballots[r].largest * std::fabs(clipped(ballots[r].gradient_scale, terms_of_step, verdict)) <= largest_gradient);
  };
  int64_t rank = 0, found = 0;
  for (int64_t r = ballots.count; r-- > 0;) {
    if (!is_bad(r)) continue;
    rank = r;
    ++found;
  }
  const int64_t tensor = tensor_of(ballots[rank]);
  std::string text =
      tensor < 0 ? "a gradient" : "the gradient of '" + replicas.parameters()[static_cast<size_t>(tensor)].name + "'";
  text += " on rank " + std::to_string(rank);
  if (found > 1) text += " (and some on " + std::to_string(found - 1) + " more)";
  return text + (scaled ? " is larger than 2^55 once scaled" : " is not finite, or larger than 2^55");
}

void Session::Impl::point_at(const std::vector<const float*>& gradients) {
  const size_t count = replicas.parameters().size();
  if (gradients.size() != count)
    throw Error(Code::invalid_argument, "step() got " + std::to_string(gradients.size()) + " gradients for " +
                                            std::to_string(count) + " parameters; a missing one is NULL");
  int64_t first_changed = static_cast<int64_t>(layout.blocks.size()), end_changed = 0;
  for (size_t t = 0; t < count; ++t) {
    if (gradients[t] == pointed[t]) continue;
    point_at(t, gradients[t]);
    first_changed = std::min(first_changed, layout.first_block[t]);
    end_changed = std::max(end_changed, layout.first_block[t + 1]);
  }
  if (on_device) on_device->update_blocks(static_cast<size_t>(first_changed), static_cast<size_t>(end_changed));
}

void Session::Impl::point_at(size_t tensor, const float* gradient) {
  if (gradient == pointed[tensor]) return;
  for (int64_t b = layout.first_block[tensor]; b < layout.first_block[tensor + 1]; ++b) {
    onebit_block& block = layout.blocks[static_cast<size_t>(b)];
    block.gradient = gradient != nullptr ? gradient + block.first : no_gradient.as<float>();
  }
  pointed[tensor] = gradient;
}

// What a rank says before it has looked at its gradients.
Ballot Session::Impl::said() const {
  Ballot own;
  own.step = next_step;
  own.hash = plan_hash();
  own.flags = (missed_local ? ballot_missed_local : 0) | (sync_of_step ? ballot_asked_for_sync : 0) |
              (moved ? ballot_moved : 0) | (saver.written() ? ballot_saved : 0) | (is_ahead ? ballot_begun : 0);
  own.gradient_scale = gradient_scale;
  return own;
}

Terms Session::Impl::terms() const { return {gradient_scale, clip_norm, report.local ? 1 : 0}; }

// The one pass over the gradients of these blocks; some are looked at as they come instead.
void Session::Impl::scan(int64_t first, int64_t count) {
  const Lap lap(timings.scan, {trace.get(), "scan"});
  if (!is_ahead) scanner.begin(clip_norm > 0);
  workers.run(count, [&](int worker, int64_t b) { scanner.scan(worker, first + b); });
}

Ballot Session::Impl::scanned() {
  Ballot own = said();
  scanner.tell(own);
  return own;
}

// In a local step a rank has its own only.
Ballots Session::Impl::vote(const Ballot& own) {
  const std::vector<uint64_t>& bits = given.bits(report.local);
  if (report.local) return agreement.alone(own, bits.data());
  const Lap lap(timings.wait, {trace.get(), "agreement"});
  return agreement.vote(own, bits.data());
}

void Session::Impl::commit() {
  if (!report.skipped) exchange->commit(plan, given.any_absent() ? given.absent().data() : nullptr);
  if (plan.freezes) freeze();  // before what it counts may be released
  for (const int32_t slot : plan.releases()) state.release(slot);
  if (device && plan.releases().size > 0) device->settle();  // so that the memory is free, once or twice in a run
  counts.dense_steps += report.compressed || report.local ? 0 : 1;
  counts.compressed_steps += report.compressed ? 1 : 0;
  counts.local_steps += report.local ? 1 : 0;
  apart = report.local && state.anchor() >= 0;
  sync_requested = sync_requested && report.local;
  tell_absent();
  given.commit(report.local, !report.skipped);
  local_steps = report.local ? local_steps + 1 : 0;
  local_hash = report.local ? plan_hash() + static_cast<uint64_t>(report.number) : 0;
  if (verify_every > 0 && next_step % verify_every == 0 && !report.local) replicas.verify(next_step);
  ++next_step;
}

uint64_t Session::Impl::plan_hash() const {
  uint64_t hash = XXH64(groups_of_step.data(), groups_of_step.size() * sizeof(Group), configuration_hash);
  for (const Plan::Round& round : plan.rounds()) {
    const int32_t words[] = {static_cast<int32_t>(round.kind), static_cast<int32_t>(round.of), round.retain ? 1 : 0};
    hash = XXH64(words, sizeof words, hash);
  }
  const int32_t words[] = {plan.apply ? 1 : 0, plan.reset_error ? 1 : 0, plan.freezes ? 1 : 0, sync_of_step ? 1 : 0,
                           is_ahead ? 1 : 0};
  hash = XXH64(words, sizeof words, hash);
  const uint64_t before[] = {static_cast<uint64_t>(local_steps), local_hash};
  return local_steps > 0 ? XXH64(before, sizeof before, hash) : hash;
}

Totals Session::Impl::totals() const {
  return {sizeof(Totals),
          static_cast<int64_t>(layout.elements.size()),
          layout.first_block.data(),
          layout.elements.data(),
          layout.flags.data(),
          state.totals_slots(),
          nullptr,
          nullptr};
}

}  // namespace onebit
