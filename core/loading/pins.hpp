// SPDX-License-Identifier: Apache-2.0
// [[plugins.pin]]: the SHA-256 that a library must have; and plugins.require_pins: whether one without may be loaded.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "loading/library_file.hpp"
#include "onebit/registry.hpp"

namespace onebit {

// A library is not what a manifest pins. Other errors of a file in a folder are told and passed over: this one ends the
// loading.
struct PinError : Error {
  using Error::Error;
};

class Pins {
 public:
  Pins() = default;
  // Throws Error, with its place in the manifest, for a pin that is malformed or there twice.
  explicit Pins(const Manifest& manifest);

  // Whether a pin is meant for the library, whatever its hash. found_as: under what name the library was found.
  bool concern(const LibraryFile& library, const std::filesystem::path& found_as) const;
  // built_in: it was installed with the core and needs no pin.
  // Throws PinError when a pin wants another library, Error when it has no pin but needs one.
  void check(const LibraryFile& library, const std::filesystem::path& found_as, bool built_in);
  // When all is loaded: throws PinError for the first pin that no library came for, with the reason if it is among the
  // failures.
  void check_all_used(const std::vector<LoadFailure>& failures) const;
  // As TOML that means the same wherever it is kept, to follow the table [plugins].
  std::string to_toml() const;

 private:
  struct Pin {
    std::filesystem::path name;                 // of a file in any folder; or absolute
    std::optional<LibraryFile::Identity> file;  // that an absolute name leads to
    std::string sha256;
    Location where, hash;
    bool used = false;
  };
  void add(const SettingTable& table, const std::filesystem::path& folder);
  static bool fits(const Pin& pin, const LibraryFile& library, const std::filesystem::path& found_as);

  std::vector<Pin> pins_;
  Location required_;  // where require_pins was set to true
  bool require_ = false;
};

}  // namespace onebit
