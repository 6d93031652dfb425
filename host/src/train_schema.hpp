// The schema of the table [train], which belongs to the command and not to the core.
#pragma once

#include <vector>

#include "onebit/abi.h"

namespace onebit::host {

inline std::vector<const onebit_schema*> train_schema() { return {}; }

}  // namespace onebit::host
