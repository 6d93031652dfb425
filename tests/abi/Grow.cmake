# SPDX-License-Identifier: Apache-2.0
# Writes OUTPUT: the contract of a version that nobody has made yet, out of today's HEADER. Every struct that may grow has one
# field more, every table of functions, the host's too, an optional slot, and there are a type of options, a capability and a kind
# of component that today's host does not know.
file(READ ${HEADER} text)
string(REGEX REPLACE "#define ONEBIT_ABI_MINOR [0-9]+u" "#define ONEBIT_ABI_MINOR 99u" text "${text}")
string(REGEX REPLACE "({[^{}]*\n  uint64_t struct_size;[^{}]*)\n} onebit_([a-z_]+);"
       "\\1\n  uint64_t grown;\n} onebit_\\2;" text "${text}")
string(REGEX REPLACE "\n} onebit_([a-z]+)_api;" "\n  onebit_code (*later)(onebit_\\1* self, onebit_error* err);\n} onebit_\\1_api;"
       text "${text}")
string(REPLACE "\n} onebit_host;" "\n  int32_t (*later)(void* ctx);\n} onebit_host;" text "${text}")
string(REPLACE "/* ---- the plugin " "enum { ONEBIT_VALUE_LATER = 1024, ONEBIT_KIND_LATER = 4 };
#define ONEBIT_CAPABILITY_LATER (UINT64_C(1) << 40)
/* ---- the plugin " text "${text}")
file(WRITE ${OUTPUT} "${text}")
