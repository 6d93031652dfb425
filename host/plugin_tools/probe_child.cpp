// SPDX-License-Identifier: Apache-2.0
// Loading, making, letting go, each told before it begins.
#include "plugin_tools/probe_child.hpp"

#include <fmt/format.h>

#include "launch/ranks.hpp"
#include "onebit/rendezvous.hpp"
#include "plugin_tools/plugins_command.hpp"

namespace onebit::host {
namespace {

// Why none can be made; "" where one can.
std::string obstacle(const PluginInfo& plugin, const ComponentInfo& component) {
  if (!plugin.unavailable.empty()) return "the plugin is not available here";
  if (component.kind == Kind::device) return "it is the core's own";
  for (const onebit_schema* option : component.options)
    if (option->fallback.size == 0) return fmt::format("its option '{}' has no default", view(option->key));
  return "";
}

// Calls made(object) with one of the component's, which is gone afterwards.
template <class Made>
void with_one(const Registry& registry, const ComponentInfo& component, const Made& made) {
  const ResolvedTable options(Manifest::parse("", "probe", ""), name_of(component.kind), component.options, true);
  if (component.kind == Kind::optimizer) {
    made(registry.make_optimizer(component, options));
  } else if (component.kind == Kind::compressor) {
    made(registry.make_compressor(component, options));
  } else {
    LocalRendezvous alone(1);
    const bool processes = (component.capabilities & ONEBIT_CAPABILITY_PROCESSES) != 0;
    made(registry.make_communicator(component, options, processes ? no_rendezvous() : alone.at(0)));
  }
}

std::string try_one(Report& report, const Registry& registry, const ComponentInfo& component) {
  report.stage("create of " + label_of(component));
  return report.failure_of([&] {
    with_one(registry, component, [&](auto object) {
      report.stage("destroy of " + label_of(component));
      object.reset();
    });
  });
}

}  // namespace

std::string label_of(const ComponentInfo& component) {
  return fmt::format("{} '{}'", name_of(component.kind), component.name) +
         (component.device == ONEBIT_DEVICE_CPU ? "" : fmt::format(" for {}", device_name(component.device)));
}

void probe_here(Report& report, const std::filesystem::path& file, const std::vector<std::string>& owners,
                const std::shared_ptr<spdlog::logger>& logger) {
  Registry registry(logger);
  trust(registry, owners);
  const PluginInfo* plugin = nullptr;
  const std::string refused =
      report.failure_of([&] { plugin = &registry.load(file, [&report](LoadStage stage) { report.stage(stage); }); });
  if (!refused.empty()) {
    report.tell({{"refused", refused}});
  } else {
    report.tell({{"plugin", json_of(*plugin)}});
    for (const ComponentInfo& component : plugin->components) {
      std::string reason = obstacle(*plugin, component);
      const bool tried = reason.empty();
      if (tried) reason = try_one(report, registry, component);
      report.tell({{"component",
                    {{"kind", name_of(component.kind)},
                     {"name", component.name},
                     {"device", device_name(component.device)},
                     {"created", tried && reason.empty()},
                     {"tried", tried},
                     {"reason", reason}}}});
    }
  }
  report.stage("its shutdown");
}

}  // namespace onebit::host
