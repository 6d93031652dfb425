// `onebit check CONFIG`: everything validated, nothing run; the resolved configuration and what it will cost.
#include <fmt/core.h>

#include <iostream>

#include "command.hpp"
#include "loading.hpp"
#include "models.hpp"

namespace onebit::host {
namespace {

std::string cost_text(const Cost& cost, const std::string& model, int64_t ranks) {
  std::string text = fmt::format("# {}: {} parameters on {} ranks\n", model, cost.parameters, ranks);
  const auto stage = [&](const char* name, double state, uint64_t traffic) {
    text += fmt::format("#   {:<18} state {:>6.2f} bytes a parameter, traffic {:>12} bytes a step and rank\n", name, state,
                        traffic);
  };
  stage("dense stage:", cost.dense_state, cost.dense_traffic);
  if (cost.has_compressed_stage) stage("compressed stage:", cost.compressed_state, cost.compressed_traffic);
  text += fmt::format("#   {:<18} state {:>6.2f} bytes a parameter\n", "at the most:", cost.peak_state);
  return text + fmt::format("#   {:<18} {} bytes a step and rank\n", "agreement:", cost.agreement_traffic);
}

constexpr int64_t most_ranks = 4096;  // more than run as threads: the cost is arithmetic

void check(const Source& source, int64_t ranks, const std::shared_ptr<spdlog::logger>& logger) {
  if (ranks < 1 || ranks > most_ranks)
    throw Error(Code::invalid_argument, fmt::format("--ranks {}: expected a number of ranks from 1 to {}", ranks, most_ranks));
  const Loaded loaded(source, logger);
  const Configuration& configuration = loaded.configuration;
  const std::string model(configuration.train.options().text("model"));
  const Cost cost = cost_of(loaded.registry, configuration, tensors_of(model), static_cast<int>(ranks));
  std::cout << "# " << source.config << ": valid; hash " << fmt::format("{:016x}", configuration.hash()) << "\n"
            << cost_text(cost, model, ranks) << "\n"
            << configuration.to_toml(true);
}

}  // namespace

void add_check(CLI::App& app, Run& run) {
  struct Options {
    Source source;
    int64_t ranks = 2;
  };
  const auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("check", "Validate a manifest without running it; print what it means and what it costs");
  options->source.add_to(*command);
  command->add_option("--ranks", options->ranks, "The ranks for which the cost is told")->capture_default_str();
  command->callback([&run, options] { run.chosen = [&run, options] { check(options->source, options->ranks, run.logger); }; });
}

}  // namespace onebit::host
