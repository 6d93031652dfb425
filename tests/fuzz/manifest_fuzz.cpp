// SPDX-License-Identifier: Apache-2.0
// A manifest of any text, and overrides of any text: each is read, or refused in words. What was read is written so that it
// reads back the same.
#include <cmath>
#include <string_view>

#include "loading/pins.hpp"
#include "manifest/toml_reader.hpp"
#include "onebit/error.hpp"
#include "onebit/session.hpp"

namespace {

using namespace onebit;

void require(bool truth) {
  if (!truth) __builtin_trap();
}

bool has_nan(const Value& value) {
  if (const double* real = std::get_if<double>(&value)) return std::isnan(*real);
  if (const auto* reals = std::get_if<std::vector<double>>(&value))
    for (const double real : *reals)
      if (std::isnan(real)) return true;
  return false;
}

void check_value(const Value& value) {
  const std::optional<Value> again = read_value(write_value(value));
  require(again.has_value() && (has_nan(value) || *again == value));
  require(!describe_value(value).empty());
}

void check_table(const Manifest& manifest, const char* name, const std::vector<const onebit_schema*>& schema) {
  for (const auto& [key, setting] : manifest.table(name)) check_value(setting.value);
  try {
    const ResolvedTable table(manifest, name, schema);
    const std::string text = "[" + std::string(name) + "]\n" + table.to_toml();
    require(ResolvedTable(Manifest::parse(text, "again.toml", "/"), name, schema).to_toml() == table.to_toml());
  } catch (const Error& e) {
    require(*e.what() != '\0');
  }
}

void check(const Manifest& manifest) {
  check_table(manifest, "session", session_schema());
  check_table(manifest, "exchange", exchange_schema());
  check_table(manifest, "plugins", plugins_schema());
  for (const char* name : {"optimizer", "compressor", "communicator", "train"}) check_table(manifest, name, {});
  for (const SettingTable& group : manifest.groups())
    for (const auto& [key, setting] : group.settings) check_value(setting.value);
  try {
    Pins{manifest};
  } catch (const Error& e) {
    require(*e.what() != '\0');
  }
}

}  // namespace

// The text ends at the first zero byte; what lies between the others are overrides.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  std::string_view rest(reinterpret_cast<const char*>(bytes), size);
  const auto part = [&rest] {
    const std::string_view text = rest.substr(0, rest.find('\0'));
    rest.remove_prefix(std::min(text.size() + 1, rest.size()));
    return text;
  };
  const std::string_view text = part();
  std::vector<std::string> overrides;
  while (!rest.empty()) overrides.emplace_back(part());
  try {
    check(Manifest::parse(text, "a.toml", "/", overrides));
  } catch (const Error& e) {
    require(*e.what() != '\0');
  }
  return 0;
}
