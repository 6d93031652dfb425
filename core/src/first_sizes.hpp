// The least that struct_size may say: the sizes of version 1.0 of the contract. Today's structs may be larger, and plugins that
// were built before they grew load all the same.
#pragma once

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

}  // namespace onebit
