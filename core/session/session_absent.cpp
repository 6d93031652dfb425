// SPDX-License-Identifier: Apache-2.0
// What a session makes of tensors without a gradient, and of ranks that do not do the same: what it tells, and shows plugins.
#include <spdlog/fmt/fmt.h>
#include <spdlog/logger.h>

#include <algorithm>

#include "session/session_impl.hpp"

namespace onebit {
namespace {

std::string exact(double value) { return fmt::format("{}", value); }

}  // namespace

// On the CPU, plugins see it as a flag of blocks and totals. It changes rarely.
void Session::Impl::show_absent(const uint64_t* absent) {
  for (size_t t = 0; t < layout.flags.size(); ++t) {
    uint64_t& flags = layout.flags[t];
    const bool is_absent = absent != nullptr && has_bit(absent, static_cast<int64_t>(t));
    const uint64_t now = is_absent ? flags | ONEBIT_TENSOR_ABSENT : flags & ~uint64_t{ONEBIT_TENSOR_ABSENT};
    if (now == flags) continue;
    flags = now;
    for (int64_t b = layout.first_block[t]; b < layout.first_block[t + 1]; ++b)
      layout.blocks[static_cast<size_t>(b)].flags = now;
  }
}

// Once for all ranks, and less and less often while it goes on.
void Session::Impl::tell_absent() {
  steps_without = given.all_absent() ? steps_without + 1 : 0;
  if (steps_without == 0 || communicator.rank() != 0 || !registry.logger() || (steps_without & (steps_without - 1)) != 0)
    return;
  registry.logger()->warn(
      "step {}: {} a gradient of any tensor, so nothing is updated ({} in a row); are gradients computed "
      "before step(), and handed over?",
      report.number, report.local ? "this rank does not have" : "no rank has", steps_without);
}

// What is frozen without a variance is divided by a guess.
void Session::Impl::freeze() {
  unseen.count(state, device.get(), [this](size_t t) {
    const auto tensor = static_cast<int64_t>(t);
    return has_bit(given.absent().data(), tensor) && !given.ever(tensor);
  });
  frozen_at = report.frozen_at = report.number;
  report.unseen = unseen.total();
  const auto level = unseen.has_whole_tensors() ? spdlog::level::warn : spdlog::level::info;
  if (unseen.total() == 0 || communicator.rank() != 0 || !registry.logger() || !registry.logger()->should_log(level)) return;
  registry.logger()->log(
      level,
      "step {} is the last before the variance is frozen, and so many elements have had no gradient until now: {}; what they "
      "learn later they learn with a guessed variance, or not at all where variance_floor is 0; freeze later, or exempt them "
      "from compression (optimizer.dense)",
      report.number, unseen.text([this](size_t t) { return replicas.parameters()[t].name; }));
}

// In the order in which one explains the next.
std::vector<Fact> Session::Impl::facts_of_step() const {
  std::vector<Fact> facts = {{"how it began", is_ahead ? "by begin()" : "by step()"},
                             {"whether a sync was asked for (request_sync)", sync_of_step ? "yes" : "no"}};
  for (size_t g = 0; g < groups_of_step.size(); ++g) {
    const std::string of = groups_of_step.size() == 1 ? "" : fmt::format(" of group {}", g);
    facts.push_back({"the learning rate" + of, exact(groups_of_step[g].learning_rate)});
    facts.push_back({"the weight decay" + of, exact(groups_of_step[g].weight_decay)});
  }
  facts.push_back({"the number of local steps since the last round", std::to_string(local_steps)});
  facts.push_back({"the hash of the numbers, learning rates and sync requests of these", fmt::format("{:016x}", local_hash)});
  std::string rounds;
  for (const Plan::Round& round : plan.rounds())
    rounds +=
        fmt::format("{}{} round of {}{}", rounds.empty() ? "" : ", ", round.kind == RoundKind::dense ? "dense" : "compressed",
                    round.of == Of::gradient ? "the gradient" : "a message", round.retain ? ", kept" : "");
  facts.push_back(
      {"its plan", fmt::format("{}{}{}{}", rounds.empty() ? "a local step" : rounds, plan.apply ? ", second pass" : "",
                               plan.reset_error ? ", errors forgotten" : "", plan.freezes ? ", freeze" : "")});
  return facts;
}

void Session::Impl::tell_apart() {
  agreement.tell_apart(ballots, "what it does in step " + std::to_string(report.number), facts_of_step(),
                       "every rank must set the same learning rate and step, ask for a sync before the same step, call "
                       "step() equally often, and begin() on all ranks or on none");
}

}  // namespace onebit
