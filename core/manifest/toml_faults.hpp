// SPDX-License-Identifier: Apache-2.0
// What toml11 says of text that is no TOML, in one line of our own form.
#pragma once

#include "manifest/toml11.hpp"
#include "manifest/toml_text.hpp"

namespace onebit {

[[noreturn]] void refuse_fault(const toml::exception& e, const TomlText& source);

}  // namespace onebit
