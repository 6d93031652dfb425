// SPDX-License-Identifier: Apache-2.0
// The checks of what a plugin says of itself.
#include <fmt/format.h>

#include <algorithm>

#include "loading/elf.hpp"
#include "plugin_tools/probe_child.hpp"
#include "plugin_tools/verify_child.hpp"

namespace onebit::host {
namespace {

constexpr std::string_view kEntry = "onebit_plugin_entry_v";

size_t known_size(Kind kind) {
  switch (kind) {
    case Kind::optimizer:
      return sizeof(onebit_optimizer_api);
    case Kind::compressor:
      return sizeof(onebit_compressor_api);
    case Kind::communicator:
      return sizeof(onebit_communicator_api);
    case Kind::device:
      break;
  }
  return 0;
}

// What is wrong with how an option presents itself; that it makes sense, the loader has made sure of.
std::string flaw_of(const onebit_schema& option) {
  const std::string_view help = view(option.help);
  if (help.empty()) return "has no help; say in one line what it is";
  if (std::any_of(help.begin(), help.end(), [](unsigned char c) { return c < ' ' || c == 127; }))
    return "has a help with line breaks or control characters; expected one line";
  return "";
}

}  // namespace

Check check_exports(const std::filesystem::path& file) {
  const ElfLibrary elf(file);
  Check check = {"plugin", "exports", "passed", "the entry and nothing else"};
  if (!elf.has_sections) return {"plugin", "exports", "skipped", "the file is stripped of its section headers"};
  std::vector<std::string> others;
  for (const std::string& symbol : elf.exported)
    if (symbol.compare(0, kEntry.size(), kEntry) != 0) others.push_back(symbol);
  if (others.empty()) return check;
  const size_t shown = std::min<size_t>(others.size(), 3);
  check.outcome = "warning";
  check.text = fmt::format(
      "expected the entry alone, found {} more, such as {}; build with onebit_add_plugin(), or link with a version script",
      others.size(), fmt::join(others.begin(), others.begin() + static_cast<std::ptrdiff_t>(shown), ", "));
  return check;
}

Check check_abi(const PluginInfo& plugin) {
  Check check = {"plugin", "abi", "passed", fmt::format("{}.{}", ONEBIT_ABI_MAJOR, plugin.abi_minor)};
  for (const ComponentInfo& component : plugin.components) {
    const uint64_t size = *static_cast<const uint64_t*>(component.api);
    if (component.kind != Kind::device && size > known_size(component.kind))
      check.text += fmt::format("; {} has {} bytes of functions, {} of which this host does not know", label_of(component),
                                size, size - known_size(component.kind));
  }
  return check;
}

Check check_schema(const ComponentInfo& component) {
  Check check = {label_of(component), "schema", "passed", fmt::format("{} options", component.options.size())};
  for (const onebit_schema* option : component.options)
    if (const std::string flaw = flaw_of(*option); !flaw.empty())
      return {check.subject, check.name, "failed", fmt::format("option '{}' {}", view(option->key), flaw)};
  return check;
}

}  // namespace onebit::host
