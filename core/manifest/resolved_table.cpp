// SPDX-License-Identifier: Apache-2.0
// One table against its schema: every key known, every value fitting, every default filled in, as C options.
#include <algorithm>
#include <deque>

#include "manifest/mention.hpp"
#include "manifest/nearest.hpp"
#include "manifest/refuse.hpp"
#include "manifest/schema_text.hpp"
#include "manifest/toml_reader.hpp"
#include "onebit/manifest.hpp"
#include "process/float_environment.hpp"

namespace onebit {

using Schema = std::vector<const onebit_schema*>;

// Pointers run between the members, so contents are built in place, never copied and never moved.
struct ResolvedTable::Contents {
  struct Line {
    std::string key, value, help;
  };
  struct Written {
    std::string key;
    Location where;
    std::vector<Location> elements;
  };
  std::vector<Line> lines;
  std::vector<Written> written;   // what was not left at its default, in schema order
  std::optional<Location> table;  // where it was written, if it was
  std::deque<std::string> strings;
  std::deque<onebit_option> options;
  std::vector<const onebit_option*> pointers;
  onebit_config config{sizeof(onebit_config), 0, nullptr};

  Contents() = default;
  Contents(const Contents&) = delete;
  Contents& operator=(const Contents&) = delete;

  void add(const onebit_schema& schema, const Value& value);
  void add_line(const onebit_schema& schema, const std::string& value);
  void add_option(const std::string& key, const Value& value);
  void finish() {
    for (const onebit_option& option : options) pointers.push_back(&option);
    config.count = pointers.size();
    config.options = pointers.data();
  }
  onebit_str keep(const std::string& text) { return str(strings.emplace_back(text)); }
};

void ResolvedTable::Contents::add_option(const std::string& key, const Value& value) {
  onebit_option option = {sizeof(onebit_option), keep(key), 0, 0, 0, {nullptr, 0}};
  if (const bool* flag = std::get_if<bool>(&value)) {
    option.type = ONEBIT_VALUE_BOOL;
    option.integer = *flag;
  } else if (const int64_t* integer = std::get_if<int64_t>(&value)) {
    option.type = ONEBIT_VALUE_INT;
    option.integer = *integer;
    option.real = static_cast<double>(*integer);
  } else if (const double* real = std::get_if<double>(&value)) {
    option.type = ONEBIT_VALUE_FLOAT;
    option.real = *real;
  } else {
    option.type = ONEBIT_VALUE_STRING;
    option.string = keep(std::get<std::string>(value));
  }
  options.push_back(option);
}

void ResolvedTable::Contents::add_line(const onebit_schema& schema, const std::string& value) {
  std::string help(view(schema.help));
  if (!help.empty() && help.back() == '.') help.pop_back();
  const std::string fallback(view(schema.fallback));
  help +=
      (help.empty() ? "(" : " (") + expectation(schema) + (fallback.empty() ? "; required)" : "; default " + fallback + ")");
  lines.push_back({std::string(view(schema.key)), value, help});
}

// An array becomes options key.0, key.1, ...
void ResolvedTable::Contents::add(const onebit_schema& schema, const Value& value) {
  const std::string key(view(schema.key));
  std::vector<Value> elements;
  if (const auto* reals = std::get_if<std::vector<double>>(&value)) {
    if ((schema.types & ONEBIT_VALUE_FLOAT) != 0)
      elements.assign(reals->begin(), reals->end());
    else
      for (const double v : *reals) elements.emplace_back(static_cast<int64_t>(v));
  } else if (const auto* strings = std::get_if<std::vector<std::string>>(&value)) {
    elements.assign(strings->begin(), strings->end());
  } else {
    add_line(schema, write_value(value));
    return add_option(key, value);
  }
  std::vector<std::string> texts;
  for (const Value& element : elements) {
    add_option(key + '.' + std::to_string(texts.size()), element);
    texts.push_back(write_value(element));
  }
  add_line(schema, write_array(texts));
}

namespace {

std::string heading(const std::string& table) {
  return table.find('.') == std::string::npos ? "[" + table + "]" : "[[" + table + "]]";
}

// who: what the table is, in an error.
void check_keys(const Settings& settings, const std::string& who, std::vector<std::string_view> known, const Schema& schema) {
  known.insert(known.begin(), schema.size(), {});
  std::transform(schema.begin(), schema.end(), known.begin(), [](const onebit_schema* entry) { return view(entry->key); });
  for (const auto& [key, setting] : settings)
    if (std::find(known.begin(), known.end(), key) == known.end())
      refuse(setting.key, "unknown key '" + key + "' in " + who + suggestion(key, known, "known keys"));
}

// The first element of an array that would not fit by itself either, or else the whole value.
Location misfit_of(const onebit_schema& schema, const Setting& setting) {
  const auto first = [&](const auto& values) {
    for (size_t i = 0; i < values.size() && i < setting.elements.size(); ++i)
      if (!fitted(schema, std::decay_t<decltype(values)>{values[i]})) return setting.elements[i];
    return setting.where;
  };
  if (schema.array_max == 0) return setting.where;
  if (const auto* numbers = std::get_if<std::vector<double>>(&setting.value)) return first(*numbers);
  if (const auto* strings = std::get_if<std::vector<std::string>>(&setting.value)) return first(*strings);
  return setting.where;
}

Value fitting(const std::string& table, const onebit_schema& schema, const Setting& setting) {
  if (const std::optional<Value> value = fitted(schema, setting.value)) return *value;
  std::string hint;
  if (const std::string* word = std::get_if<std::string>(&setting.value); word != nullptr && schema.choices.size > 0)
    if (const std::string_view near = nearest(*word, choices_of(schema)); !near.empty())
      hint = "; did you mean \"" + std::string(near) + "\"?";
  refuse(misfit_of(schema, setting), table + '.' + std::string(view(schema.key)) + ": expected " + expectation(schema) +
                                         ", found " + describe_value(setting.value) + hint);
}

Value fallback_of(const Location& where, const std::string& table, const onebit_schema& schema) {
  const std::string key(view(schema.key));
  if (schema.fallback.size == 0)
    refuse(where, heading(table) + " lacks the required key '" + key + "': expected " + expectation(schema) + " (" +
                      std::string(view(schema.help)) + ")");
  const std::optional<Value> value = read_value(view(schema.fallback));
  const std::optional<Value> fit = value ? fitted(schema, *value) : std::nullopt;
  if (!fit) throw Error(Code::internal, table + '.' + key + ": the schema is unsound: " + defect_of(schema));
  return *fit;
}

}  // namespace

ResolvedTable::ResolvedTable() : contents_(std::make_shared<Contents>()) {}

ResolvedTable::ResolvedTable(const Manifest& manifest, std::string_view name, const Schema& schema, bool of_component) {
  const std::string table(name), plugin = of_component ? manifest.plugin(table) : "";
  const std::string who = heading(table) + (plugin.empty() ? "" : " with plugin '" + plugin + "'");
  check_keys(manifest.table(table), who, of_component ? host_keys(table) : std::vector<std::string_view>(), schema);
  resolve({manifest.where(table), manifest.table(table)}, table, schema, manifest.has(table));
}

ResolvedTable::ResolvedTable(const SettingTable& table, std::string_view name, const Schema& schema) {
  check_keys(table.settings, heading(std::string(name)), {}, schema);
  resolve(table, std::string(name), schema, true);
}

void ResolvedTable::resolve(const SettingTable& table, const std::string& name, const Schema& schema, bool is_written) {
  const FloatEnvironment environment;
  const auto contents = std::make_shared<Contents>();
  if (is_written) contents->table = table.where;
  for (const onebit_schema* entry : schema) {
    const auto found = table.settings.find(view(entry->key));
    if (found == table.settings.end()) {
      contents->add(*entry, fallback_of(table.where, name, *entry));
      continue;
    }
    const Setting& setting = found->second;
    contents->add(*entry, fitting(name, *entry, setting));
    contents->written.push_back({found->first, setting.where, setting.elements});
  }
  contents->finish();
  contents_ = contents;
}

std::optional<Location> ResolvedTable::place_named_in(std::string_view words) const {
  std::optional<Location> place;
  Mention best;
  for (const Contents::Written& option : contents_->written) {
    const Mention found = mention_of(option.key, words);
    if (!found.is_before(best)) continue;
    best = found;
    const bool apart = found.element < option.elements.size() && option.elements[found.element].line != option.where.line;
    place = apart ? option.elements[found.element] : option.where;
  }
  return place;
}

std::optional<Location> ResolvedTable::place() const { return contents_->table; }

const onebit_config* ResolvedTable::config() const { return &contents_->config; }

std::string ResolvedTable::text_of(std::string_view key) const {
  for (const Contents::Line& line : contents_->lines)
    if (line.key == key) return line.value;
  return "";
}

std::string ResolvedTable::to_toml(bool with_help) const {
  std::string text;
  for (const Contents::Line& line : contents_->lines) {
    if (with_help) text += write_comment(line.help);
    text += line.key + " = " + line.value + "\n";
  }
  return text;
}

std::string ResolvedTable::to_toml_without(const std::vector<std::string_view>& keys) const {
  std::string text;
  for (const Contents::Line& line : contents_->lines)
    if (std::find(keys.begin(), keys.end(), line.key) == keys.end()) text += line.key + " = " + line.value + "\n";
  return text;
}

}  // namespace onebit
