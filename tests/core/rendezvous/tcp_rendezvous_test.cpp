// SPDX-License-Identifier: Apache-2.0
// Ranks that meet over TCP: what each puts all can get, whoever comes first.
#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <functional>
#include <optional>
#include <thread>

#include "launch/ranks.hpp"
#include "onebit/communicator.hpp"
#include "rendezvous/store_protocol.hpp"
#include "support/held_port.hpp"
#include "tcp_ranks.hpp"

using namespace onebit;
using namespace std::chrono_literals;
using host::run_ranks;
using test::contains;
using test::error_of;
using test::Hasty;
using test::HeldPort;
using test::key_of;
using test::rank_of;
using test::Thrown;

namespace {

// Rank 0, here, and then f(rank, its rendezvous) of all ranks on threads.
void meet(int size, const std::function<void(int, const Rendezvous&)>& f) {
  const TcpRendezvous first(rank_of(0, size));
  run_ranks(size, [&](int rank) {
    if (rank == 0) return f(0, Rendezvous(&first.view()));
    const TcpRendezvous other(rank_of(rank, size, first.port()));
    f(rank, Rendezvous(&other.view()));
  });
}

}  // namespace

TEST_CASE("tcp rendezvous: what a launcher told is what a rank shows") {
  LaunchedRank self = rank_of(0, 1);
  const TcpRendezvous alone(self);
  CHECK(alone.view().struct_size == sizeof(onebit_rendezvous));
  CHECK(alone.view().rank == 0);
  CHECK(alone.view().size == 1);
  CHECK(alone.view().local_rank == 0);
  CHECK(alone.view().local_size == 1);
  CHECK(alone.port() > 0);
  self.size = 3;
  const Hasty first(self);
  LaunchedRank other = rank_of(2, 3, first.port());
  other.local_rank = 1;
  other.local_size = 2;
  const TcpRendezvous second(other);
  CHECK(second.view().rank == 2);
  CHECK(second.view().size == 3);
  CHECK(second.view().local_rank == 1);
  CHECK(second.view().local_size == 2);
}

TEST_CASE("tcp rendezvous: every rank gets what every rank puts") {
  for (const int size : {1, 2, 5, 64}) {
    CAPTURE(size);
    std::atomic<int> right{0};
    meet(size, [&](int rank, const Rendezvous& rendezvous) {
      rendezvous.put(key_of(rank), &rank, sizeof rank);
      for (int other = size; other-- > 0;) {
        int value = -1;
        rendezvous.get(key_of(other), &value, sizeof value);
        right += value == other;
      }
    });
    CHECK(right == size * size);
  }
}

TEST_CASE("tcp rendezvous: a value that is put again is new, an empty one is one, keys are any bytes") {
  meet(2, [](int rank, const Rendezvous& rendezvous) {
    const std::string odd("a\0b\n'\xff", 6);
    char value[3] = "";
    if (rank == 1) {
      rendezvous.put("key", "one", 3);
      rendezvous.put("key", "two", 3);
      rendezvous.put("empty", nullptr, 0);
      rendezvous.put("", "x", 1);
      rendezvous.put(odd, "odd", 3);
    }
    rendezvous.get(odd, value, 3);
    CHECK(std::string(value, 3) == "odd");
    rendezvous.get("key", value, 3);
    CHECK(std::string(value, 3) == "two");
    rendezvous.get("empty", nullptr, 0);
    rendezvous.get("", value, 1);
    CHECK(value[0] == 'x');
  });
}

TEST_CASE("tcp rendezvous: large values arrive whole, those beyond the limit are refused before they are sent") {
  const size_t most = store::kMostValue;
  meet(3, [&](int rank, const Rendezvous& rendezvous) {
    std::string mine(rank == 1 ? most : 1'000'000, static_cast<char>('a' + rank));
    for (size_t i = 0; i < mine.size(); i += 4096) mine[i] = static_cast<char>(i >> 12);
    rendezvous.put(key_of(rank), mine.data(), mine.size());
    std::string found((rank + 1) % 3 == 1 ? most : 1'000'000, '\0');
    rendezvous.get(key_of((rank + 1) % 3), found.data(), found.size());
    std::string expected(found.size(), static_cast<char>('a' + (rank + 1) % 3));
    for (size_t i = 0; i < expected.size(); i += 4096) expected[i] = static_cast<char>(i >> 12);
    CHECK(found == expected);
    const Thrown thrown = error_of([&] { rendezvous.put("more", std::string(most + 1, 'x').data(), most + 1); });
    CHECK(thrown.code == ONEBIT_INVALID_ARGUMENT);
    CHECK(thrown.text == "a rendezvous takes keys of 4096 bytes and values of 16777216 at the most, not 4 and 16777217");
  });
}

TEST_CASE("tcp rendezvous: rank 0 does not keep more than it should") {
  const TcpRendezvous first(rank_of(0, 1));
  const Rendezvous rendezvous(&first.view());
  const std::string big(store::kMostValue, 'x');
  for (int i = 0; i < 3; ++i) rendezvous.put(key_of(i), big.data(), big.size());
  for (int i = 0; i < 3; ++i) rendezvous.put(key_of(2), big.data(), big.size());  // in its own place
  const Thrown thrown = error_of([&] { rendezvous.put(key_of(3), big.data(), big.size()); });
  CHECK(thrown.code == ONEBIT_OUT_OF_MEMORY);
  CHECK_MESSAGE(contains(thrown.text, "the rendezvous is full: with rendezvous key 'rank.3' its values would have"),
                thrown.text);
  rendezvous.put(key_of(2), "x", 1);
  rendezvous.put(key_of(3), big.data(), big.size());
}

TEST_CASE("tcp rendezvous: a value that does not fit says its size, one that is NULL is refused") {
  const TcpRendezvous first(rank_of(0, 1));
  const onebit_rendezvous& view = first.view();
  Rendezvous(&view).put("key", "12345", 5);
  char value[4] = "abc";
  size_t size = 0;
  onebit_error err = {sizeof(onebit_error), 0, ""};
  CHECK(view.get(view.ctx, str("key"), value, 3, &size, 0, &err) == ONEBIT_INVALID_ARGUMENT);
  CHECK(size == 5);
  CHECK(contains(err.message, "has 5 bytes, more than the 3"));
  CHECK(std::string(value) == "abc");
  CHECK(view.put(view.ctx, str("key"), nullptr, 4, &err) == ONEBIT_INVALID_ARGUMENT);
}

TEST_CASE("tcp rendezvous: a key that nobody puts: who is missing is named") {
  std::optional<TcpRendezvous> gone;
  const Hasty first(rank_of(0, 4));
  gone.emplace(rank_of(1, 4, first.port()));
  char value = 0;
  const auto wait = [&](int64_t timeout_ns) {
    return error_of([&] { Rendezvous(&first.view()).get("absent", &value, 1, timeout_ns); });
  };
  const Thrown thrown = wait(20'000'000);
  CHECK(thrown.code == ONEBIT_TIMEOUT);
  CHECK(thrown.text == "no rank has put rendezvous key 'absent' within 0.020000 s; ranks 2, 3 have not come, of 4");
  gone.reset();
  const TcpRendezvous second(rank_of(2, 4, first.port())), third(rank_of(3, 4, first.port()));
  std::string later;
  for (int i = 0; i < 100 && !contains(later, "gone"); ++i) later = wait(10'000'000).text;
  CHECK_MESSAGE(contains(later, "; rank 1 has come and gone"), later);
  CHECK(wait(1).code == ONEBIT_TIMEOUT);
}

TEST_CASE("tcp rendezvous: waits without a limit, or with one beyond the clock, end when the key is there") {
  for (const int64_t timeout : {int64_t{0}, INT64_MAX})
    meet(3, [timeout](int rank, const Rendezvous& rendezvous) {
      if (rank == 2) {
        std::this_thread::sleep_for(20ms);
        return rendezvous.put("late", "!", 1);
      }
      char value = 0;
      rendezvous.get("late", &value, 1, timeout);
      CHECK(value == '!');
    });
}

TEST_CASE("tcp rendezvous: several threads of a rank wait at once") {
  meet(2, [](int rank, const Rendezvous& rendezvous) {
    if (rank == 1)
      for (int i = 0; i < 8; ++i) rendezvous.put(key_of(i), &i, sizeof i);
    else
      run_ranks(8, [&](int i) {
        int value = -1;
        rendezvous.get(key_of(i), &value, sizeof value);
        CHECK(value == i);
      });
  });
}

TEST_CASE("tcp rendezvous: ranks that come before rank 0 wait for it") {
  const HeldPort held;
  const uint16_t port = held.port();
  run_ranks(3, [port](int rank) {
    if (rank == 0) std::this_thread::sleep_for(150ms);
    const TcpRendezvous meeting(rank_of(rank, 3, port));
    const Rendezvous rendezvous(&meeting.view());
    if (rank == 0) rendezvous.put("id", "4711", 4);
    char id[4] = {};
    rendezvous.get("id", id, 4);
    CHECK(std::string(id, 4) == "4711");
  });
}

TEST_CASE("tcp rendezvous: IPv4, IPv6, names, and all interfaces") {
  for (const char* served : {"127.0.0.1", "::1", "localhost", "node0.invalid"})
    for (const char* called : {"127.0.0.1", "localhost", "::1"}) {
      LaunchedRank self = rank_of(0, 2);
      self.host = served;
      std::optional<Hasty> first;
      const Thrown thrown = error_of([&] { first.emplace(self); });
      if (thrown.code == ONEBIT_UNAVAILABLE && std::string(served) == "::1") continue;  // a machine without IPv6
      REQUIRE_MESSAGE(thrown.code == ONEBIT_OK, thrown.text);
      const bool all = std::string(served) == "node0.invalid";  // a name: it may mean any of the machine's interfaces
      if (std::string(called) != served && !(all && std::string(called) != "::1")) continue;
      LaunchedRank other = rank_of(1, 2, first->port());
      other.host = std::string(called) == "::1" ? "[::1]" : called;  // as URLs have it
      const TcpRendezvous second(other, 10s);
      Rendezvous(&second.view()).put("key", "v", 1);
      char value = 0;
      Rendezvous(&first->view()).get("key", &value, 1);
      CHECK(value == 'v');
    }
}

TEST_CASE("tcp rendezvous: rank 0 waits for the others to go, and answers what they still ask") {
  std::atomic<bool> answered{false};
  std::thread other;
  {
    const TcpRendezvous first(rank_of(0, 2));
    Rendezvous(&first.view()).put("key", "v", 1);
    std::atomic<bool> there{false};
    other = std::thread([&, port = first.port()] {
      const TcpRendezvous second(rank_of(1, 2, port));
      there = true;
      std::this_thread::sleep_for(100ms);
      char value = 0;
      Rendezvous(&second.view()).get("key", &value, 1);
      answered = value == 'v';
    });
    while (!there) std::this_thread::sleep_for(1ms);
  }
  CHECK(answered);
  other.join();
}

TEST_CASE("tcp rendezvous: ranks meet again and again at one place, without waiting for each other in between") {
  const HeldPort held;
  std::atomic<int> right{0};
  run_ranks(3, [&](int rank) {
    for (int time = 0; time < 10; ++time) {
      const TcpRendezvous meeting(rank_of(rank, 3, held.port()), 20s);
      const Rendezvous rendezvous(&meeting.view());
      if (rank == time % 3) rendezvous.put("time", &time, sizeof time);
      int found = -1;
      rendezvous.get("time", &found, sizeof found);
      right += found == time;
    }
  });
  CHECK(right == 30);
}

TEST_CASE("tcp rendezvous: ranks that are processes") {
  constexpr int size = 4;
  const HeldPort held;
  const auto live = [&](int rank) {
    const TcpRendezvous meeting(rank_of(rank, size, held.port()), 20s);
    const Rendezvous rendezvous(&meeting.view());
    rendezvous.put(key_of(rank), &rank, sizeof rank);
    for (int other = 0; other < size; ++other) {
      int value = -1;
      rendezvous.get(key_of(other), &value, sizeof value);
      if (value != other) throw Error(Code::internal, "another value");
    }
  };
  std::vector<pid_t> children;
  std::fflush(nullptr);  // or they would write it as well
  for (int rank = 1; rank < size; ++rank) {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(error_of([&] { live(rank); }).code);
    children.push_back(child);
  }
  const Thrown here = error_of([&] { live(0); });
  CHECK_MESSAGE(here.code == ONEBIT_OK, here.text);
  for (const pid_t child : children) {
    int status = -1;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(status == 0);
  }
}
