// SPDX-License-Identifier: Apache-2.0
// Numbers of TOML, read by ourselves: toml11 3.7 clamps what does not fit, without a word, and reads by the locale that the
// process has set.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace onebit {

// `1_000`, `-7`, `0xff`, `0o17`, `0b101`; nothing for what does not fit 64 bits.
std::optional<int64_t> read_integer(std::string_view word);
// `1e-3`, `+1_000.5`, `inf`, `-nan`; nothing for what is too large for a double, or so small that it would be 0.
std::optional<double> read_real(std::string_view word);

}  // namespace onebit
