// SPDX-License-Identifier: Apache-2.0
// Which machine this is, as a number that ranks compare.
#pragma once

#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <string>

#include "onebit/text_hash.hpp"

namespace onebit {

// The kernel's, new at each start of the machine; "" where it can't be read.
inline std::string boot_id() {
  char text[64] = "";
  std::FILE* file = std::fopen("/proc/sys/kernel/random/boot_id", "re");
  if (file == nullptr) return "";
  const bool read = std::fgets(text, sizeof text, file) != nullptr;
  std::fclose(file);
  return read ? text : "";
}

// The same on ranks of one machine, another on others, though they have the same name. Containers with names of their own are
// machines of their own.
inline uint64_t machine_number() {
  char name[256] = "";
  (void)::gethostname(name, sizeof name - 1);
  return text_hash(name + ('/' + boot_id()));
}

}  // namespace onebit
