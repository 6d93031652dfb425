// SPDX-License-Identifier: Apache-2.0
#include "saving/settings.hpp"

#include <algorithm>
#include <map>
#include <sstream>
#include <utility>

namespace onebit {
namespace {

// "[[optimizer.group]]" names several tables, which are counted.
std::string table_of(const std::string& line, std::map<std::string, int>& seen) {
  const size_t first = line.find_first_not_of('['), end = line.find(']');
  if (first == std::string::npos || end == std::string::npos) return line;
  const std::string name = line.substr(first, end - first);
  return first < 2 ? name : name + " " + std::to_string(++seen[name]);
}

const SettingLine* find_in(const std::vector<SettingLine>& settings, std::string_view table, std::string_view key) {
  const auto found = std::find_if(settings.begin(), settings.end(),
                                  [&](const SettingLine& setting) { return setting.table == table && setting.key == key; });
  return found == settings.end() ? nullptr : &*found;
}

std::string line_of(const SettingLine& setting, const std::string& before, const std::string& now) {
  return setting.table + "." + setting.key + ": " + before + " when it was saved, " + now + " now";
}

// They change no bit.
bool is_indifferent(const SettingLine& setting) {
  return (setting.table == "session" && setting.key == "overlap") ||
         (setting.table == "exchange" && setting.key == "ahead_bytes");
}

}  // namespace

std::vector<SettingLine> settings_of(const std::string& configuration) {
  std::vector<SettingLine> settings;
  std::map<std::string, int> seen;
  std::istringstream lines(configuration);
  std::string heading, table;
  bool goes_on = false;
  for (std::string line; std::getline(lines, line);) {
    const size_t equals = line.find(" = ");
    const bool follows = goes_on || line.rfind("  ", 0) == 0 || line == "]";
    goes_on = !line.empty() && line.back() == '\\';
    if (follows && !settings.empty())
      settings.back().value += line;
    else if (equals != std::string::npos)
      settings.push_back({heading, table, line.substr(0, equals), line.substr(equals + 3)});
    else if (!line.empty()) {
      heading = line;
      table = table_of(line, seen);
    }
  }
  return settings;
}

std::string value_in(const std::vector<SettingLine>& settings, std::string_view table, std::string_view key) {
  const SettingLine* found = find_in(settings, table, key);
  return found == nullptr ? "" : found->value;
}

std::vector<std::string> changed_settings(const std::vector<SettingLine>& before, const std::vector<SettingLine>& now) {
  std::vector<std::string> changed;
  for (const SettingLine& setting : before) {
    const SettingLine* other = find_in(now, setting.table, setting.key);
    if (is_indifferent(setting)) continue;
    if (other == nullptr || other->value != setting.value)
      changed.push_back(line_of(setting, setting.value, other == nullptr ? "absent" : other->value));
  }
  for (const SettingLine& setting : now)
    if (!is_indifferent(setting) && find_in(before, setting.table, setting.key) == nullptr)
      changed.push_back(line_of(setting, "absent", setting.value));
  return changed;
}

std::string freeze_told(const std::vector<SettingLine>& settings, int64_t step) {
  const auto is_it = [&](const SettingLine& setting) {
    return setting.table == "optimizer" && setting.value == std::to_string(step);
  };
  auto found = std::find_if(settings.begin(), settings.end(), [&](const SettingLine& setting) {
    return is_it(setting) && setting.key.find("freeze_step") != std::string::npos;
  });
  if (found == settings.end()) found = std::find_if(settings.begin(), settings.end(), is_it);
  if (found == settings.end()) return "the optimizer's freeze at step " + std::to_string(step);
  return "optimizer." + found->key + " = " + found->value;
}

}  // namespace onebit
