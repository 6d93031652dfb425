// SPDX-License-Identifier: Apache-2.0
// The in-process rendezvous: keys, waiting, and what it refuses.
#include "onebit/rendezvous.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <thread>

#include "onebit/communicator.hpp"
#include "tcp_ranks.hpp"

using namespace onebit;
using test::error_of;

TEST_CASE("rendezvous: every rank has a view of its own") {
  LocalRendezvous meeting(3);
  CHECK(meeting.ranks() == 3);
  for (int rank = 0; rank < 3; ++rank) {
    const onebit_rendezvous& view = meeting.at(rank);
    CHECK(view.struct_size == sizeof(onebit_rendezvous));
    CHECK(view.rank == rank);
    CHECK(view.size == 3);
    CHECK(view.local_rank == rank);
    CHECK(view.local_size == 3);
  }
  CHECK_THROWS_AS(meeting.at(3), std::out_of_range);
}

TEST_CASE("rendezvous: at least one rank") {
  for (int ranks : {0, -2}) {
    const auto [code, text] = error_of([ranks] { LocalRendezvous refused(ranks); });
    CHECK(code == ONEBIT_INVALID_ARGUMENT);
    CHECK(text == "a rendezvous needs at least 1 rank, not " + std::to_string(ranks));
  }
}

TEST_CASE("rendezvous: a value is there for every rank, also for those that came before it") {
  LocalRendezvous meeting(4);
  std::atomic<int> right{0};
  std::vector<std::thread> readers;
  for (int rank = 1; rank < 4; ++rank)
    readers.emplace_back([&, rank] {
      double value = 0;
      Rendezvous(&meeting.at(rank)).get("answer", &value, sizeof value, 0);
      right += value == 42.5;
    });
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  const double value = 42.5;
  Rendezvous(&meeting.at(0)).put("other", "x", 1);
  Rendezvous(&meeting.at(0)).put("answer", &value, sizeof value);
  for (std::thread& reader : readers) reader.join();
  CHECK(right == 3);
}

TEST_CASE("rendezvous: a key that is put again has the new value, an empty value is a value") {
  LocalRendezvous meeting(1);
  const Rendezvous rank(&meeting.at(0));
  char value[3] = "";
  rank.put("key", "one", 3);
  rank.put("key", "two", 3);
  rank.get("key", value, 3);
  CHECK(std::memcmp(value, "two", 3) == 0);
  rank.put("key", nullptr, 0);
  rank.get("key", nullptr, 0);
}

TEST_CASE("rendezvous: a key that nobody puts") {
  LocalRendezvous meeting(2);
  char value = 0;
  const auto [code, text] = error_of([&] { Rendezvous(&meeting.at(1)).get("absent", &value, 1, 20'000'000); });
  CHECK(code == ONEBIT_TIMEOUT);
  CHECK(text == "no rank has put rendezvous key 'absent' within 0.020000 s");
}

TEST_CASE("rendezvous: a value that does not fit says its size") {
  LocalRendezvous meeting(1);
  const onebit_rendezvous& view = meeting.at(0);
  Rendezvous(&view).put("key", "12345", 5);
  char value[4] = "abc";
  size_t size = 0;
  onebit_error err = {sizeof(onebit_error), 0, ""};
  CHECK(view.get(view.ctx, str("key"), value, 3, &size, 0, &err) == ONEBIT_INVALID_ARGUMENT);
  CHECK(size == 5);
  CHECK(std::string(err.message).find("has 5 bytes, more than the 3") != std::string::npos);
  CHECK(std::string(value) == "abc");
  const auto [code, text] = error_of([&] { Rendezvous(&view).get("key", value, 3); });
  CHECK(code == ONEBIT_INVALID_ARGUMENT);
}

TEST_CASE("rendezvous: a value that is NULL is refused") {
  LocalRendezvous meeting(1);
  const auto [code, text] = error_of([&] { Rendezvous(&meeting.at(0)).put("key", nullptr, 4); });
  CHECK(code == ONEBIT_INVALID_ARGUMENT);
  CHECK(text == "rendezvous key 'key' was put with a value that is NULL");
}

TEST_CASE("rendezvous: a limit beyond the clock is no limit at all, not one that has passed") {
  LocalRendezvous meeting(2);
  std::thread writer([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    Rendezvous(&meeting.at(0)).put("key", "v", 1);
  });
  char value = 0;
  Rendezvous(&meeting.at(1)).get("key", &value, 1, INT64_MAX);
  writer.join();
  CHECK(value == 'v');
}

TEST_CASE("rendezvous: a code of a later version counts as internal") {
  onebit_rendezvous later = {};
  later.struct_size = sizeof later;
  later.put = [](void*, onebit_str, const void*, size_t, onebit_error* err) {
    return detail::fill(err, 77, "the store is asleep");
  };
  const auto [code, text] = error_of([&] { Rendezvous(&later).put("key", nullptr, 0); });
  CHECK(code == ONEBIT_INTERNAL);
  CHECK(text == "the store is asleep");
}
