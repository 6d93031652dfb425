// SPDX-License-Identifier: Apache-2.0
// A library's bytes where nobody can change them any more: what a pin's hash was taken of is what is mapped, whoever may write
// to the file. The copy is in memory (memfd), sealed. The dynamic loader opens it as /proc/<process>/fd/<number>, a name that
// debuggers can open, too; what the library looks for beside itself ($ORIGIN, dladdr) is not there.
#pragma once

#include <filesystem>
#include <string>

namespace onebit {

struct PrivateCopy {
  int descriptor = -1;         // open as long as the process lives, as what was mapped from it stays mapped
  std::string sha256;          // of it
  std::filesystem::path path;  // for the dynamic loader; of no other library that this process has mapped
};

// Of the open file's bytes; the same copy for the same bytes, however often it is asked for. name: for people who look into
// /proc/<process>/maps. Any thread. Throws Error when it can't be made.
PrivateCopy private_copy(int descriptor, const std::string& name);

}  // namespace onebit
