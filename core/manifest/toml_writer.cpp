// SPDX-License-Identifier: Apache-2.0
// Values as TOML: the shortest text that reads back as the same value, so that it can also be hashed.
#include <spdlog/fmt/fmt.h>

#include <cmath>

#include "manifest/toml_reader.hpp"

namespace onebit {
namespace {

std::string write_real(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  std::string text = fmt::format("{}", value);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

std::string write_string(std::string_view value) {
  std::string text = "\"";
  for (const char c : value) {
    if (c == '"' || c == '\\')
      text += {'\\', c};
    else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
      text += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    else
      text += c;
  }
  return text + "\"";
}

template <class T, class F>
std::string write_array(const std::vector<T>& values, F&& write) {
  std::string text = "[";
  for (size_t i = 0; i < values.size(); ++i) text += (i ? ", " : "") + write(values[i]);
  return text + "]";
}

struct Writer {
  std::string operator()(bool value) const { return value ? "true" : "false"; }
  std::string operator()(int64_t value) const { return std::to_string(value); }
  std::string operator()(double value) const { return write_real(value); }
  std::string operator()(const std::string& value) const { return write_string(value); }
  std::string operator()(const std::vector<double>& values) const { return write_array(values, write_real); }
  std::string operator()(const std::vector<std::string>& values) const { return write_array(values, write_string); }
};

struct Describer {
  std::string operator()(bool value) const { return value ? "the boolean true" : "the boolean false"; }
  std::string operator()(int64_t value) const { return "the integer " + Writer()(value); }
  std::string operator()(double value) const { return "the number " + Writer()(value); }
  std::string operator()(const std::string& value) const { return "the string " + Writer()(value); }
  std::string operator()(const std::vector<double>& values) const { return array(values, "numbers"); }
  std::string operator()(const std::vector<std::string>& values) const { return array(values, "strings"); }

  template <class T>
  static std::string array(const std::vector<T>& values, const char* what) {
    return values.size() > 8 ? fmt::format("an array of {} {}", values.size(), what) : "the array " + Writer()(values);
  }
};

}  // namespace

std::string write_value(const Value& value) { return std::visit(Writer(), value); }
std::string describe_value(const Value& value) { return std::visit(Describer(), value); }

}  // namespace onebit
