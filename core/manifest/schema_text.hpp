// SPDX-License-Identifier: Apache-2.0
// Schemas in words and under test: what an option expects, whether a value fits, whether the schema itself makes sense.
#pragma once

#include <optional>
#include <string>

#include "onebit/manifest.hpp"

namespace onebit {

// "a number from 0 to 1", `one of "block", "tensor"`, "an array of at most 2 numbers", "an integer >= 1 or "auto"".
std::string expectation(const onebit_schema& schema);
// The value in the type that the schema wants (an integer where a number is expected becomes one); nothing if it does not fit.
std::optional<Value> fitted(const onebit_schema& schema, const Value& value);
// Why a plugin must not offer such a schema; "" when it is sound: a key, known types, an ordered range, a default that fits.
std::string defect_of(const onebit_schema& schema);
// Keys of the host's own in a component's table, which no component of this kind may declare.
std::vector<std::string_view> host_keys(std::string_view table);
// The allowed words of a text option; empty: any.
std::vector<std::string_view> choices_of(const onebit_schema& schema);

}  // namespace onebit
