// SPDX-License-Identifier: Apache-2.0
// abi_layout HEADER: prints the header's layout, to be kept as tests/abi/vX.Y/layout.txt.
#include <cstdio>
#include <exception>

#include "header_layout.hpp"
#include "support/scratch_folder.hpp"

int main(int count, char** arguments) try {
  if (count != 2) throw std::runtime_error("usage: abi_layout HEADER");
  const ScratchFolder folder;
  for (const onebit::abi::Line& line : onebit::abi::layout_of(onebit::abi::text_of(arguments[1]), folder.path()))
    std::printf("%s\t%s\n", line.what.c_str(), line.how.c_str());
  return 0;
} catch (const std::exception& e) {
  std::fprintf(stderr, "abi_layout: %s\n", e.what());
  return 1;
}
