// The manifest: one TOML file that selects and configures everything. Tables [plugins] [session] [optimizer] [compressor]
// [communicator] [exchange] and [train]; each component table has `plugin = "name"` and that component's own options.
// Every error names the file, line and column, what was expected and what was found, and the nearest known key.
#pragma once

#include <cstdint>
#include <deque>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "onebit/abi.h"
#include "onebit/options.hpp"

namespace onebit {

// Where a value was written; file is "--set" for overrides (line and column 0).
struct Location {
  std::string file;
  int64_t line = 0;
  int64_t column = 0;
  std::string text() const;  // "configs/adam.toml:12:3"
};

using Value = std::variant<bool, int64_t, double, std::string, std::vector<double>, std::vector<std::string>>;

struct Setting {
  Value value;
  Location where;
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
  const std::map<std::string, Setting, std::less<>>& table(std::string_view name) const;
  // `plugin = "name"` of a component table; "" when absent.
  std::string plugin(std::string_view table) const;
  // Where a key, or else its table, or else the file, was written.
  Location where(std::string_view table, std::string_view key = {}) const;

 private:
  void apply_override(const std::string& text);

  std::map<std::string, std::map<std::string, Setting, std::less<>>, std::less<>> tables_;
  std::map<std::string, Location, std::less<>> table_locations_;
  std::filesystem::path folder_;
  std::string name_;
};

// One table, validated against a schema and completed with its defaults, in the form that components receive.
class ResolvedTable {
 public:
  ResolvedTable() = default;
  // Throws Error(invalid_argument) for an unknown key, a wrong type, a value out of range or a missing required key.
  // accept_plugin: the key `plugin` is the host's own and not part of the schema.
  ResolvedTable(const Manifest& manifest, std::string_view table, const std::vector<const onebit_schema*>& schema,
                bool accept_plugin = false);

  Options options() const { return Options(&config_); }
  const onebit_config* config() const { return &config_; }
  // As TOML, one `key = value` line per schema entry, in schema order, each with its help and default as a comment when asked.
  std::string to_toml(bool with_help = false) const;

 private:
  void add(const onebit_schema& schema, const Value& value, const Location& where);

  struct Line {
    std::string key, value, help, fallback;
  };
  std::vector<Line> lines_;
  std::deque<std::string> strings_;  // what options_ point into
  std::deque<onebit_option> options_;
  std::vector<const onebit_option*> pointers_;
  onebit_config config_{sizeof(onebit_config), 0, nullptr};
};

}  // namespace onebit
