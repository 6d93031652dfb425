// SPDX-License-Identifier: Apache-2.0
// The least that struct_size may say: the sizes of version 1.0 of the contract. Today's structs may be larger, and plugins that
// were built before they grew load all the same.
#pragma once

#include <algorithm>
#include <cstring>

#include "onebit/abi.h"

namespace onebit {

// Of the structs that plugins allocate and this host reads. A later field of theirs is read through ONEBIT_HAS or ONEBIT_CAN.
template <class Struct>
struct FirstSize;

// last: the struct's last field in 1.0.
#define ONEBIT_FIRST_SIZE(type, last)                                            \
  template <>                                                                    \
  struct FirstSize<type> {                                                       \
    static constexpr uint64_t value = offsetof(type, last) + sizeof(type::last); \
  }
ONEBIT_FIRST_SIZE(onebit_plugin, shutdown);
ONEBIT_FIRST_SIZE(onebit_component, api);
ONEBIT_FIRST_SIZE(onebit_schema, array_max);
ONEBIT_FIRST_SIZE(onebit_optimizer_api, apply);
ONEBIT_FIRST_SIZE(onebit_compressor_api, decode);
ONEBIT_FIRST_SIZE(onebit_communicator_api, machine);
ONEBIT_FIRST_SIZE(onebit_state_desc, role);
ONEBIT_FIRST_SIZE(onebit_round, retain);
#undef ONEBIT_FIRST_SIZE

// A plugin's struct as one of this host's: `=` would read beyond the end of one from an older plugin. What it lacks is 0.
template <class Struct>
Struct copied(const Struct& theirs) {
  Struct made{};
  std::memcpy(&made, &theirs, std::min<uint64_t>(theirs.struct_size, sizeof made));
  made.struct_size = sizeof made;
  return made;
}

}  // namespace onebit
