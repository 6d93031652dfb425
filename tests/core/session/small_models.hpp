// SPDX-License-Identifier: Apache-2.0
// Models that several suites train, and the plainest manifest to train them with.
#pragma once

#include <string>
#include <vector>

#include "support/sessions.hpp"

namespace onebit::test {

inline const Tensors two_tensors = {std::vector<float>(5000, 0.25F), std::vector<float>(40, 1.0F)};
// No size is a whole number of blocks, and one is none.
inline const Tensors uneven = {std::vector<float>(9001, 0.5F), std::vector<float>(100, -1.0F), std::vector<float>(),
                               std::vector<float>(5000, 2.0F), std::vector<float>(17, 0.25F)};

inline const std::string dense_adam = "[optimizer]\nplugin = \"adam\"\n[communicator]\nplugin = \"threads\"\ntimeout = 60\n";

}  // namespace onebit::test
