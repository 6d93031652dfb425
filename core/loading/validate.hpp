// SPDX-License-Identifier: Apache-2.0
// The tables that a plugin gave, checked before any of it is used: sizes, required slots, names, kinds, schemas.
#pragma once

#include "onebit/abi.h"
#include "onebit/registry.hpp"

namespace onebit {

// What the tables say. Throws Error(invalid_argument) with the reason when they can't be used. file and unavailable stay empty.
PluginInfo checked_plugin(const onebit_plugin* plugin);

}  // namespace onebit
