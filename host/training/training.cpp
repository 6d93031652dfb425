// SPDX-License-Identifier: Apache-2.0
// A training run: sessions, and the summary of it all.
#include "training/training.hpp"

#include <fmt/format.h>

#include <cstring>
#include <exception>
#include <set>

#include "launch/gathering.hpp"
#include "training/rank_training.hpp"

namespace onebit::host {
namespace {

// The component's name; its plugin's version goes into versions, under what it is.
std::string note_component(const Selection& selection, std::map<std::string, std::string>& versions) {
  if (selection.component == nullptr) return "";
  versions[std::string(name_of(selection.component->kind))] = selection.plugin->name + " " + selection.plugin->version;
  return selection.component->name;
}

std::string samples_text(const TrainingPlan& plan) {
  const int64_t all = plan.data.train->count(), used = plan.settings.samples == 0 ? all : plan.settings.samples;
  return used == all ? fmt::format("{} samples", all) : fmt::format("{} of {} samples", used, all);
}

std::string opening(const TrainingPlan& plan, int ranks) {
  const Configuration& configuration = plan.configuration;
  const auto* compressor = configuration.compressor.component;
  return fmt::format("{} on {} ({}), {} ranks: optimizer {}, compressor {}, communicator {}", plan.settings.model,
                     plan.settings.data, samples_text(plan), ranks, configuration.optimizer.component->name,
                     compressor == nullptr ? "none" : compressor->name, configuration.communicator.component->name);
}

int count_machines(Communicator& communicator) {
  const std::vector<uint64_t> machines = numbers_of_ranks(communicator, communicator.machine());
  return static_cast<int>(std::set<uint64_t>(machines.begin(), machines.end()).size());
}

// What is known before the first step.
Summary summary_at_start(const TrainingPlan& plan, Model& model, int ranks, int machines) {
  Summary summary;
  const Configuration& configuration = plan.configuration;
  summary.config = plan.name;
  summary.versions = {{"onebit", ONEBIT_VERSION}, {"backend", model.backend()}};
  summary.optimizer = note_component(configuration.optimizer, summary.versions);
  summary.compressor = note_component(configuration.compressor, summary.versions);
  summary.communicator = note_component(configuration.communicator, summary.versions);
  for (const Parameter& parameter : model.parameters()) summary.parameters += elements_of(parameter);
  summary.ranks = ranks;
  summary.machines = machines;
  return summary;
}

Ending ending_of(const RankOutcome& outcome) {
  if (outcome.signal != 0) return Ending::interrupted;
  return outcome.failure.empty() ? Ending::completed : Ending::failed;
}

// A run that was not completed has no result; one that failed has learnt nothing that is worth a figure.
Summary with_outcome(Summary summary, const RankOutcome& outcome) {
  summary.ending = ending_of(outcome);
  summary.signal = outcome.signal;
  summary.reason = outcome.signal != 0 ? "SIG" + std::string(::sigabbrev_np(outcome.signal)) : outcome.failure;
  if (outcome.test && summary.ending == Ending::completed) {
    summary.final_test_loss = outcome.test->loss;
    summary.final_test_accuracy = outcome.test->accuracy;
    summary.final_loss_by_target = outcome.test->by_target;
    summary.final_loss_by_input = outcome.test->by_input;
  }
  if (outcome.failure.empty()) summary.final_train_loss = outcome.train_loss;
  summary.train_seconds = outcome.seconds;
  summary.steps = outcome.traffic.dense_steps + outcome.traffic.compressed_steps + outcome.traffic.local_steps;
  summary.parameter_hash = outcome.parameter_hash;
  summary.last = outcome.last;
  summary.traffic = outcome.traffic;
  summary.timings = outcome.timings.by_stage();
  return summary;
}

Summary train_rank(const TrainingPlan& plan, Model& model, Session& session, TrainLog& log) {
  const bool first = session.rank() == 0;
  const Summary start = summary_at_start(plan, model, session.size(), count_machines(session.communicator()));
  if (first) log.begin(opening(plan, session.size()), start, plan.checkpoints.resume.has_value());
  RankTraining training(plan.settings, plan.checkpoints, plan.data, model, session, first ? &log : nullptr);
  const Summary summary = with_outcome(start, training.run());
  if (first) log.finish(summary);
  return summary;
}

}  // namespace

Summary run_training(const TrainingPlan& plan, const Ranks& ranks, const Models& models, TrainLog& log) {
  std::vector<Summary> summaries(ranks.here());
  try {
    ranks.run(
        plan.registry, plan.configuration, [&](size_t place) { return models.at(place)->parameters(); },
        [&](Session& session, size_t place) { summaries[place] = train_rank(plan, *models[place], session, log); });
  } catch (const std::exception& e) {
    log.fail(e.what());
    throw;
  } catch (...) {
    log.fail("a model threw something that is no std::exception");
    throw;
  }
  return summaries.front();
}

}  // namespace onebit::host
