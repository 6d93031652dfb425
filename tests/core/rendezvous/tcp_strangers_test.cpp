// SPDX-License-Identifier: Apache-2.0
// Who does not belong where ranks meet over TCP, or is not there: told in words, and nobody else is held up.
#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "onebit/communicator.hpp"
#include "rendezvous/store_protocol.hpp"
#include "support/held_port.hpp"
#include "tcp_ranks.hpp"

using namespace onebit;
using namespace std::chrono_literals;
using boost::asio::ip::tcp;
using test::contains;
using test::error_of;
using test::Hasty;
using test::HeldPort;
using test::rank_of;
using test::Thrown;

namespace {

constexpr uint64_t kNoJob = 0x2d06800538d394c2;  // XXH3 of no bytes

// A caller that says what it likes.
class Stranger {
 public:
  explicit Stranger(uint16_t port) { socket_.connect({boost::asio::ip::address_v4::loopback(), port}); }
  void say(const void* bytes, size_t count) {
    boost::system::error_code ignored;
    boost::asio::write(socket_, boost::asio::buffer(bytes, count), ignored);
  }
  void say(const std::string& text) { say(text.data(), text.size()); }
  uint32_t hears_code() {
    store::Reply reply;
    boost::asio::read(socket_, boost::asio::buffer(&reply, sizeof reply));
    return reply.code;
  }
  // All that comes until the other side closes.
  std::string hears() {
    std::string all;
    boost::system::error_code end;
    boost::asio::read(socket_, boost::asio::dynamic_buffer(all), end);
    return all;
  }

 private:
  boost::asio::io_context io_;
  tcp::socket socket_{io_};
};

size_t open_files() {
  const std::filesystem::directory_iterator files("/proc/self/fd");
  return static_cast<size_t>(std::distance(begin(files), end(files)));
}

}  // namespace

TEST_CASE("tcp rendezvous: a rank 0 that never comes, a name that leads nowhere") {
  const HeldPort held;
  const uint16_t port = held.port();
  const auto begin = std::chrono::steady_clock::now();
  const Thrown thrown = error_of([port] { const TcpRendezvous never(rank_of(3, 4, port), 200ms); });
  CHECK(std::chrono::steady_clock::now() - begin < 5s);
  CHECK(thrown.code == ONEBIT_TIMEOUT);
  CHECK(thrown.text ==
        "rank 3 could not reach rank 0's rendezvous at 127.0.0.1:" + std::to_string(port) +
            " within 200 ms: Connection refused; is rank 0 started, is its address right (MASTER_ADDR), and its port "
            "open?");
  LaunchedRank lost = rank_of(1, 2, 29500);
  lost.host = "no..such..name";
  const Thrown lost_thrown = error_of([&] { const TcpRendezvous never(lost, 50ms); });
  CHECK(lost_thrown.code == ONEBIT_TIMEOUT);
  CHECK_MESSAGE(contains(lost_thrown.text, "the name 'no..such..name' cannot be resolved"), lost_thrown.text);
}

TEST_CASE("tcp rendezvous: an address that cannot be one is refused at once, whoever gives it") {
  LaunchedRank self = rank_of(1, 2, 29500);
  self.host = "127.0.0.1:29555";
  CHECK(error_of([&] { const TcpRendezvous never(self); }).text.find("rank 0's host is '127.0.0.1:29555': expected") == 0);
  LaunchedRank served = rank_of(0, 1);
  served.host = "[127.0.0.1]";
  CHECK(error_of([&] { const TcpRendezvous never(served); }).code == ONEBIT_INVALID_ARGUMENT);
}

TEST_CASE("tcp rendezvous: a rank that waits says now and then for what") {
  LaunchedRank self = rank_of(1, 2, 29500);
  self.host = "no..such..name";
  std::vector<std::string> said;
  const auto waiting = [&](const std::string& why) { said.push_back(why); };
  CHECK(error_of([&] { const TcpRendezvous never(self, 2s, 0s, waiting); }).code == ONEBIT_TIMEOUT);
  REQUIRE(!said.empty());
  CHECK(said.size() < 10);
  CHECK_MESSAGE(said.front().find("rank 1 could not reach rank 0's rendezvous at no..such..name:29500 yet: the name "
                                  "'no..such..name' cannot be resolved, ") == 0,
                said.front());
  CHECK_MESSAGE(contains(said.front(), "; it tries for 2 s"), said.front());
}

TEST_CASE("tcp rendezvous: a port that is taken") {
  const Hasty first(rank_of(0, 2));
  const Thrown thrown = error_of([&] { const TcpRendezvous second(rank_of(0, 2, first.port())); });
  CHECK(thrown.code == ONEBIT_UNAVAILABLE);
  CHECK(thrown.text ==
        "rank 0 cannot serve the rendezvous at 127.0.0.1:" + std::to_string(first.port()) +
            ": Address already in use; set ONEBIT_PORT to a port that is free on rank 0's machine, the same on all ranks");
}

TEST_CASE("tcp rendezvous: where there are several ports, rank 0 takes one that is free, and the others find it") {
  const TcpRendezvous other_job(rank_of(0, 1));
  const auto told = [&](int rank) {
    LaunchedRank self = rank_of(rank, 3, other_job.port());
    self.ports = 8;
    self.job = "another";
    return self;
  };
  const Thrown early = error_of([&] { const TcpRendezvous lost(told(1), 100ms); });
  CHECK(early.code == ONEBIT_TIMEOUT);
  const std::string first_port = std::to_string(other_job.port());
  CHECK_MESSAGE(contains(early.text, "at 127.0.0.1:" + first_port + " to " + std::to_string(other_job.port() + 7) +
                                         " within 100 ms: at " + first_port + " rank 0 there belongs to another job"),
                early.text);
  const Hasty first(told(0));
  CHECK(first.port() > other_job.port());
  CHECK(first.port() < other_job.port() + 8);
  const TcpRendezvous second(told(1)), third(told(2));
  CHECK(second.port() == first.port());
  Rendezvous(&second.view()).put("key", "v", 1);
  char value = 0;
  Rendezvous(&third.view()).get("key", &value, 1);
  CHECK(value == 'v');
}

TEST_CASE("tcp rendezvous: ranks that do not belong together") {
  LaunchedRank self = rank_of(0, 4);
  self.job = "job-1";
  const Hasty first(self);
  const auto join = [&](int rank, int size, const std::string& job) {
    LaunchedRank other = rank_of(rank, size, first.port());
    other.job = job;
    const Thrown thrown = error_of([&] { const TcpRendezvous meeting(other, 5s); });
    return std::to_string(thrown.code) + " " + thrown.text;
  };
  const std::string there = " cannot join rank 0's rendezvous at 127.0.0.1:" + std::to_string(first.port()) + ": ";
  CHECK(join(1, 8, "job-1") == "9 rank 1" + there + "rank 0 was told of 4 ranks, this one of 8: give all the same WORLD_SIZE");
  CHECK(join(1, 4, "job-2") ==
        "9 rank 1" + there + "rank 0 there belongs to another job: give each job a port of its own (ONEBIT_PORT)");
  LaunchedRank third = rank_of(3, 4, first.port());
  third.job = "job-1";
  const TcpRendezvous twin(third);
  CHECK(join(3, 4, "job-1") == "9 rank 3" + there +
                                   "another process is rank 3 already, at 127.0.0.1: was RANK given twice, or is an older run "
                                   "still going on?");
  CHECK(join(2, 4, "job-1") == "0 ");
  char value = 0;
  const std::string missing = error_of([&] { Rendezvous(&first.view()).get("absent", &value, 1, 1); }).text;
  CHECK_MESSAGE(contains(missing, " callers were refused, the last one 127.0.0.1: another process is rank 3"), missing);
}

TEST_CASE("tcp rendezvous: arguments that no rank can have") {
  const auto refusal = [](LaunchedRank self) { return error_of([&] { const TcpRendezvous none(self, 1s); }).text; };
  CHECK(refusal(rank_of(0, 0)) == "a rendezvous is for 1 to 65536 ranks, not 0");
  CHECK(refusal(rank_of(2, 2, 1)) == "there is no rank 2 of 2: ranks are counted from 0");
  LaunchedRank beyond = rank_of(0, 2, 65530);
  beyond.ports = 7;
  CHECK(refusal(beyond) == "there are no 7 ports from 65530 on");
  CHECK(refusal(rank_of(1, 2)) == "rank 1 was not told rank 0's port");
  LaunchedRank homeless = rank_of(1, 2, 1);
  homeless.host = "";
  CHECK(refusal(homeless) == "rank 1 was not told where rank 0 is");
}

TEST_CASE("tcp rendezvous: strangers neither stop nor hold nor leak") {
  const size_t before = open_files();
  {
    const TcpRendezvous first(rank_of(0, 2));
    std::vector<std::unique_ptr<Stranger>> silent;
    for (int i = 0; i < 50; ++i) silent.push_back(std::make_unique<Stranger>(first.port()));  // half open
    Stranger scanner(first.port());
    scanner.say("GET / HTTP/1.1\r\nHost: node0\r\n\r\n");
    CHECK(scanner.hears().empty());
    Stranger cut(first.port());
    cut.say("onebit");
    store::Request request;
    request.prefix.version = store::kVersion + 1;
    Stranger later(first.port());
    later.say(&request.prefix, sizeof request.prefix);
    CHECK(contains(later.hears(), "rank 0 speaks version 1 of the rendezvous, this rank version 2"));
    request.prefix.version = store::kVersion;
    const auto hears = [&](store::Verb verb, uint32_t rank, uint32_t key, uint32_t value) {
      request.prefix.verb = static_cast<uint32_t>(verb);
      request.head.size = 2;
      request.head.job = kNoJob;
      request.head.rank = rank;
      request.head.key_bytes = key;
      request.head.value_bytes = value;
      Stranger caller(first.port());
      caller.say(&request, sizeof request);
      return caller.hears();
    };
    CHECK(contains(hears(store::Verb::put, 1, store::kMostKey + 1, 0), "more than a rendezvous takes"));
    CHECK(contains(hears(store::Verb::put, 1, 0, UINT32_MAX), "more than a rendezvous takes"));
    CHECK(contains(hears(store::Verb::put, 2, 0, 0), "there is no rank 2 of 2"));
    CHECK(contains(hears(store::Verb{9}, 1, 0, 0), "a rendezvous has no verb 9"));
    CHECK(hears(store::Verb::put, 1, 0, 0).size() == sizeof(store::Reply));
    {
      request.prefix.verb = static_cast<uint32_t>(store::Verb::get);
      request.head.key_bytes = 3;
      Stranger impatient(first.port());  // gone before its key is there
      impatient.say(&request, sizeof request);
      impatient.say("key");
    }
    const TcpRendezvous second(rank_of(1, 2, first.port()));
    Rendezvous(&second.view()).put("key", "v", 1);
    char value = 0;
    Rendezvous(&first.view()).get("key", &value, 1);
    CHECK(value == 'v');
  }
  CHECK(open_files() == before);
}

TEST_CASE("tcp rendezvous: a rank that has lost its connection comes again, another in its place does not") {
  const Hasty first(rank_of(0, 2));
  const auto join = [&first](uint64_t visitor) {
    auto caller = std::make_unique<Stranger>(first.port());
    store::Request request;
    request.prefix.verb = static_cast<uint32_t>(store::Verb::join);
    request.head.rank = 1;
    request.head.size = 2;
    request.head.job = kNoJob;
    request.head.visitor = visitor;
    caller->say(&request, sizeof request);
    return caller;
  };
  auto once = join(7);
  CHECK(once->hears_code() == ONEBIT_OK);
  auto again = join(7);
  CHECK(again->hears_code() == ONEBIT_OK);
  once.reset();
  CHECK(join(8)->hears_code() == store::kTaken);
  again.reset();
  uint32_t code = store::kTaken;
  for (int i = 0; i < 1000 && code == store::kTaken; ++i) code = join(8)->hears_code();
  CHECK(code == store::kGone);
  CHECK(join(7)->hears_code() == ONEBIT_OK);
}

TEST_CASE("tcp rendezvous: callers that say anything at all") {
  const Hasty first(rank_of(0, 2));
  std::mt19937 random(7);  // the same callers each time
  for (int caller = 0; caller < 300; ++caller) {
    std::string bytes(sizeof(store::Request) + random() % 64, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random());
    store::Request request;
    std::memcpy(&request, bytes.data(), sizeof request);
    request.prefix.magic = store::kMagic;
    request.prefix.version = store::kVersion;
    if (caller % 2 == 0) {  // as far as a request can be understood
      request.prefix.verb = random() % 5;
      request.head.rank = random() % 3;
      request.head.size = 2;
      request.head.job = kNoJob;
      request.head.key_bytes = random() % 64;
      request.head.value_bytes = random() % 64;
    }
    std::memcpy(bytes.data(), &request, sizeof request);
    Stranger(first.port()).say(bytes.substr(0, caller % 3 == 0 ? random() % bytes.size() : bytes.size()));
  }
  Rendezvous(&first.view()).put("key", "v", 1);
  char value = 0;
  Rendezvous(&first.view()).get("key", &value, 1);
  CHECK(value == 'v');
}

TEST_CASE("tcp rendezvous: with more callers than it takes at once, those that have come too late are served all the same") {
  const Hasty first(rank_of(0, 2));
  std::vector<std::unique_ptr<Stranger>> silent;
  for (int i = 0; i < 300; ++i) silent.push_back(std::make_unique<Stranger>(first.port()));
  std::thread patient([&first] { Rendezvous(&first.view()).put("key", "v", 1); });
  std::this_thread::sleep_for(50ms);
  silent.clear();
  patient.join();
  char value = 0;
  Rendezvous(&first.view()).get("key", &value, 1);
  CHECK(value == 'v');
}

TEST_CASE("tcp rendezvous: something else listens where rank 0 should be") {
  boost::asio::io_context io;
  tcp::acceptor acceptor(io, {boost::asio::ip::address_v4::loopback(), 0});
  const uint16_t port = acceptor.local_endpoint().port();
  std::thread other([&] {
    tcp::socket caller = acceptor.accept();
    const std::string page = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
    boost::asio::write(caller, boost::asio::buffer(page));
    char rest[256];
    boost::system::error_code ignored;
    caller.read_some(boost::asio::buffer(rest), ignored);
  });
  const Thrown thrown = error_of([port] { const TcpRendezvous lost(rank_of(1, 2, port), 5s); });
  other.join();
  CHECK(thrown.code == ONEBIT_STATE_MISMATCH);
  CHECK_MESSAGE(contains(thrown.text, "what answers is not a rendezvous of onebit: another program has that port"),
                thrown.text);
  // It takes calls and says nothing.
  const Thrown silence = error_of([port] { const TcpRendezvous lost(rank_of(1, 2, port), 100ms); });
  CHECK(silence.code == ONEBIT_TIMEOUT);
  CHECK_MESSAGE(contains(silence.text, "waiting for its answer took too long"), silence.text);
}

TEST_CASE("tcp rendezvous: when rank 0 is killed, those that wait are told at once") {
  const HeldPort held;
  std::fflush(nullptr);  // or the child would write it as well
  const pid_t child = ::fork();
  if (child == 0) {
    const TcpRendezvous first(rank_of(0, 2, held.port()));
    for (;;) ::pause();
  }
  const TcpRendezvous second(rank_of(1, 2, held.port()), 20s);
  std::thread killer([child] {
    std::this_thread::sleep_for(50ms);
    ::kill(child, SIGKILL);
  });
  char value = 0;
  const Thrown thrown = error_of([&] { Rendezvous(&second.view()).get("key", &value, 1, 0); });
  killer.join();
  ::waitpid(child, nullptr, 0);
  CHECK(thrown.code == ONEBIT_PEER_FAILED);
  CHECK(thrown.text ==
        "rank 1 lost rank 0's rendezvous at 127.0.0.1:" + std::to_string(held.port()) +
            ", asking for rendezvous key 'key': it has closed the connection; has rank 0 ended? See what it says");
}

TEST_CASE("tcp rendezvous: when rank 0 fails, those that wait are told at once") {
  Thrown waited = {}, later = {};
  std::atomic<bool> there{false};
  std::thread other;
  const auto begin = std::chrono::steady_clock::now();
  try {
    const TcpRendezvous first(rank_of(0, 2));
    other = std::thread([&, port = first.port()] {
      const TcpRendezvous second(rank_of(1, 2, port));
      there = true;
      char value = 0;
      waited = error_of([&] { Rendezvous(&second.view()).get("key", &value, 1, 0); });
      later = error_of([&] { Rendezvous(&second.view()).put("key", "v", 1); });
    });
    while (!there) std::this_thread::sleep_for(1ms);
    std::this_thread::sleep_for(50ms);
    throw Error(Code::internal, "rank 0 fails");
  } catch (const Error&) {
  }
  other.join();
  CHECK(std::chrono::steady_clock::now() - begin < 5s);
  CHECK(waited.code == ONEBIT_PEER_FAILED);
  CHECK_MESSAGE(contains(waited.text, "rank 0 has left the rendezvous, and no rank had put rendezvous key 'key'"), waited.text);
  CHECK(later.code == ONEBIT_PEER_FAILED);
  CHECK_MESSAGE(contains(later.text, "asking for rendezvous key 'key': Connection refused; has rank 0 ended?"), later.text);
}
