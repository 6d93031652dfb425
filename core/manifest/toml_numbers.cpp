// SPDX-License-Identifier: Apache-2.0
// A word without its underscores and its plus is what std::from_chars reads.
#include "manifest/toml_numbers.hpp"

#include <algorithm>
#include <charconv>
#include <string>
#include <system_error>

namespace onebit {
namespace {

std::string plain(std::string_view word) {
  std::string text(word);
  text.erase(std::remove(text.begin(), text.end(), '_'), text.end());
  if (!text.empty() && text.front() == '+') text.erase(0, 1);
  return text;
}

template <class Number, class... How>
std::optional<Number> whole(std::string_view text, How... how) {
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, how...);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

}  // namespace

std::optional<int64_t> read_integer(std::string_view word) {
  const std::string text = plain(word), prefix = text.substr(0, 2);
  const int base = prefix == "0x" ? 16 : prefix == "0o" ? 8 : prefix == "0b" ? 2 : 10;
  return whole<int64_t>(std::string_view(text).substr(base == 10 ? 0 : 2), base);
}

std::optional<double> read_real(std::string_view word) { return whole<double>(plain(word)); }

}  // namespace onebit
