// SPDX-License-Identifier: Apache-2.0
// Options of a component: the schema it declares, and the values it receives, validated and complete.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "onebit/abi.h"
#include "onebit/error.hpp"

namespace onebit {

// A run of T owned by somebody else.
template <class T>
struct Slice {
  T* data = nullptr;
  size_t size = 0;
  T* begin() const { return data; }
  T* end() const { return data + size; }
  T& operator[](size_t i) const { return data[i]; }
};

// One line of a schema. fallback is the default written as in TOML ("1e-3", "[0.9, 0.999]", "\"l2\""); "" makes it required.
inline onebit_schema option(std::string_view key, int64_t types, std::string_view fallback, double minimum, double maximum,
                            std::string_view help) {
  return {sizeof(onebit_schema), str(key), str(help), str(fallback), {nullptr, 0}, minimum, maximum, types, 0};
}
inline onebit_schema real_option(std::string_view key, std::string_view fallback, double minimum, double maximum,
                                 std::string_view help) {
  return option(key, ONEBIT_VALUE_FLOAT, fallback, minimum, maximum, help);
}
inline onebit_schema integer_option(std::string_view key, std::string_view fallback, double minimum, double maximum,
                                    std::string_view help) {
  return option(key, ONEBIT_VALUE_INT, fallback, minimum, maximum, help);
}
inline onebit_schema boolean_option(std::string_view key, std::string_view fallback, std::string_view help) {
  return option(key, ONEBIT_VALUE_BOOL, fallback, 0, 0, help);
}
// choices: the allowed words, separated by '|'; "" allows any text.
inline onebit_schema text_option(std::string_view key, std::string_view fallback, std::string_view choices,
                                 std::string_view help) {
  onebit_schema schema = option(key, ONEBIT_VALUE_STRING, fallback, 0, 0, help);
  schema.choices = str(choices);
  return schema;
}
// An array of at most array_max numbers, each within [minimum, maximum].
inline onebit_schema array_option(std::string_view key, std::string_view fallback, int64_t array_max, double minimum,
                                  double maximum, std::string_view help) {
  onebit_schema schema = real_option(key, fallback, minimum, maximum, help);
  schema.array_max = array_max;
  return schema;
}

// The values, as the host resolved them: every key of the schema is there. A key that is not in the schema throws.
class Options {
 public:
  explicit Options(const onebit_config* config) : config_(config) {}

  bool boolean(std::string_view key) const { return find(key, ONEBIT_VALUE_BOOL).integer != 0; }
  int64_t integer(std::string_view key) const { return find(key, ONEBIT_VALUE_INT).integer; }
  double real(std::string_view key) const { return find(key, ONEBIT_VALUE_FLOAT).real; }
  std::string_view text(std::string_view key) const { return view(find(key, ONEBIT_VALUE_STRING).string); }
  bool is_text(std::string_view key) const { return find(key, -1).type == ONEBIT_VALUE_STRING; }
  std::vector<double> reals(std::string_view key) const {
    std::vector<double> values;
    while (const onebit_option* element = lookup(std::string(key) + '.' + std::to_string(values.size())))
      values.push_back(element->real);
    return values;
  }

 private:
  const onebit_option* lookup(std::string_view key) const {
    for (size_t i = 0; i < config_->count; ++i)
      if (view(config_->options[i]->key) == key) return config_->options[i];
    return nullptr;
  }
  const onebit_option& find(std::string_view key, int64_t types) const {
    const onebit_option* found = lookup(key);
    if (found == nullptr || (found->type & types) == 0)
      throw Error(Code::invalid_argument, "option '" + std::string(key) + "' was not given in the type its schema promises");
    return *found;
  }

  const onebit_config* config_;
};

}  // namespace onebit
