// SPDX-License-Identifier: Apache-2.0
// Schemas: one rule for what fits, used for manifests, for defaults and for the words of errors.
#include "manifest/schema_text.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cmath>

#include "manifest/toml_reader.hpp"

namespace onebit {
namespace {

constexpr int64_t all_types = ONEBIT_VALUE_BOOL | ONEBIT_VALUE_INT | ONEBIT_VALUE_FLOAT | ONEBIT_VALUE_STRING;
constexpr double practically_unbounded = 9.2e18;  // the reach of a 64-bit integer

bool takes(const onebit_schema& schema, int64_t type) { return (schema.types & type) != 0; }

std::string range_text(const onebit_schema& schema) {
  const bool below = schema.minimum > -practically_unbounded, above = schema.maximum < practically_unbounded;
  if (below && above) return fmt::format(" from {} to {}", schema.minimum, schema.maximum);
  if (below) return fmt::format(" >= {}", schema.minimum);
  return above ? fmt::format(" <= {}", schema.maximum) : "";
}

std::string quoted_choices(const onebit_schema& schema) {
  std::string text;
  for (const std::string_view word : choices_of(schema)) text += (text.empty() ? "\"" : ", \"") + std::string(word) + "\"";
  return text;
}

std::string array_expectation(const onebit_schema& schema) {
  const std::string most = fmt::format("an array of at most {} ", schema.array_max);
  if (!takes(schema, ONEBIT_VALUE_STRING))
    return most + (takes(schema, ONEBIT_VALUE_FLOAT) ? "numbers" : "integers") + range_text(schema);
  return most + "strings" + (schema.choices.size ? ", each one of " + quoted_choices(schema) : "");
}

bool in_range(const onebit_schema& schema, double value) { return value >= schema.minimum && value <= schema.maximum; }

bool allowed(const onebit_schema& schema, const std::string& word) {
  const std::vector<std::string_view> choices = choices_of(schema);
  return choices.empty() || std::find(choices.begin(), choices.end(), word) != choices.end();
}

std::optional<Value> fitted_number(const onebit_schema& schema, int64_t value) {
  if (!in_range(schema, static_cast<double>(value))) return std::nullopt;
  if (takes(schema, ONEBIT_VALUE_INT)) return value;
  return static_cast<double>(value);
}

struct Fit {
  const onebit_schema& schema;
  using Result = std::optional<Value>;

  bool scalar(int64_t types) const { return schema.array_max == 0 && takes(schema, types); }
  bool array(int64_t types, size_t size) const {
    return schema.array_max > 0 && takes(schema, types) && size <= static_cast<uint64_t>(schema.array_max);
  }
  Result operator()(bool value) const { return scalar(ONEBIT_VALUE_BOOL) ? Result(value) : Result(); }
  Result operator()(int64_t value) const {
    return scalar(ONEBIT_VALUE_INT | ONEBIT_VALUE_FLOAT) ? fitted_number(schema, value) : Result();
  }
  Result operator()(double value) const {
    return scalar(ONEBIT_VALUE_FLOAT) && in_range(schema, value) ? Result(value) : Result();
  }
  Result operator()(const std::string& value) const {
    return scalar(ONEBIT_VALUE_STRING) && allowed(schema, value) ? Result(value) : Result();
  }
  Result operator()(const std::vector<double>& values) const {
    if (values.empty() && array(all_types, 0)) return Result(values);
    const auto fits = [&](double v) {
      return in_range(schema, v) && (takes(schema, ONEBIT_VALUE_FLOAT) || v == std::trunc(v));
    };
    return array(ONEBIT_VALUE_INT | ONEBIT_VALUE_FLOAT, values.size()) && std::all_of(values.begin(), values.end(), fits)
               ? Result(values)
               : Result();
  }
  Result operator()(const std::vector<std::string>& values) const {
    const auto fits = [&](const std::string& word) { return allowed(schema, word); };
    return array(ONEBIT_VALUE_STRING, values.size()) && std::all_of(values.begin(), values.end(), fits) ? Result(values)
                                                                                                        : Result();
  }
};

}  // namespace

std::vector<std::string_view> choices_of(const onebit_schema& schema) {
  std::vector<std::string_view> words;
  std::string_view rest = view(schema.choices);
  while (!rest.empty()) {
    const size_t bar = std::min(rest.find('|'), rest.size());
    words.push_back(rest.substr(0, bar));
    rest.remove_prefix(std::min(bar + 1, rest.size()));
  }
  return words;
}

std::vector<std::string_view> host_keys(std::string_view table) {
  if (table == "optimizer") return {"plugin", "dense", "group"};
  return {"plugin"};
}

std::string expectation(const onebit_schema& schema) {
  if (schema.array_max > 0) return array_expectation(schema);
  std::string text;
  const auto alternative = [&](const std::string& words) { text += (text.empty() ? "" : " or ") + words; };
  if (takes(schema, ONEBIT_VALUE_BOOL)) alternative("true or false");
  if (takes(schema, ONEBIT_VALUE_FLOAT))
    alternative("a number" + range_text(schema));
  else if (takes(schema, ONEBIT_VALUE_INT))
    alternative("an integer" + range_text(schema));
  if (takes(schema, ONEBIT_VALUE_STRING)) {
    const size_t words = choices_of(schema).size();
    alternative(words == 0 ? "a string" : (words == 1 ? "" : "one of ") + quoted_choices(schema));
  }
  return text;
}

std::optional<Value> fitted(const onebit_schema& schema, const Value& value) { return std::visit(Fit{schema}, value); }

std::string defect_of(const onebit_schema& schema) {
  const std::string_view key = view(schema.key);
  const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'; };
  if (key.empty() || key.size() > 64 || !std::all_of(key.begin(), key.end(), is_letter))
    return "its key '" + std::string(key.substr(0, 64)) + "' is not made of lower case letters, digits and '_'";
  if ((schema.types & all_types) == 0)  // others, of newer plugins, are ignored
    return fmt::format("its types {} are not ONEBIT_VALUE_ bits", schema.types);
  if (!(schema.minimum <= schema.maximum)) return fmt::format("its range is {} to {}", schema.minimum, schema.maximum);
  if (schema.array_max < 0 || schema.array_max > 4096) return fmt::format("its array_max is {}", schema.array_max);
  if (schema.fallback.size == 0) return "";
  const std::optional<Value> fallback = read_value(view(schema.fallback));
  if (!fallback || !fitted(schema, *fallback))
    return "its default `" + std::string(view(schema.fallback)) + "` is not " + expectation(schema);
  return "";
}

}  // namespace onebit
