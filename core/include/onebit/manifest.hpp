// SPDX-License-Identifier: Apache-2.0
// The manifest: one TOML file that selects and configures everything. Tables [plugins] [session] [optimizer] [compressor]
// [communicator] [exchange] [train] and [checkpoint]; each component table has `plugin = "name"` and that component's own
// options; [optimizer] also takes `dense` and tables [[optimizer.group]], which are the host's (see configuration.hpp), and
// [plugins] tables [[plugins.pin]] (see registry.hpp). Every error names the file, line and column, what was expected and what
// was found, and the nearest known key.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "onebit/abi.h"
#include "onebit/options.hpp"

namespace onebit {

// Where something was written; for an override, file is "--set optimizer.lr=abc" and the line is 0.
struct Location {
  std::string file;
  int64_t line = 0;
  int64_t column = 0;
  std::string text() const;  // "configs/adam.toml:12:3", or file alone when there is no line
};

using Value = std::variant<bool, int64_t, double, std::string, std::vector<double>, std::vector<std::string>>;

struct Setting {
  Value value;
  Location where;  // of the value
  Location key;
  std::vector<Location> elements = {};  // of an array's elements
};
using Settings = std::map<std::string, Setting, std::less<>>;
struct SettingTable {
  Location where;
  Settings settings;
};

class Manifest {
 public:
  // overrides: "table.key=value" as given to --set; value is TOML, or a bare word that is taken as a string.
  static Manifest load(const std::filesystem::path& file, const std::vector<std::string>& overrides = {});
  // folder: what relative paths in the text are relative to.
  static Manifest parse(std::string_view text, const std::string& name, const std::filesystem::path& folder,
                        const std::vector<std::string>& overrides = {});

  const std::filesystem::path& folder() const { return folder_; }
  bool has(std::string_view table) const { return tables_.find(table) != tables_.end(); }
  // The settings of a table by key; empty when the table is absent.
  const Settings& table(std::string_view name) const;
  // The tables [[optimizer.group]], in order.
  const std::vector<SettingTable>& groups() const { return array("group"); }
  // The tables [[plugins.pin]], in order.
  const std::vector<SettingTable>& pins() const { return array("pin"); }
  // `plugin = "name"` of a component table; "" when absent.
  std::string plugin(std::string_view table) const;
  // Where a key, or else its table, or else the file, was written.
  Location where(std::string_view table, std::string_view key = {}) const;

 private:
  void apply_override(const std::string& text);
  void override_array(const std::string& table, const std::string& key, const std::string& tables, const Location& where);
  const std::vector<SettingTable>& array(std::string_view key) const;

  std::map<std::string, Settings, std::less<>> tables_;
  std::map<std::string, std::vector<SettingTable>, std::less<>> arrays_;  // of tables, by their own key
  std::map<std::string, Location, std::less<>> table_locations_;
  std::filesystem::path folder_;
  std::string name_;
};

// One table, validated against a schema and completed with its defaults, in the form that components receive. Immutable; copies
// share their contents.
class ResolvedTable {
 public:
  ResolvedTable();
  // Throws Error(invalid_argument) for an unknown key, a wrong type, a value out of range or a missing required key.
  // of_component: the table may hold keys of the host's own, such as `plugin`, which are not part of the schema.
  ResolvedTable(const Manifest& manifest, std::string_view table, const std::vector<const onebit_schema*>& schema,
                bool of_component = false);
  // name: as errors call the table; one with a dot is one of an array of tables, [[name]].
  ResolvedTable(const SettingTable& table, std::string_view name, const std::vector<const onebit_schema*>& schema);

  // Both are good as long as this table or a copy of it lives.
  Options options() const { return Options(config()); }
  const onebit_config* config() const;
  // The value of a key, as TOML; "" when the schema has no such key.
  std::string text_of(std::string_view key) const;
  // As TOML, one `key = value` line per schema entry, in schema order; with_help puts meaning, range and default above each.
  std::string to_toml(bool with_help = false) const;
  // The same without the keys named.
  std::string to_toml_without(const std::vector<std::string_view>& keys) const;
  // Where the option was written that somebody's words name, such as a component's when it refuses it: in quotes, or else as a
  // word; of several the one that is named first. Nothing where they name none, or only such as were left at their defaults.
  std::optional<Location> place_named_in(std::string_view words) const;
  // Where the table itself was written; nothing where it was not.
  std::optional<Location> place() const;

 private:
  struct Contents;
  void resolve(const SettingTable& table, const std::string& name, const std::vector<const onebit_schema*>& schema,
               bool is_written);
  std::shared_ptr<const Contents> contents_;
};

}  // namespace onebit
