// SPDX-License-Identifier: Apache-2.0
// The manifest: a TOML document with known tables, and the overrides of the command line on top.
#include "onebit/manifest.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "manifest/nearest.hpp"
#include "manifest/toml_bounds.hpp"
#include "manifest/toml_reader.hpp"

namespace onebit {
namespace {

const std::vector<std::string_view> known_tables = {"plugins",      "session",  "optimizer", "compressor",
                                                    "communicator", "exchange", "train",     "checkpoint"};

void check_table(const std::string& name, const Location& where) {
  if (std::find(known_tables.begin(), known_tables.end(), name) == known_tables.end())
    throw Error(Code::invalid_argument,
                where.text() + ": unknown table '" + name + "'" + suggestion(name, known_tables, "known tables"));
}

// The arrays of tables that there are, each in its table.
struct ArrayName {
  std::string_view table, key;
  const char* example;
};
constexpr ArrayName known_arrays[] = {{"optimizer", "group", "[{tensors = [\"*.bias\"], weight_decay = 0}]"},
                                      {"plugins", "pin", "[{file = \"libfoo.so\", sha256 = \"3b0c...\"}]"}};

const ArrayName* find_array(std::string_view table, std::string_view key) {
  for (const ArrayName& array : known_arrays)
    if (array.table == table && array.key == key) return &array;
  return nullptr;
}

void check_arrays(const std::string& name, const TomlTable& table) {
  for (const auto& [key, array] : table.arrays)
    if (find_array(name, key) == nullptr)
      throw Error(Code::invalid_argument, array.front().where.text() + ": unknown array of tables [[" + name + "." + key +
                                              "]]; there are [[optimizer.group]] and [[plugins.pin]]");
}

// Takes an array of tables, such as [[optimizer.group]], out of its table. `group = []` is none.
std::vector<SettingTable> taken_array(TomlTable& table, const ArrayName& name) {
  std::vector<SettingTable> tables;
  if (const auto found = table.arrays.find(name.key); found != table.arrays.end()) tables = std::move(found->second);
  const auto setting = table.settings.find(name.key);
  if (setting == table.settings.end()) return tables;
  const std::string whole = std::string(name.table) + "." + std::string(name.key);
  if (setting->second.value != Value(std::vector<double>()))
    throw Error(Code::invalid_argument, setting->second.where.text() + ": " + whole + ": expected tables [[" + whole +
                                            "]], found " + describe_value(setting->second.value));
  table.settings.erase(setting);
  return tables;
}

bool is_key(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isalnum(c) || c == '_' || c == '-'; });
}

// What a shell hands over without quotes: words, paths, numbers with units, host:port.
bool is_bare_word(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) || c >= 0x80 || std::strchr("_-./:@%+~", c) != nullptr;
  });
}

std::string read_file(const std::filesystem::path& file) {
  std::error_code ignored;
  if (std::filesystem::is_directory(file, ignored))
    throw Error(Code::invalid_argument, file.string() + ": expected a manifest, found a folder");
  errno = 0;
  std::ifstream in(file, std::ios::binary);
  std::string text(most_manifest_bytes + 1, '\0');  // one more than allowed: the reader then says so
  if (in) in.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (!in.is_open() || in.bad())
    throw Error(Code::invalid_argument, file.string() + ": the manifest can't be read: " + std::strerror(errno ? errno : EIO),
                errno);
  text.resize(static_cast<size_t>(in.gcount()));
  return text;
}

}  // namespace

std::string Location::text() const {
  return line == 0 ? file : file + ':' + std::to_string(line) + ':' + std::to_string(column);
}

Manifest Manifest::load(const std::filesystem::path& file, const std::vector<std::string>& overrides) {
  const std::string text = read_file(file);
  return parse(text, file.string(), std::filesystem::absolute(file).parent_path(), overrides);
}

Manifest Manifest::parse(std::string_view text, const std::string& name, const std::filesystem::path& folder,
                         const std::vector<std::string>& overrides) {
  Manifest manifest;
  manifest.folder_ = folder;
  manifest.name_ = name;
  TomlDocument document = read_toml(text, name);
  for (auto& [key, table] : document) {
    check_table(key, table.where);
    check_arrays(key, table);
    for (const ArrayName& array : known_arrays)
      if (array.table == key) manifest.arrays_[std::string(array.key)] = taken_array(table, array);
    manifest.table_locations_.emplace(key, table.where);
    manifest.tables_.emplace(key, std::move(table.settings));
  }
  for (const std::string& override : overrides) manifest.apply_override(override);
  return manifest;
}

void Manifest::apply_override(const std::string& text) {
  const Location where = {"--set " + text, 0, 0};
  const size_t equals = text.find('='), dot = text.find('.');
  const auto refuse = [&](const std::string& reason) { throw Error(Code::invalid_argument, where.text() + ": " + reason); };
  if (equals == std::string::npos || dot == std::string::npos || dot > equals)
    refuse("expected table.key=value, such as optimizer.lr=1e-3");
  const std::string table = text.substr(0, dot), key = text.substr(dot + 1, equals - dot - 1), word = text.substr(equals + 1);
  check_table(table, where);
  if (!is_key(key)) refuse("expected a key after '" + table + ".', found '" + key + "'");
  if (find_array(table, key) != nullptr) return override_array(table, key, word, where);
  std::optional<Value> value = read_value(word);
  if (!value && is_bare_word(word)) value = read_value('"' + word + '"');  // nothing, if it is not UTF-8
  if (!value) refuse("expected a TOML value or a bare word after '=', found '" + word + "'");
  table_locations_.try_emplace(table, where);
  tables_[table][key] = {*value, where, where};
}

// All of an array's tables at once, as inline tables: [{ tensors = ["*.bias"], lr = 0.0 }].
void Manifest::override_array(const std::string& table, const std::string& key, const std::string& tables,
                              const Location& where) {
  const ArrayName& name = *find_array(table, key);
  TomlDocument document;
  try {
    document = read_toml("[" + table + "]\n" + key + " = " + tables + "\n", "value");
  } catch (const Error&) {
    document.clear();
  }
  if (document.size() != 1 || document[table].settings.size() + document[table].arrays.size() != 1)
    throw Error(Code::invalid_argument,
                where.text() + ": expected an array of tables, such as " + name.example + ", found '" + tables + "'");
  TomlTable& written = document[table];
  for (auto& [ignored, setting] : written.settings) setting.where = where;
  std::vector<SettingTable> taken = taken_array(written, name);
  for (SettingTable& each : taken) {
    each.where = where;
    for (auto& [ignored, setting] : each.settings) setting = {setting.value, where, where};
  }
  arrays_[key] = std::move(taken);
}

const std::vector<SettingTable>& Manifest::array(std::string_view key) const {
  static const std::vector<SettingTable> none;
  const auto found = arrays_.find(key);
  return found == arrays_.end() ? none : found->second;
}

const Settings& Manifest::table(std::string_view name) const {
  static const Settings none;
  const auto found = tables_.find(name);
  return found == tables_.end() ? none : found->second;
}

std::string Manifest::plugin(std::string_view name) const {
  const auto& settings = table(name);
  const auto found = settings.find("plugin");
  if (found == settings.end()) return "";
  if (const std::string* plugin = std::get_if<std::string>(&found->second.value)) return *plugin;
  throw Error(Code::invalid_argument, found->second.where.text() + ": " + std::string(name) +
                                          ".plugin: expected the name of a plugin, found " +
                                          describe_value(found->second.value));
}

Location Manifest::where(std::string_view name, std::string_view key) const {
  const auto& settings = table(name);
  if (const auto setting = settings.find(key); setting != settings.end()) return setting->second.where;
  if (const auto found = table_locations_.find(name); found != table_locations_.end()) return found->second;
  return {name_, 0, 0};
}

}  // namespace onebit
