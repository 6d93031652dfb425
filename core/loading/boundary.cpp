// SPDX-License-Identifier: Apache-2.0
// Codes and messages of plugins become errors.
#include "loading/boundary.hpp"

#include <algorithm>
#include <optional>
#include <string_view>

namespace onebit {
namespace {

constexpr const char* names[] = {"OK",      "INVALID_ARGUMENT", "UNSUPPORTED",  "UNAVAILABLE",    "OUT_OF_MEMORY", "TIMEOUT",
                                 "ABORTED", "PEER_FAILED",      "DEVICE_ERROR", "STATE_MISMATCH", "INTERNAL"};

bool is_known(onebit_code code) { return code >= ONEBIT_OK && code <= ONEBIT_INTERNAL; }

// A message cut at the end of its buffer may end inside of a letter.
void drop_broken_letter(std::string& text) {
  size_t end = text.size();
  while (end > 0 && text.size() - end < 3 && (static_cast<unsigned char>(text[end - 1]) & 0xC0) == 0x80) --end;
  if (end == 0) return;
  const unsigned char lead = static_cast<unsigned char>(text[end - 1]);
  const size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
  if (length > text.size() - end + 1) text.resize(end - 1);
}

}  // namespace

std::string code_name(onebit_code code) { return is_known(code) ? names[code] : "the unknown code " + std::to_string(code); }

std::string CallError::reason() {
  message[sizeof message - 1] = '\0';
  std::string text = message;
  if (text.empty()) return "it gave no reason";
  if (text.size() == sizeof message - 1) drop_broken_letter(text);
  return text;
}

void Boundary::fail(onebit_code code, CallError& err) const {
  if (!is_known(code))
    throw Error(Code::internal, who_ + ": answered with " + code_name(code) + ": " + err.reason(), err.native);
  throw Error(static_cast<Code>(code), who_ + ": " + err.reason(), err.native);
}

void Boundary::escaped() const {
  std::string what;
  try {
    throw;
  } catch (const std::exception& e) {
    what = std::string(": ") + e.what();
  } catch (...) {
  }
  refuse("it let an exception out, which no plugin may" + what);
}

void Boundary::refuse_options(const Error& e, bool create) const {
  const bool may_be = e.code() == Code::invalid_argument || e.code() == Code::unsupported || e.code() == Code::internal;
  const std::string_view said = e.what();
  std::optional<Location> place;
  if (may_be) place = options_.place_named_in(said.substr(std::min(who_.size(), said.size())));
  if (!place && create && e.code() == Code::invalid_argument) place = options_.place();
  if (!place) throw Error(e);
  throw Error(e.code(), place->text() + ": " + e.what(), e.native());
}

void Boundary::refuse(const std::string& reason, Code code) const { throw Error(code, who_ + ": " + reason); }

}  // namespace onebit
