// SPDX-License-Identifier: Apache-2.0
// How a session is put together, and what it tells about itself.
#include "session/session_impl.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "configuration/dense_order.hpp"
#include "saving/settings.hpp"
#include "session/cost.hpp"
#include "session/rehearsal.hpp"

namespace onebit {
namespace {

// The tensors as the optimizer sees them at declare; lives for that call.
class TensorInfos {
 public:
  TensorInfos(const std::vector<Parameter>& parameters, const std::vector<TensorRole>& roles, const Device* device)
      : shapes_(parameters.size()), strides_(parameters.size()) {
    tensors_.reserve(parameters.size());
    infos_.reserve(parameters.size());
    for (size_t t = 0; t < parameters.size(); ++t) {
      const Parameter& parameter = parameters[t];
      shapes_[t] = parameter.shape;
      strides_[t] = parameter.strides.empty() ? row_strides(parameter.shape) : parameter.strides;
      tensors_.push_back({parameter.data,
                          device == nullptr ? onebit_device{ONEBIT_DEVICE_CPU, 0} : device->where(),
                          static_cast<int32_t>(parameter.shape.size()),
                          {ONEBIT_DTYPE_FLOAT, 32, 1},
                          shapes_[t].data(),
                          strides_[t].data(),
                          0});
      infos_.push_back({sizeof(onebit_tensor_info), str(parameter.name), &tensors_[t], roles[t].group,
                        roles[t].exempt ? uint64_t{ONEBIT_TENSOR_DENSE} : 0});
      pointers_.push_back(&infos_[t]);
    }
  }
  const std::vector<const onebit_tensor_info*>& pointers() const { return pointers_; }

 private:
  std::vector<std::vector<int64_t>> shapes_, strides_;
  std::vector<onebit_tensor> tensors_;
  std::vector<onebit_tensor_info> infos_;
  std::vector<const onebit_tensor_info*> pointers_;
};

std::unique_ptr<Compressor> make_compressor(const Registry& registry, const Configuration& configuration) {
  if (configuration.compressor.component == nullptr) return nullptr;
  return registry.make_compressor(*configuration.compressor.component, configuration.compressor.options);
}

std::unique_ptr<Device> make_device(const Registry& registry, const Configuration& configuration,
                                    const onebit_rendezvous& rendezvous) {
  const int64_t type = configuration.optimizer.component->device;
  if (type == ONEBIT_DEVICE_CPU) return nullptr;
  return registry.make_device(registry.find(Kind::device, device_name(type), type), rendezvous.local_rank);
}

LayoutOptions layout_options(const Configuration& configuration, const Compressor* compressor, bool whole_tensors,
                             const std::vector<TensorRole>& roles, const Place& place, const Device* device) {
  LayoutOptions options = laid_out_for(place);
  if (device != nullptr) options.tile = device->tile_elements();
  for (const TensorRole& role : roles) options.exempt.push_back(role.exempt);
  options.whole_tensors = whole_tensors;
  options.bucket_bytes = configuration.exchange.options().integer("bucket_bytes");
  if (!place.alone()) options.dense_type = wire_type_of(configuration.exchange.options().text("dense_dtype"));
  options.dense_below = configuration.exchange.options().integer("dense_below");
  if (compressor == nullptr) return options;
  const Codec codec = compressor->describe();
  options.block = codec.block;
  if (place.alone()) return options;
  options.span = codec.span;
  if (options.locals > 1 && options.span != ONEBIT_SPAN_BLOCK)
    throw Error(Code::unsupported,
                "exchange.topology = \"hierarchical\" wants a compressor whose scales are of blocks (for `onebit`: scale = "
                "\"block\"): no rank of a machine has a whole tensor to measure; or set exchange.topology = \"flat\"");
  options.payload_size = [compressor](int64_t count) { return compressor->payload_size(count); };
  return options;
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

std::unique_ptr<Optimizer> make_optimizer(const Registry& registry, const Configuration& configuration) {
  return registry.make_optimizer(*configuration.optimizer.component, configuration.optimizer.options);
}

std::unique_ptr<Trace> make_trace(const Registry& registry, const Configuration& configuration, int rank) {
  const std::string_view file = configuration.session.options().text("trace");
  if (file.empty()) return nullptr;
  return std::make_unique<Trace>(registry.traces(), std::filesystem::path(file), rank, Trace::kMost, registry.logger());
}

// Where it is not set, a quarter of what a dense round sends, and at least one bucket.
int64_t ahead_bytes(const Configuration& configuration, const Layout& layout) {
  const int64_t set = configuration.exchange.options().integer("ahead_bytes");
  int64_t whole = 0;
  for (const Bucket& bucket : layout.buckets) whole += bucket.dense.bytes;
  return set >= 0 || layout.buckets.empty() ? set : std::max(whole / 4, layout.buckets.back().dense.bytes);
}

bool hierarchical(const Configuration& configuration) {
  return configuration.exchange.options().text("topology") == "hierarchical";
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

Rehearsal rehearse_fresh(const Registry& registry, const Configuration& configuration, const Layout& layout, bool whole) {
  const ComponentInfo* component = rehearsed(registry, *configuration.optimizer.component);
  if (component == nullptr) return {};
  const Rehearsal result = rehearse(*registry.make_optimizer(*component, configuration.optimizer.options, true), layout, whole);
  if (result.first_compressed > 0 && configuration.compressor.component == nullptr)
    throw Error(Code::invalid_argument, "optimizer '" + component->name +
                                            "' has a compressed stage, but no compressor is configured: add a table "
                                            "[compressor] with plugin = \"onebit\"");
  return result;
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
      replicas(std::move(parameters), communicator, host_side(), device.get()),
      state(*optimizer, TensorInfos(replicas.parameters(), roles, device.get()).pointers()),
      layout(replicas.elements(),
             layout_options(configuration, compressor.get(), state.whole_tensors(), roles, machines.place(), device.get())),
      workers(device ? 1 : static_cast<int>(configuration.session.options().integer("threads"))),
      scanner(layout.blocks, workers.count()),
      given(layout.elements),
      configured(configured_groups(configuration)),
      groups(configured) {
  (void)rehearse_fresh(host, configuration, layout, false);
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
                    ahead_bytes(configuration, layout), wire_type_of(configuration.exchange.options().text("error_dtype"))});
  pointed.assign(replicas.parameters().size(), nullptr);
  facts = facts_of_run(registry, configuration, layout);
}

// Collective: nothing is sent before models are known to be the same.
void Session::Impl::start() {
  replicas.claim();
  const Ballots models = agreement.vote({0, replicas.model_hash(), 0, 0, 0, 1});
  if (!same(models))
    agreement.tell_apart(models, "the names or shapes of its parameters, or their order in memory", replicas.model_facts(),
                         same_start);
  agreement.set_tensors(static_cast<int64_t>(layout.elements.size()));
  replicas.broadcast();
}

// What local steps have moved is kept where the anchor was.
void Session::Impl::swap_anchor() {
  if (device) {
    device->follow(embedder);
    device->swap(on_device->blocks(), static_cast<int64_t>(layout.blocks.size()),
                 static_cast<float*>(state.tile_slots()[state.anchor()]));
    return device->settle();
  }
  float* const anchor = static_cast<float*>(state.tile_slots()[state.anchor()]);
  workers.run(static_cast<int64_t>(layout.blocks.size()), [&](int, int64_t b) {
    const onebit_block& block = layout.blocks[static_cast<size_t>(b)];
    std::swap_ranges(block.parameter, block.parameter + block.count, anchor + block.flat);
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
  result.worker_error = exchange->worker_error_bytes();
  result.server_error = exchange->server_error_bytes();
  result.retained = exchange->retained_bytes();
  result.exchange_buffers = exchange->buffer_bytes() + no_gradient.size();
  result.snapshot = saver.snapshot_bytes();
  result.peak = meter.peak();
  return result;
}

Cost cost_of(const Registry& registry, const Configuration& configuration, const std::vector<Parameter>& parameters, int ranks,
             int machines) {
  const FloatEnvironment environment;
  if (ranks < 1) throw Error(Code::invalid_argument, "a cost is of at least 1 rank, found " + std::to_string(ranks));
  if (machines == 0 || !hierarchical(configuration)) machines = ranks;
  if (machines < 0 || ranks % machines != 0)
    throw Error(Code::invalid_argument, "a cost is of equally many ranks on every machine, found " + std::to_string(ranks) +
                                            " ranks on " + std::to_string(machines) + " machines");
  const Place place = {0, machines, 0, ranks / machines};
  std::vector<int64_t> elements;
  for (const Parameter& parameter : parameters) {
    elements.push_back(1);
    for (const int64_t extent : parameter.shape) elements.back() *= extent;
  }
  const std::unique_ptr<Optimizer> optimizer = make_optimizer(registry, configuration);
  const std::unique_ptr<Compressor> compressor = make_compressor(registry, configuration);
  const std::vector<TensorRole> roles = roles_of(configuration, parameters);
  const StateStore state(*optimizer, TensorInfos(parameters, roles, nullptr).pointers());
  const Layout layout(elements, layout_options(configuration, compressor.get(), state.whole_tensors(), roles, place, nullptr));
  const Rehearsal plans = rehearse_fresh(registry, configuration, layout, true);
  const Options& session = configuration.session.options();
  const bool overlaps =
      session.boolean("overlap") && !(session.real("clip_norm") > 0) &&
      Exchange::why_never_ahead(layout, configuration.optimizer.component->device != ONEBIT_DEVICE_CPU).empty();
  return price(layout, plans, compressor.get(), place, overlaps ? ahead_bytes(configuration, layout) : -1,
               wire_type_of(configuration.exchange.options().text("error_dtype")));
}

}  // namespace onebit
