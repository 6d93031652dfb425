// SPDX-License-Identifier: Apache-2.0
// Validation of a plugin's tables. A component of a kind that this host does not know is left out, for a newer plugin may have
// more to offer; everything else that is wrong refuses the library.
#include "loading/validate.hpp"

#include "device/device.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cstring>
#include <tuple>

#include "loading/first_sizes.hpp"
#include "loading/refuse.hpp"
#include "manifest/schema_text.hpp"

namespace onebit {
namespace {

constexpr uint64_t largest_table = 65536;  // bytes, bytes of text, entries: far beyond any real plugin
constexpr size_t longest_name = 64;

void check_size(uint64_t size, uint64_t required, const std::string& what) {
  if (size < required) refuse(fmt::format("{} has struct_size {}, expected at least {}", what, size, required));
  if (size > largest_table) refuse(fmt::format("{} has struct_size {}, which can't be: at most {}", what, size, largest_table));
}

std::string checked_name(const char* name, const std::string& what) {
  if (name == nullptr) refuse(what + " has no name");
  std::string text(name, strnlen(name, longest_name + 1));
  const bool sound = std::all_of(text.begin(), text.end(),
                                 [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'; });
  if (text.empty()) refuse(what + " has an empty name");
  if (text.size() > longest_name) refuse(fmt::format("{} has a name of more than {} letters", what, longest_name));
  if (!sound) refuse(what + " has the name '" + text + "'; expected lower case letters, digits and '_'");
  return text;
}

std::string checked_text(const char* text, const std::string& what) {
  if (text == nullptr) refuse("the plugin has no " + what);
  return std::string(text, strnlen(text, 256));
}

struct Slot {
  const char* name;
  bool filled;
};

template <class Api>
const Api& checked_api(const onebit_component& component, const std::string& who) {
  const Api& api = *static_cast<const Api*>(component.api);
  check_size(api.struct_size, FirstSize<Api>::value, who + ": its table of functions");
  return api;
}

void check_slots(std::initializer_list<Slot> slots, const std::string& who) {
  for (const Slot& slot : slots)
    if (!slot.filled) refuse(who + ": the required function '" + slot.name + "' is NULL");
}

#define ONEBIT_SLOT(api, slot) \
  { #slot, (api).slot != nullptr }

void check_optimizer(const onebit_component& component, const std::string& who) {
  const auto& api = checked_api<onebit_optimizer_api>(component, who);
  check_slots({ONEBIT_SLOT(api, create), ONEBIT_SLOT(api, destroy), ONEBIT_SLOT(api, declare), ONEBIT_SLOT(api, plan),
               ONEBIT_SLOT(api, produce), ONEBIT_SLOT(api, consume), ONEBIT_SLOT(api, combine), ONEBIT_SLOT(api, apply)},
              who);
}

void check_compressor(const onebit_component& component, const std::string& who) {
  const auto& api = checked_api<onebit_compressor_api>(component, who);
  check_slots({ONEBIT_SLOT(api, create), ONEBIT_SLOT(api, destroy), ONEBIT_SLOT(api, describe), ONEBIT_SLOT(api, payload_size),
               ONEBIT_SLOT(api, measure), ONEBIT_SLOT(api, encode), ONEBIT_SLOT(api, decode)},
              who);
}

void check_communicator(const onebit_component& component, const std::string& who) {
  const auto& api = checked_api<onebit_communicator_api>(component, who);
  check_slots(
      {ONEBIT_SLOT(api, create), ONEBIT_SLOT(api, destroy), ONEBIT_SLOT(api, rank_and_size), ONEBIT_SLOT(api, all_reduce),
       ONEBIT_SLOT(api, all_gather), ONEBIT_SLOT(api, all_to_all), ONEBIT_SLOT(api, broadcast), ONEBIT_SLOT(api, barrier),
       ONEBIT_SLOT(api, test), ONEBIT_SLOT(api, wait), ONEBIT_SLOT(api, split), ONEBIT_SLOT(api, abort)},
      who);
}

#undef ONEBIT_SLOT

void check_option(const onebit_schema& schema, Kind kind, const std::string& who) {
  const std::string_view key = view(schema.key);
  std::string defect = defect_of(schema);
  for (const std::string_view reserved : host_keys(name_of(kind)))
    if (key == reserved) defect = "the key '" + std::string(key) + "' belongs to the host";
  if (!defect.empty()) refuse(who + ": option '" + std::string(key) + "': " + defect);
}

std::vector<const onebit_schema*> checked_options(const onebit_component& component, const std::string& who) {
  if (component.option_count > largest_table) refuse(fmt::format("{} claims {} options", who, component.option_count));
  if (component.option_count > 0 && component.options == nullptr) refuse(who + ": its options are NULL");
  std::vector<const onebit_schema*> options;
  for (size_t i = 0; i < component.option_count; ++i) {
    const onebit_schema* schema = component.options[i];
    if (schema == nullptr) refuse(fmt::format("{}: option {} is NULL", who, i));
    check_size(schema->struct_size, FirstSize<onebit_schema>::value, fmt::format("{}: option {}", who, i));
    for (const onebit_str* text : {&schema->key, &schema->help, &schema->fallback, &schema->choices})
      if (text->size > largest_table || (text->size > 0 && text->data == nullptr))
        refuse(fmt::format("{}: option {} has a text that can't be read", who, i));
    check_option(*schema, static_cast<Kind>(component.kind), who);
    for (const onebit_schema* other : options)
      if (view(other->key) == view(schema->key))
        refuse(who + ": option '" + std::string(view(schema->key)) + "' is there twice");
    options.push_back(schema);
  }
  return options;
}

// Called through a C++ interface: only one that was built with this core will do.
void check_device(const onebit_component& component, const std::string& who) {
  const auto& maker = *static_cast<const DeviceMaker*>(component.api);
  check_size(maker.struct_size, sizeof(DeviceMaker), who);
  if (maker.core_version == nullptr || std::string_view(maker.core_version) != ONEBIT_CORE_VERSION)
    refuse(fmt::format("{} belongs to version {} of the core, this is {}; install both from one build", who,
                       maker.core_version == nullptr ? "?" : maker.core_version, ONEBIT_CORE_VERSION));
}

ComponentInfo checked_component(const onebit_component& component) {
  const Kind kind = static_cast<Kind>(component.kind);
  const std::string what(name_of(kind));
  ComponentInfo info{kind,
                     checked_name(component.name, "a component (" + what + ")"),
                     component.device,
                     {},
                     component.api,
                     component.capabilities};
  const std::string who = what + " '" + info.name + "'";
  if (component.api == nullptr) refuse(who + " has no table of functions");
  info.options = checked_options(component, who);
  if (kind == Kind::optimizer)
    check_optimizer(component, who);
  else if (kind == Kind::compressor)
    check_compressor(component, who);
  else if (kind == Kind::communicator)
    check_communicator(component, who);
  else
    check_device(component, who);
  return info;
}

static_assert(device_kind == static_cast<int64_t>(Kind::device));
bool is_known(int64_t kind) {
  return (kind >= ONEBIT_KIND_OPTIMIZER && kind <= ONEBIT_KIND_COMMUNICATOR) || kind == device_kind;
}

void check_head(const onebit_plugin& plugin) {
  check_size(plugin.struct_size, FirstSize<onebit_plugin>::value, "the plugin's table");
  if (plugin.component_count == 0) refuse("the plugin has no components");
  if (plugin.component_count > largest_table) refuse(fmt::format("the plugin claims {} components", plugin.component_count));
  if (plugin.components == nullptr) refuse("the plugin's components are NULL");
}

}  // namespace

PluginInfo checked_plugin(const onebit_plugin* plugin) {
  check_head(*plugin);
  PluginInfo info;
  info.name = checked_name(plugin->name, "the plugin");
  info.version = checked_text(plugin->version, "version");
  info.toolchain = plugin->toolchain == nullptr ? "" : checked_text(plugin->toolchain, "toolchain");
  info.abi_minor = plugin->abi_minor;
  for (size_t i = 0; i < plugin->component_count; ++i) {
    const onebit_component* component = plugin->components[i];
    if (component == nullptr) refuse(fmt::format("component {} is NULL", i));
    check_size(component->struct_size, FirstSize<onebit_component>::value, fmt::format("component {}", i));
    if (!is_known(component->kind)) continue;
    ComponentInfo made = checked_component(*component);
    for (const ComponentInfo& other : info.components)
      if (std::tie(other.kind, other.name, other.device) == std::tie(made.kind, made.name, made.device))
        refuse(fmt::format("{} '{}' for {} is there twice", name_of(made.kind), made.name, device_name(made.device)));
    info.components.push_back(std::move(made));
  }
  if (info.components.empty()) refuse("the plugin has no components of a kind that this host knows");
  return info;
}

}  // namespace onebit
