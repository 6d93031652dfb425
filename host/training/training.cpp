// SPDX-License-Identifier: Apache-2.0
// A training run: sessions, and the summary of it all.
#include "training/training.hpp"

#include <fmt/format.h>

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

std::string opening(const TrainingPlan& plan, int ranks) {
  const Configuration& configuration = plan.configuration;
  const auto* compressor = configuration.compressor.component;
  return fmt::format("{} on {} ({} samples), {} ranks: optimizer {}, compressor {}, communicator {}", plan.settings.model,
                     plan.settings.data, plan.data.train->count(), ranks, configuration.optimizer.component->name,
                     compressor == nullptr ? "none" : compressor->name, configuration.communicator.component->name);
}

int count_machines(Communicator& communicator) {
  const std::vector<uint64_t> machines = numbers_of_ranks(communicator, communicator.machine());
  return static_cast<int>(std::set<uint64_t>(machines.begin(), machines.end()).size());
}

Summary summary_of(const TrainingPlan& plan, const RankOutcome& outcome, const Model& model) {
  Summary summary;
  const Configuration& configuration = plan.configuration;
  summary.config = plan.name;
  summary.versions = {{"onebit", ONEBIT_VERSION}, {"backend", model.backend()}};
  summary.optimizer = note_component(configuration.optimizer, summary.versions);
  summary.compressor = note_component(configuration.compressor, summary.versions);
  summary.communicator = note_component(configuration.communicator, summary.versions);
  if (outcome.test) summary.final_test_loss = outcome.test->loss;
  if (outcome.test) summary.final_test_accuracy = outcome.test->accuracy;
  summary.final_train_loss = outcome.train_loss;
  summary.train_seconds = outcome.seconds;
  summary.steps = outcome.traffic.dense_steps + outcome.traffic.compressed_steps + outcome.traffic.local_steps;
  summary.interrupted = outcome.interrupted;
  summary.parameter_hash = outcome.parameter_hash;
  summary.traffic = outcome.traffic;
  summary.timings = outcome.timings.by_stage();
  return summary;
}

Summary train_rank(const TrainingPlan& plan, Model& model, Session& session, TrainLog& log) {
  const bool first = session.rank() == 0;
  if (first) log.begin(opening(plan, session.size()));
  const int machines = count_machines(session.communicator());
  RankTraining training(plan.settings, plan.data, model, session, first ? &log : nullptr);
  Summary summary = summary_of(plan, training.run(), model);
  for (const Parameter& parameter : model.parameters()) summary.parameters += elements_of(parameter);
  summary.ranks = session.size();
  summary.machines = machines;
  if (first) log.finish(summary);
  return summary;
}

}  // namespace

Summary run_training(const TrainingPlan& plan, const Ranks& ranks, const Models& models, TrainLog& log) {
  std::vector<Summary> summaries(ranks.here());
  ranks.run(
      plan.registry, plan.configuration, [&](size_t place) { return models.at(place)->parameters(); },
      [&](Session& session, size_t place) { summaries[place] = train_rank(plan, *models[place], session, log); });
  return summaries.front();
}

}  // namespace onebit::host
