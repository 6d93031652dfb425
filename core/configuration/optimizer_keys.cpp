// SPDX-License-Identifier: Apache-2.0
// Exempt tensors and parameter groups: read from the manifest, and found in a model by name.
#include "configuration/optimizer_keys.hpp"

#include <algorithm>

#include "loading/first_sizes.hpp"
#include "manifest/name_pattern.hpp"
#include "manifest/refuse.hpp"
#include "manifest/toml_reader.hpp"

namespace onebit {
namespace {

constexpr int64_t most_patterns = 1024;

onebit_schema patterns_option(const char* key, const char* fallback, const char* help) {
  onebit_schema schema = text_option(key, fallback, "", help);
  schema.array_max = most_patterns;
  return schema;
}

std::vector<Pattern> patterns_of(const Settings& settings, std::string_view key) {
  std::vector<Pattern> patterns;
  const auto found = settings.find(key);
  if (found == settings.end()) return patterns;
  const Setting& setting = found->second;
  if (const auto* texts = std::get_if<std::vector<std::string>>(&setting.value))
    for (size_t i = 0; i < texts->size(); ++i)
      patterns.push_back({(*texts)[i], i < setting.elements.size() ? setting.elements[i] : setting.where});
  return patterns;
}

const onebit_schema* find_option(const Selection& optimizer, std::string_view key) {
  for (const onebit_schema* schema : optimizer.component->options)
    if (view(schema->key) == key) return schema;
  return nullptr;
}

TensorGroup read_group(const SettingTable& table, const Selection& optimizer) {
  const onebit_schema tensors = patterns_option(
      "tensors", "", "name patterns of the tensors in this group; a tensor belongs to the first group that matches");
  std::vector<const onebit_schema*> schema = {&tensors};
  const std::string_view keys[] = {"lr", "weight_decay"};
  onebit_schema options[std::size(keys)];
  std::string fallbacks[std::size(keys)];  // what a group leaves out is the optimizer's
  for (size_t i = 0; i < std::size(keys); ++i) {
    const onebit_schema* own = find_option(optimizer, keys[i]);
    const auto setting = table.settings.find(keys[i]);
    if (own == nullptr && setting != table.settings.end())
      refuse(setting->second.key, "optimizer.group." + std::string(keys[i]) + ": optimizer '" + optimizer.component->name +
                                      "' has no option '" + std::string(keys[i]) + "' that a group could change");
    if (own == nullptr) continue;
    fallbacks[i] = optimizer.options.text_of(keys[i]);
    options[i] = copied(*own);
    options[i].fallback = str(fallbacks[i]);
    schema.push_back(&options[i]);
  }
  TensorGroup group = {patterns_of(table.settings, "tensors"), ResolvedTable(table, "optimizer.group", schema)};
  if (group.tensors.empty())
    refuse(table.settings.find("tensors")->second.where,
           "optimizer.group.tensors: expected at least one pattern of tensor names, found []");
  return group;
}

// What patterns match in one model, and which match nothing.
class Names {
 public:
  explicit Names(const std::vector<Parameter>& parameters) {
    for (const Parameter& parameter : parameters) names_.push_back(parameter.name);
  }
  // Calls found(tensor) for each tensor that one of the patterns matches. key: for the error where one matches none.
  template <class Found>
  void match(const std::vector<Pattern>& patterns, const char* key, Found found) const {
    for (const Pattern& pattern : patterns) {
      bool any = false;
      for (size_t t = 0; t < names_.size(); ++t) {
        if (!matches(pattern.text, names_[t])) continue;
        any = true;
        found(t);
      }
      if (!any)
        refuse(pattern.where, std::string(key) + ": the pattern " + write_value(pattern.text) +
                                  " matches no tensor of the model" + nearest_names(pattern.text, names_));
    }
  }

 private:
  std::vector<std::string_view> names_;
};

}  // namespace

ExemptTensors read_exempt(const Manifest& manifest) {
  static const onebit_schema dense =
      patterns_option("dense", "[]", "name patterns of the tensors that are exempt from compression, such as \"*.bias\"");
  SettingTable own = {manifest.where("optimizer"), {}};
  const Settings& all = manifest.table("optimizer");
  if (const auto found = all.find("dense"); found != all.end()) own.settings.insert(*found);
  return {patterns_of(own.settings, "dense"), ResolvedTable(own, "optimizer", {&dense})};
}

std::vector<TensorGroup> read_groups(const Manifest& manifest, const Selection& optimizer) {
  std::vector<TensorGroup> groups;
  for (const SettingTable& table : manifest.groups()) groups.push_back(read_group(table, optimizer));
  return groups;
}

std::string written(const ExemptTensors& exempt, const std::vector<TensorGroup>& groups, bool with_help) {
  std::string text = exempt.options.to_toml(with_help);
  for (const TensorGroup& group : groups) {
    text += "\n[[optimizer.group]]\n" + group.options.to_toml(with_help);
    with_help = false;  // once is enough: there may be as many groups as tensors
  }
  return text;
}

std::vector<TensorRole> roles_of(const Configuration& configuration, const std::vector<Parameter>& parameters) {
  const Names names(parameters);
  std::vector<TensorRole> roles(parameters.size());
  names.match(configuration.exempt.tensors, "optimizer.dense", [&](size_t t) { roles[t].exempt = true; });
  int64_t number = 0;
  for (const TensorGroup& group : configuration.groups) {
    ++number;
    int64_t won = 0, taken = 0;  // taken: the group that has the last one that was not won
    names.match(group.tensors, "optimizer.group.tensors", [&](size_t t) {
      if (roles[t].group == 0) roles[t].group = number;
      (roles[t].group == number ? won : taken) = roles[t].group;
    });
    if (won == 0)
      refuse(group.tensors.front().where,
             "optimizer.group.tensors: group " + std::to_string(number) +
                 " gets no tensor: those that it matches belong to earlier groups, such as group " + std::to_string(taken) +
                 "; move this group before them, or leave it out");
  }
  return roles;
}

}  // namespace onebit
