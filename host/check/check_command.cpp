// SPDX-License-Identifier: Apache-2.0
// `onebit check CONFIG`: everything validated, nothing run; the resolved configuration and what it will cost.
#include "check/check_command.hpp"

#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "command/loading.hpp"
#include "command/output.hpp"
#include "models/models.hpp"
#include "training/checkpoint_schema.hpp"
#include "training/summary.hpp"
#include "training/train_schema.hpp"

namespace onebit::host {
namespace {

std::string cost_text(const Cost& cost, const std::string& model, int64_t ranks) {
  std::string text = fmt::format("# {}: {} parameters on {} ranks\n", model, cost.parameters, ranks);
  const auto stage = [&](const char* name, double state, uint64_t traffic, uint64_t local) {
    text +=
        fmt::format("#   {:<18} state {:>6.2f} bytes a parameter, traffic {:>12} bytes a step and rank", name, state, traffic);
    text += local > 0 ? fmt::format(", and {} inside its machine\n", local) : "\n";
  };
  stage("dense stage:", cost.dense_state, cost.dense_traffic, cost.dense_local_traffic);
  const bool compressed = cost.compressed_parameters > 0 || ranks == 1;
  if (cost.has_compressed_stage)
    stage(compressed ? "compressed stage:" : "later stage:", cost.compressed_state, cost.compressed_traffic,
          cost.compressed_local_traffic);
  if (cost.has_compressed_stage && !compressed) text += fmt::format("#   nothing is compressed: {}\n", kWhyNothingCompressed);
  text += fmt::format("#   {:<18} state {:>6.2f} bytes a parameter\n", "at the most:", cost.peak_state);
  if (cost.overlap_state > 0)
    text += fmt::format("#   {:<18} state {:>6.2f} bytes a parameter more, and a second agreement (session.overlap)\n",
                        "sent in backward:", cost.overlap_state);
  text += fmt::format("#   {:<18} {} bytes a step and rank\n", "agreement:", cost.agreement_traffic);
  return text + fmt::format("#   {:<18} {} bytes, of which a rank writes, and copies with checkpoint.async, at most {}\n",
                            "a checkpoint:", cost.checkpoint, cost.checkpoint_of_rank);
}

// The first few of the tensors for which chosen(role) holds; nothing when there are none.
template <class Chosen>
std::string tensors_text(const std::vector<Parameter>& tensors, const std::vector<TensorRole>& roles, const std::string& title,
                         Chosen chosen) {
  constexpr int64_t most = 8;
  int64_t count = 0;
  std::string names;
  for (size_t t = 0; t < tensors.size(); ++t)
    if (chosen(roles[t]) && ++count <= most) names += (count > 1 ? ", " : " ") + tensors[t].name;
  if (count == 0) return "";
  if (count > most) names += fmt::format(" and {} more", count - most);
  return fmt::format("#   {:<18}{}\n", title, names);
}

// Which tensors optimizer.dense and [[optimizer.group]] have found.
std::string roles_text(const Configuration& configuration, const std::vector<Parameter>& tensors) {
  const std::vector<TensorRole> roles = roles_of(configuration, tensors);
  std::string text = tensors_text(tensors, roles, "exempt:", [](const TensorRole& role) { return role.exempt; });
  for (int64_t group = 1; group <= static_cast<int64_t>(configuration.groups.size()); ++group)
    text += tensors_text(tensors, roles, fmt::format("group {}:", group),
                         [group](const TensorRole& role) { return role.group == group; });
  return text;
}

// The configuration as a manifest that means the same wherever it lies: the data set's folder, which is relative to the
// manifest, with the manifest's in front. JSON's strings are TOML's, too.
std::string printed(const Loaded& loaded, const Source& source) {
  const std::string folder = TrainSettings(loaded.configuration).data_folder;
  if (folder.empty()) return loaded.configuration.to_toml(true);
  std::vector<std::string> overrides = source.overrides;
  overrides.push_back("train.data_folder=" + nlohmann::json((loaded.manifest.folder() / folder).string()).dump());
  return Configuration(loaded.registry, Manifest::load(source.config, overrides), train_schema(), checkpoint_schema())
      .to_toml(true);
}

constexpr int64_t most_ranks = 4096;  // more than run as threads: the cost is arithmetic

void check(const Source& source, int64_t ranks, int64_t machines, const std::shared_ptr<spdlog::logger>& logger) {
  if (ranks < 1 || ranks > most_ranks)
    throw Error(Code::invalid_argument, fmt::format("--ranks {}: expected a number of ranks from 1 to {}", ranks, most_ranks));
  if (machines < 0 || machines > ranks)
    throw Error(Code::invalid_argument, fmt::format("--machines {}: expected 1 to --ranks {}, or 0", machines, ranks));
  const Loaded loaded(source, logger, train_schema(), checkpoint_schema());
  const Configuration& configuration = loaded.configuration;
  const std::string model = TrainSettings(configuration).model;
  const std::vector<Parameter> tensors = tensors_of(model);
  const Cost cost = cost_of(loaded.registry, configuration, tensors, static_cast<int>(ranks), static_cast<int>(machines));
  print(fmt::format("# {}: valid; hash {:016x}\n", source.config, configuration.hash()) + cost_text(cost, model, ranks) +
        roles_text(configuration, tensors) + "\n" + printed(loaded, source));
}

}  // namespace

void add_check(CLI::App& app, Run& run) {
  struct Options {
    Source source;
    int64_t ranks = 2, machines = 0;
  };
  const auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "check", "Validate a manifest without training; print all options, memory per parameter and traffic per step");
  options->source.add_to(*command);
  command->add_option("--ranks", options->ranks, "Number of ranks for which memory and traffic are computed")
      ->capture_default_str();
  command
      ->add_option("--machines", options->machines,
                   "Number of machines over which the ranks are spread, for exchange.topology = \"hierarchical\"; 0: one "
                   "machine per rank")
      ->capture_default_str();
  command->callback([&run, options] {
    run.chosen = [&run, options] { check(options->source, options->ranks, options->machines, run.logger); };
  });
}

}  // namespace onebit::host
