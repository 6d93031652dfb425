// SPDX-License-Identifier: Apache-2.0
// Pins: read from the manifest, and held against libraries.
#include "loading/pins.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>

#include "loading/trust.hpp"
#include "manifest/toml_reader.hpp"

namespace onebit {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void refuse_pin(const Location& where, const std::string& reason) {
  throw Error(Code::invalid_argument, where.text() + ": plugins.pin" + reason);
}

std::vector<const onebit_schema*> pin_schema() {
  static const onebit_schema schemas[] = {
      text_option("file", "", "", "the library: a file name, or a path that is relative to this file"),
      text_option("sha256", "", "", "what sha256sum prints for it"),
  };
  return {&schemas[0], &schemas[1]};
}

bool is_hash(const std::string& text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdefABCDEF") == std::string::npos;
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](char c) { return c >= 'A' && c <= 'F' ? c - 'A' + 'a' : c; });
  return text;
}

}  // namespace

Pins::Pins(const Manifest& manifest) {
  const Settings& plugins = manifest.table("plugins");
  if (const auto found = plugins.find("require_pins"); found != plugins.end()) {
    const bool* value = std::get_if<bool>(&found->second.value);
    require_ = value == nullptr || *value;  // what is no boolean is refused elsewhere, and never means false
    required_ = found->second.where;
  }
  for (const SettingTable& table : manifest.pins()) add(table, manifest.folder());
}

void Pins::add(const SettingTable& table, const fs::path& folder) {
  const ResolvedTable checked(table, "plugins.pin", pin_schema());
  const Setting &file = table.settings.at("file"), &hash = table.settings.at("sha256");
  const fs::path name = std::get<std::string>(file.value);
  const std::string& sha256 = std::get<std::string>(hash.value);
  if (!name.has_filename() || name.filename() == "." || name.filename() == "..")
    refuse_pin(file.where, ".file: expected the name of a library, found " + describe_value(file.value));
  if (!is_hash(sha256))
    refuse_pin(hash.where,
               ".sha256: expected 64 hexadecimal digits, as sha256sum prints them, found " + describe_value(hash.value));
  Pin pin = {name, std::nullopt, lower(sha256), file.where, hash.where};
  if (name.has_parent_path()) {
    pin.name = written_out(folder / name);
    pin.file = LibraryFile::identity_at(pin.name);
  }
  for (const Pin& other : pins_)
    if (other.name == pin.name)
      refuse_pin(pin.where, fmt::format(": {} is pinned twice; the first is at {}", name.string(), other.where.text()));
  pins_.push_back(std::move(pin));
}

bool Pins::fits(const Pin& pin, const LibraryFile& library, const fs::path& found_as) {
  if (pin.name.is_absolute()) return pin.file && pin.file->same_file(library.original());
  return pin.name == found_as.filename() || pin.name == library.path().filename();
}

bool Pins::concern(const LibraryFile& library, const fs::path& found_as) const {
  return std::any_of(pins_.begin(), pins_.end(), [&](const Pin& pin) { return fits(pin, library, found_as); });
}

void Pins::check(const LibraryFile& library, const fs::path& found_as, bool built_in) {
  std::string sha256;
  for (Pin& pin : pins_) {
    if (!fits(pin, library, found_as)) continue;
    if (sha256.empty()) sha256 = library.sha256();
    if (pin.sha256 != sha256)
      throw PinError(Code::invalid_argument,
                     fmt::format("its sha256 is {}, but {} pins {}; if this is the file you want, write its hash there", sha256,
                                 pin.hash.text(), pin.sha256));
    pin.used = true;
  }
  if (require_ && !built_in && sha256.empty())
    throw Error(Code::invalid_argument,
                fmt::format("it has no pin, and {} requires one; if you trust it, add to the manifest: [[plugins.pin]] "
                            "with file = {} and sha256 = \"{}\"",
                            required_.text(), write_value(found_as.filename().string()), library.sha256()));
}

void Pins::check_all_used(const std::vector<LoadFailure>& failures) const {
  for (const Pin& pin : pins_) {
    if (pin.used) continue;
    const auto failed = std::find_if(failures.begin(), failures.end(), [&](const LoadFailure& failure) {
      return failure.file.filename() == pin.name.filename();
    });
    std::error_code ignored;
    std::string reason = "no library of that name was found; its file or folder belongs into plugins.path";
    if (failed != failures.end())
      reason = failed->reason;
    else if (pin.name.is_absolute() && !fs::exists(pin.name, ignored))
      reason = "there is no such file";
    else if (pin.name.is_absolute())
      reason = "nothing loads it; its file or folder belongs into plugins.path";
    throw PinError(Code::invalid_argument,
                   fmt::format("{}: plugins.pin: {} was not loaded: {}", pin.where.text(), pin.name.string(), reason));
  }
}

std::string Pins::to_toml() const {
  std::string text;
  for (const Pin& pin : pins_)
    text += "\n[[plugins.pin]]\nfile = " + write_value(pin.name.string()) + "\nsha256 = " + write_value(pin.sha256) + "\n";
  return text;
}

}  // namespace onebit
