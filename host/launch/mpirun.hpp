// SPDX-License-Identifier: Apache-2.0
// Starting mpirun, for those who asked for ranks that are processes without starting them.
#pragma once

#include <string>
#include <vector>

namespace onebit::host {

// This process becomes `mpirun -n RANKS` of itself with the same arguments, and says so on stderr. Where ranks can't be started
// (no mpirun in PATH, or one that was started in this way and gave no rank), throws Error(unavailable) that says what to type.
[[noreturn]] void become_mpirun(int ranks, const std::vector<std::string>& arguments);

}  // namespace onebit::host
