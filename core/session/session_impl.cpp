// SPDX-License-Identifier: Apache-2.0
// How a session is put together, and what it tells about itself.
#include "session/session_impl.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "planning/rehearsal.hpp"
#include "planning/setup.hpp"
#include "saving/settings.hpp"

namespace onebit {
namespace {

std::unique_ptr<Device> make_device(const Registry& registry, const Configuration& configuration,
                                    const onebit_rendezvous& rendezvous) {
  const int64_t type = configuration.optimizer.component->device;
  if (type == ONEBIT_DEVICE_CPU) return nullptr;
  return registry.make_device(registry.find(Kind::device, device_name(type), type), rendezvous.local_rank);
}

Group group_of(const ResolvedTable& table) {
  const auto value = [&](const char* key) { return table.text_of(key).empty() ? 0.0 : table.options().real(key); };
  return {value("lr"), value("weight_decay")};
}

std::vector<Group> configured_groups(const Configuration& configuration) {
  std::vector<Group> groups = {group_of(configuration.optimizer.options)};
  for (const TensorGroup& group : configuration.groups) groups.push_back(group_of(group.options));
  return groups;
}

std::unique_ptr<Trace> make_trace(const Registry& registry, const Configuration& configuration, int rank) {
  const std::string_view file = configuration.session.options().text("trace");
  if (file.empty()) return nullptr;
  return std::make_unique<Trace>(registry.traces(), std::filesystem::path(file), rank, Trace::kMost, registry.logger());
}

constexpr const char* same_start = "start every rank with the same manifest, plugins and model";

// What is compared of a configuration, a key each.
std::vector<Fact> facts_of(const Configuration& configuration) {
  std::vector<Fact> facts;
  for (const SettingLine& setting : settings_of(configuration.compared()))
    facts.push_back({setting.heading + " " + setting.key, setting.value});
  return facts;
}

// Collective: ranks that do not belong together are told before they take part in anything else.
Machines find_machines(Agreement& agreement, MeteredCommunicator& communicator, Communicator& host,
                       const Configuration& configuration) {
  const Ballots ballots = agreement.vote({0, configuration.hash(), 0, 0, 0, 1});
  if (!same(ballots))
    agreement.tell_apart(ballots, "its configuration or plugin versions", facts_of(configuration), same_start);
  return {communicator, host, hierarchical(configuration)};
}

}  // namespace

Session::Impl::Impl(const Registry& host, const Configuration& configuration, const onebit_rendezvous& rendezvous,
                    std::vector<Parameter> parameters)
    : registry(host.shared()),
      metrics{host.metrics().add(ONEBIT_METRIC_COUNTER, "session.steps"),
              host.metrics().add(ONEBIT_METRIC_COUNTER, "session.skipped_steps"),
              host.metrics().add(ONEBIT_METRIC_COUNTER, "session.vanished_elements"),
              host.metrics().add(ONEBIT_METRIC_HISTOGRAM, "session.step_seconds"),
              host.metrics().add(ONEBIT_METRIC_HISTOGRAM, "session.wait_seconds")},
      overlap(configuration.session.options().boolean("overlap")),
      clip_norm(configuration.session.options().real("clip_norm")),
      verify_every(configuration.session.options().integer("verify_every")),
      max_skipped(configuration.session.options().integer("max_skipped")),
      configuration_hash(configuration.hash()),
      roles(roles_of(configuration, parameters)),
      device(make_device(host, configuration, rendezvous)),
      meter(device.get()),
      optimizer(make_optimizer(host, configuration)),
      compressor(make_compressor(host, configuration)),
      communicator(
          host.make_communicator(*configuration.communicator.component, configuration.communicator.options, rendezvous)),
      staged(device ? std::make_unique<HostCommunicator>(communicator, *device, meter) : nullptr),
      trace(make_trace(host, configuration, communicator.rank())),
      agreement(communicator, host_side()),
      machines(find_machines(agreement, communicator, host_side(), configuration)),
      replicas(std::move(parameters), communicator, host_side(), meter),
      state(*optimizer, TensorInfos(replicas.parameters(), roles, device.get()).pointers()),
      layout(replicas.elements(),
             layout_options(configuration, compressor.get(), state.whole_tensors(), roles, machines.place(), device.get())),
      workers(device ? 1 : static_cast<int>(configuration.session.options().integer("threads"))),
      scanner(layout.blocks, workers.count()),
      given(layout.elements),
      configured(configured_groups(configuration)),
      groups(configured) {
  (void)rehearse(host, configuration, layout, false);
  int64_t largest_block = 0;
  for (onebit_block& block : layout.blocks) {
    block.group = roles[static_cast<size_t>(block.tensor)].group;
    block.parameter = replicas.parameters()[static_cast<size_t>(block.tensor)].data + block.first;
    largest_block = std::max(largest_block, block.count);
  }
  no_gradient = Buffer(meter, static_cast<size_t>(largest_block) * sizeof(float));
  for (onebit_block& block : layout.blocks) block.gradient = no_gradient.as<float>();
  state.allocate(layout, meter);
  if (device) on_device = std::make_unique<DeviceStep>(*device, layout, state, communicator, meter, groups.size());
  exchange = std::make_unique<Exchange>(
      ExchangeParts{layout, state, *optimizer, compressor.get(), machines.rounds(), workers, meter, machines.inside(),
                    trace.get(), device.get(), on_device ? on_device->blocks() : nullptr, &scanner,
                    ahead_bytes(configuration, layout), wire_type_of(configuration.exchange.options().text("error_dtype")),
                    device || !replicas.masters().any() ? nullptr : &replicas.masters()});
  pointed.assign(replicas.parameters().size(), nullptr);
  facts = facts_of_run(registry, configuration, layout);
}

// Collective: nothing is sent before models are known to be the same.
void Session::Impl::start() {
  if (device) device->follow(nullptr);
  replicas.claim();
  const Ballots models = agreement.vote({0, replicas.model_hash(), 0, 0, 0, 1});
  if (!same(models))
    agreement.tell_apart(models, "the names, shapes or types of its parameters, or their order in memory",
                         replicas.model_facts(), same_start);
  agreement.set_tensors(static_cast<int64_t>(layout.elements.size()));
  replicas.broadcast();
  if (device) device->settle();
}

// What local steps have moved is kept where the anchor was.
void Session::Impl::swap_anchor() {
  if (device) {
    device->follow(embedder);
    device->swap(on_device->blocks(), static_cast<int64_t>(layout.blocks.size()),
                 static_cast<float*>(state.tile_slots()[state.anchor()]));
    replicas.masters().round_all();
    return device->settle();
  }
  float* const anchor = static_cast<float*>(state.tile_slots()[state.anchor()]);
  workers.run(static_cast<int64_t>(layout.blocks.size()), [&](int, int64_t b) {
    const onebit_block& block = layout.blocks[static_cast<size_t>(b)];
    std::swap_ranges(block.parameter, block.parameter + block.count, anchor + block.flat);
    replicas.masters().round(block);
  });
}

Traffic Session::Impl::traffic() const {
  Traffic result = counts;
  if (!machines.place().alone()) {
    result.dense_bytes = machines.rounds().bytes(Stage::dense);
    (compresses() ? result.compressed_bytes : result.dense_bytes) += machines.rounds().bytes(Stage::compressed);
  }
  result.compressed_parameters = layout.coded;
  result.sharers = machines.place().locals;
  result.local_bytes = machines.local_bytes();
  result.agreement_bytes = communicator.bytes(Stage::agreement);
  result.other_bytes = communicator.bytes(Stage::other);
  return result;
}

Timings Session::Impl::all_timings() const {
  Timings result = exchange->timings();
  result.scan += timings.scan;
  result.wait += timings.wait;
  result.checks += timings.checks;
  return result;
}

Footprint Session::Impl::footprint() const {
  Footprint result;
  for (const StateSlot& slot : state.slots())
    if (slot.memory.size() > 0) result.state.push_back({slot.name, slot.memory.size()});
  result.masters = replicas.masters().bytes();
  result.worker_error = exchange->worker_error_bytes();
  result.server_error = exchange->server_error_bytes();
  result.retained = exchange->retained_bytes();
  result.exchange_buffers = exchange->buffer_bytes() + no_gradient.size();
  result.snapshot = saver.snapshot_bytes();
  result.peak = meter.peak();
  return result;
}

}  // namespace onebit
