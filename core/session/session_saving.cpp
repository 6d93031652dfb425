// SPDX-License-Identifier: Apache-2.0
// What a session hands over to be saved, and how it goes on from what was loaded.
#include <algorithm>
#include <memory>
#include <utility>

#include "configuration/dense_order.hpp"
#include "device/ready_memory.hpp"
#include "onebit/manifest.hpp"
#include "planning/rehearsal.hpp"
#include "saving/restore.hpp"
#include "saving/settings.hpp"
#include "session/session_impl.hpp"

namespace onebit {
namespace {

std::vector<PluginFact> plugins_of(const Configuration& configuration) {
  std::vector<PluginFact> plugins;
  for (const Selection* selected : {&configuration.optimizer, &configuration.compressor, &configuration.communicator})
    if (selected->component != nullptr)
      plugins.push_back({std::string(name_of(selected->component->kind)), selected->component->name, selected->plugin->name,
                         selected->plugin->version, selected->plugin->abi_minor});
  return plugins;
}

std::unique_ptr<Compressor> compressor_with(const Registry& registry, const ComponentInfo& component,
                                            const std::string& options) {
  const Manifest manifest = Manifest::parse("[compressor]\nplugin = \"" + component.name + "\"\n" + options,
                                            "the options that a checkpoint was saved with", ".");
  return registry.make_compressor(component, ResolvedTable(manifest, "compressor", component.options, true));
}

}  // namespace

// registry: the session's. layout: lives as long.
RunFacts facts_of_run(const Registry& registry, const Configuration& configuration, const Layout& layout) {
  RunFacts facts = {configuration.compared(), plugins_of(configuration), [](int64_t) { return int64_t{0}; }, {}};
  if (const ComponentInfo* optimizer = rehearsed(registry, *configuration.optimizer.component); optimizer != nullptr)
    facts.freeze_step = [&registry, &layout, optimizer, options = configuration.optimizer.options](int64_t most) {
      const auto made = [&] { return registry.make_optimizer(*optimizer, options, true); };
      return rehearse_freeze(*made(), *made(), layout, most);
    };
  if (const ComponentInfo* compressor = configuration.compressor.component; compressor != nullptr)
    facts.compressor_with = [&registry, compressor](const std::string& options) {
      return compressor_with(registry, *compressor, options);
    };
  return facts;
}

Progress Session::Impl::progress() const {
  Progress now;
  now.next_step = next_step;
  now.frozen_at = frozen_at;
  now.unseen = unseen.total();
  now.learning_rate_factor = learning_rate_factor;
  now.sync_requested = sync_requested;
  now.local_steps = local_steps;
  now.local_hash = local_hash;
  now.skipped_in_a_row = skipped_in_a_row;
  now.first_skipped = first_skipped;
  now.missed = given.missed_steps();
  now.missed_local = missed_local;
  now.steps_without = steps_without;
  now.ever = given.ever();
  now.local = given.local();
  return now;
}

SessionParts Session::Impl::parts() {
  SessionParts all = {host_side(), machines.place(), layout, state, *exchange, compressor.get(), device.get(), meter};
  for (size_t t = 0; t < replicas.parameters().size(); ++t) {
    const Parameter& parameter = replicas.parameters()[t];
    all.tensors.push_back({parameter.name, parameter.shape, dense_order(parameter.shape, parameter.strides).value(),
                           replicas.elements()[t], parameter.data});
  }
  all.apart = apart;
  all.swapped = at_anchor;
  all.progress = progress();
  return all;
}

void Session::Impl::go_on(const Progress& from) {
  next_step = from.next_step;
  frozen_at = from.frozen_at;
  unseen.go_on(from.unseen);
  sync_requested = from.sync_requested;
  local_steps = from.local_steps;
  local_hash = from.local_hash;
  skipped_in_a_row = from.skipped_in_a_row;
  first_skipped = from.first_skipped;
  missed_local = from.missed_local;
  steps_without = from.steps_without;
  given.go_on(from.missed, from.ever, from.local);
  moved = false;
  report = {};
}

Agreed<SaveReport> Session::Impl::save(const std::filesystem::path& root, const SaveOptions& options) {
  settle();
  if (device) device->follow(embedder);
  return saver.save(parts(), facts, root, options);
}

void Session::Impl::note_saved() {
  for (int64_t rank = 0; rank < ballots.count; ++rank)
    if ((ballots[rank].flags & ballot_saved) == 0) return;
  saver.all_have_written();
}

Agreed<LoadReport> Session::Impl::load(const std::filesystem::path& folder, const LoadOptions& options) {
  settle();
  if (device) device->follow(embedder);
  ReadyMemory ready(meter, buffers_to_fill(parts(), options));
  Agreed<std::unique_ptr<Restore>> opened = Restore::open(parts(), facts, folder, options);
  if (const auto* error = std::get_if<Error>(&opened)) return *error;
  Restore& restore = *std::get<std::unique_ptr<Restore>>(opened);
  restore.run();
  replicas.masters().round_all();
  go_on(restore.progress());
  if (restore.with_state()) set_learning_rate_factor(restore.progress().learning_rate_factor);
  apart = restore.apart();
  if (on_device) on_device->read_model();
  return std::move(restore.report());
}

void Session::Impl::require_before_freeze(int64_t number) const {
  if (frozen_at > 0) return;
  const int64_t freeze = facts.freeze_step(number - 1);
  if (freeze == 0) return;
  throw Error(
      Code::invalid_argument,
      "step " + std::to_string(number) + " is beyond " + freeze_told(settings_of(facts.configuration), freeze) +
          ", and this session has not come there: load a checkpoint (Session::load), or replay the steps from the start");
}

SaveReport Session::save(const std::filesystem::path& root, const SaveOptions& options) {
  impl_->require_not_begun("save()");
  return value_of(impl_->guarded([&] { return impl_->save(root, options); }));
}
SaveReport Session::finish_save() {
  impl_->require_not_begun("finish_save()");
  return value_of(impl_->guarded([&] {
    impl_->settle();
    return impl_->saver.finish(impl_->host_side());
  }));
}
LoadReport Session::load(const std::filesystem::path& folder, const LoadOptions& options) {
  impl_->require_not_begun("load()");
  return value_of(impl_->guarded([&] { return impl_->load(folder, options); }));
}

}  // namespace onebit
