// SPDX-License-Identifier: Apache-2.0
// Any bit of any file of a checkpoint: when it is not what was saved, the checkpoint is refused. There is no padding that
// nobody looks at.
#include <doctest/doctest.h>

#include <fstream>

#include "onebit/checkpoint.hpp"
#include "saving.hpp"
#include "support/scratch_folder.hpp"

namespace fs = std::filesystem;
using namespace onebit::test;

TEST_CASE("200 random bits of a checkpoint's files: flipped, each is found out") {
  const ScratchFolder scratch;
  int refused = 0;
  for (const onebit::HashKind kind : {onebit::HashKind::xxh3_128, onebit::HashKind::sha256}) {
    const fs::path folder = save(scratch.path(), {5, 1, 2, kind}).folder;
    std::vector<fs::path> files;
    for (const auto& entry : fs::directory_iterator(folder)) files.push_back(entry.path());
    REQUIRE(files.size() == 5);
    std::mt19937 random(3);
    for (int i = 0; i < 100; ++i) {
      const fs::path& file = files[i % files.size()];
      const uint64_t bit = random() % (fs::file_size(file) * 8);
      std::fstream bytes(file, std::ios::in | std::ios::out | std::ios::binary);
      const auto flip = [&] {
        bytes.seekg(static_cast<std::streamoff>(bit / 8));
        const int byte = bytes.get() ^ (1 << bit % 8);
        bytes.seekp(static_cast<std::streamoff>(bit / 8));
        bytes.put(static_cast<char>(byte)).flush();
      };
      flip();
      const std::string error = error_text(folder);
      CHECK_MESSAGE(error.find(file.string() + ": ") == 0, file.string(), ", bit ", bit, ": ", error);
      refused += error.empty() ? 0 : 1;
      flip();
    }
    CHECK(error_text(folder) == "");
  }
  CHECK(refused == 200);
  MESSAGE(refused << " of 200 flipped bits refused");
}
