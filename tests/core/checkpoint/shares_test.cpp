// SPDX-License-Identifier: Apache-2.0
// Files cut over ranks: every byte by one of them, and none much more than the others.
#include "checkpoint/shares.hpp"

#include <doctest/doctest.h>

#include <algorithm>

#include "onebit/error.hpp"

using onebit::ByteRange;
using onebit::RecordedFile;

TEST_CASE("every byte is of one rank, and no rank has above 1.1 times its share") {
  const uint64_t sizes[] = {0, 1, 100, 4095, 4096, 65'537, 1'000'003, 98'566'144, 5'000'000'007, uint64_t{1} << 60U};
  for (const uint64_t bytes : sizes)
    for (const uint64_t ranks : {1, 2, 3, 4, 7, 64, 1000}) {
      uint64_t end = 0;
      for (uint64_t rank = 0; rank < ranks; ++rank) {
        const ByteRange range = onebit::share_of(bytes, rank, ranks);
        REQUIRE(range.begin == end);
        REQUIRE(range.end >= range.begin);
        end = range.end;
        CHECK((end == bytes || end % 4096 == 0));
        const double share = static_cast<double>(bytes) / static_cast<double>(ranks);
        const double most = share >= 65'536 ? 1.1 * share : share + 2 * 4096;
        CHECK(static_cast<double>(range.end - range.begin) <= most);
      }
      REQUIRE(end == bytes);
    }
}

TEST_CASE("what ranks wrote becomes one record") {
  const RecordedFile shared = {"model", 30, {{0, 10, "a"}, {10, 12, "b"}}}, rest = {"model", 30, {{12, 30, "c"}}};
  const std::vector<RecordedFile> files =
      onebit::join_files({onebit::files_text({rest, {"rank 0", 1, {{0, 1, "d"}}}}), onebit::files_text({shared}),
                          onebit::files_text({{"model", 30, {}}, {"empty", 0, {}}})});
  REQUIRE(files.size() == 3);
  CHECK(files[0].name == "model");
  CHECK(files[0].bytes == 30);
  REQUIRE(files[0].pieces.size() == 3);
  for (size_t i = 0; i < 3; ++i) CHECK(files[0].pieces[i].hash == std::string(1, static_cast<char>('a' + i)));
  CHECK(files[2].pieces.empty());
}

TEST_CASE("ranks that do not agree are found out") {
  const auto joined = [](const RecordedFile& one, const RecordedFile& other) {
    return onebit::join_files({onebit::files_text({one}), onebit::files_text({other})});
  };
  CHECK_THROWS_WITH_AS(joined({"f", 9, {}}, {"f", 8, {}}), doctest::Contains("of different sizes: 9 and 8 bytes"),
                       onebit::Error);
  CHECK_THROWS_WITH_AS(joined({"f", 9, {{0, 4, "a"}}}, {"f", 9, {{5, 9, "b"}}}), "f: after byte 4 ranks wrote from byte 5 on",
                       onebit::Error);
  CHECK_THROWS_AS(joined({"f", 9, {{0, 5, "a"}}}, {"f", 9, {{4, 9, "b"}}}), onebit::Error);
  CHECK_THROWS_WITH_AS(joined({"f", 9, {{0, 5, "a"}}}, {"f", 9, {}}), "f: ranks wrote 5 of 9 bytes", onebit::Error);
  CHECK_THROWS_WITH_AS(onebit::join_files({"[{}]"}), doctest::Contains("cannot be read"), onebit::Error);
}
