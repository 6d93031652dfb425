// A training run: models, ranks, sessions, and the summary of it all.
#include "training.hpp"

#include <algorithm>

#include "onebit/error.hpp"
#include "onebit/rendezvous.hpp"
#include "rank_training.hpp"
#include "ranks.hpp"

namespace onebit::host {
namespace {

// The component's name; its plugin's version goes into versions, under what it is.
std::string note_component(const Selection& selection, std::map<std::string, std::string>& versions) {
  if (selection.component == nullptr) return "";
  versions[std::string(name_of(selection.component->kind))] = selection.plugin->name + " " + selection.plugin->version;
  return selection.component->name;
}

Summary summary_of(const Configuration& configuration, const TrainSettings& settings, const std::vector<RankOutcome>& outcomes,
                   Model& model) {
  Summary summary;
  summary.versions = {{"onebit", ONEBIT_VERSION}, {"backend", model.backend()}};
  summary.optimizer = note_component(configuration.optimizer, summary.versions);
  summary.compressor = note_component(configuration.compressor, summary.versions);
  summary.communicator = note_component(configuration.communicator, summary.versions);
  const RankOutcome& first = outcomes.front();
  summary.final_test_accuracy = first.test_accuracy;
  summary.final_train_loss = first.train_loss;
  summary.train_seconds = first.seconds;
  summary.steps = first.traffic.dense_steps + first.traffic.compressed_steps + first.traffic.local_steps;
  for (const Parameter& parameter : model.parameters()) summary.parameters += elements_of(parameter);
  summary.ranks = settings.ranks;
  summary.interrupted = first.interrupted;
  summary.parameter_hash = first.parameter_hash;
  summary.traffic = first.traffic;
  return summary;
}

// The ranks ran apart and met in collectives only; that they hold the same model is what all of this is for.
void check_same(const std::vector<RankOutcome>& outcomes) {
  for (size_t rank = 1; rank < outcomes.size(); ++rank)
    if (outcomes[rank].parameter_hash != outcomes[0].parameter_hash)
      throw Error(Code::internal, "rank " + std::to_string(rank) + " ended with other parameters than rank 0");
}

}  // namespace

Dealing::Dealing(const TrainSettings& settings, const Images& train)
    : samples(settings.samples == 0 ? train.count : settings.samples),
      steps_per_epoch(samples / (settings.batch * settings.ranks)) {
  if (samples > train.count)
    throw Error(Code::invalid_argument, "train.samples = " + std::to_string(samples) + ", but the training set has " +
                                            std::to_string(train.count) + " samples");
  if (steps_per_epoch == 0)
    throw Error(Code::invalid_argument,
                "train.batch = " + std::to_string(settings.batch) + " on " + std::to_string(settings.ranks) + " ranks takes " +
                    std::to_string(settings.batch * settings.ranks) + " samples a step, but there are " +
                    std::to_string(samples) + "; lower train.batch or the number of ranks");
}

Summary run_training(const Registry& registry, const Configuration& configuration, const TrainSettings& settings,
                     const DataSet& data, const ModelMaker& make_model, TrainLog& log) {
  const Dealing checked(settings, data.train);
  std::vector<std::unique_ptr<Model>> models;  // made before any rank runs: what fails here leaves nobody waiting for a peer
  for (int rank = 0; rank < settings.ranks; ++rank) models.push_back(make_model(settings.model, settings.seed));
  std::vector<RankOutcome> outcomes(models.size());
  LocalRendezvous rendezvous(settings.ranks);
  run_ranks(settings.ranks, [&](int rank) {
    Model& model = *models[static_cast<size_t>(rank)];
    Session session(registry, configuration, rendezvous.at(rank), model.parameters());
    try {
      RankTraining training(settings, data, model, session, rank == 0 ? &log : nullptr);
      outcomes[static_cast<size_t>(rank)] = training.run();
    } catch (const std::exception& e) {
      session.communicator().abort("rank " + std::to_string(rank) + " failed: " + e.what());
      throw;
    }
  });
  check_same(outcomes);
  return summary_of(configuration, settings, outcomes, *models.front());
}

}  // namespace onebit::host
