// SPDX-License-Identifier: Apache-2.0
// What ranks tell each other besides their steps.
#include "launch/gathering.hpp"

#include <doctest/doctest.h>

#include <array>
#include <mutex>
#include <numeric>

#include "support/sessions.hpp"

using namespace onebit::host;  // NOLINT(google-build-using-namespace): the room under test

namespace {

// Runs f on the communicator of each of n ranks.
void on_ranks(int n, const std::function<void(onebit::Communicator&)>& f) {
  const std::string toml = "[optimizer]\nplugin = \"adam\"\n[communicator]\nplugin = \"threads\"\ntimeout = 60\n";
  onebit::test::run_sessions(n, toml, {{1.0F}}, [&](onebit::test::Rank rank) { f(rank.session.communicator()); });
}

std::mutex checking;  // doctest's assertions of several threads, one after the other

}  // namespace

TEST_CASE("numbers and sums of all ranks, and the text of the first") {
  for (const int n : {1, 2, 4})
    on_ranks(n, [n](onebit::Communicator& communicator) {
      const auto own = static_cast<uint64_t>(communicator.rank());
      const std::vector<uint64_t> numbers = numbers_of_ranks(communicator, 10 + own);
      std::vector<double> sums = {1.0, static_cast<double>(own)};
      sum_over_ranks(communicator, sums);
      const std::string text = text_of_first(communicator, std::string(own + 1, static_cast<char>('a' + own)));
      const std::string empty = text_of_first(communicator, std::string(own, 'x'));
      const std::lock_guard lock(checking);
      REQUIRE(numbers.size() == static_cast<size_t>(n));
      for (size_t i = 0; i < numbers.size(); ++i) CHECK(numbers[i] == 10 + i);
      CHECK(sums == std::vector<double>{static_cast<double>(n), n * (n - 1) / 2.0});
      CHECK(text == "a");
      CHECK(empty.empty());
    });
}

TEST_CASE("values of any rank reach the first, and nobody else") {
  on_ranks(3, [](onebit::Communicator& communicator) {
    const auto own = static_cast<float>(communicator.rank());
    for (const int from : {1, 2}) {
      std::vector<float> values(1000);
      std::iota(values.begin(), values.end(), 1000 * own);
      send_to_first(communicator, from, values);
      const std::lock_guard lock(checking);
      const float expected = communicator.rank() == 0 ? static_cast<float>(from) : own;
      CHECK(values.front() == 1000 * expected);
      CHECK(values.back() == 1000 * expected + 999);
    }
  });
}

TEST_CASE("a line that differs from rank 0's is named, with its rank") {
  const auto run = [](const std::string& first, const std::string& second) {
    on_ranks(2, [&](onebit::Communicator& communicator) {
      require_same_lines(communicator, communicator.rank() == 0 ? first : second, "recipe");
    });
  };
  CHECK_NOTHROW(run("a = 1\nb = 2\n", "a = 1\nb = 2\n"));
  CHECK_THROWS_WITH_AS(run("a = 1\nb = 2\n", "a = 1\nb = 3\n"),
                       "rank 1 has another recipe than rank 0: 'b = 3' where rank 0 has 'b = 2'", onebit::Error);
  CHECK_THROWS_WITH_AS(run("a = 1\n", "a = 1\nb = 3\n"), "rank 1 has another recipe than rank 0: 'b = 3' where rank 0 has ''",
                       onebit::Error);
  CHECK_THROWS_WITH_AS(run("a = 1\nb = 3\n", "a = 1\n"), "rank 1 has another recipe than rank 0: '' where rank 0 has 'b = 3'",
                       onebit::Error);
}
