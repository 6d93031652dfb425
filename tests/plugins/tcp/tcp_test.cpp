// SPDX-License-Identifier: Apache-2.0
// The communicator `tcp`: the cases of every communicator, how ranks meet, strangers, and ranks that are processes.
#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <cstring>

#include "onebit/manifest.hpp"
#include "onebit/registry.hpp"
#include "onebit/rendezvous.hpp"
#include "support/held_port.hpp"
#include "support/rank_threads.hpp"
#include "support/running.hpp"

namespace {

using namespace onebit;
using conformance::Rank;
using conformance::require;
using conformance::Vector;
using test::check_none;
using test::Gather;
using test::HeldPort;
using test::outcomes;

const std::string kPlugin = ONEBIT_BINARY_DIR "/lib/onebit/plugins/onebit_plugin_tcp.so";
const std::string kHere = "interface = \"lo\"\n";

const Registry& registry() {
  static Registry loaded;
  static const PluginInfo& plugin = loaded.load(kPlugin);
  (void)plugin;
  return loaded;
}

Rank tcp_rank(const onebit_rendezvous& rendezvous, const std::string& options = kHere + "timeout = 20") {
  const ComponentInfo& tcp = registry().find(Kind::communicator, "tcp");
  const Manifest manifest = Manifest::parse("[communicator]\nplugin = \"tcp\"\n" + options, "test.toml", ".");
  return registry().make_communicator(tcp, ResolvedTable(manifest, "communicator", tcp.options, true), rendezvous);
}

void run_over_tcp(int ranks, const std::function<void(Rank&)>& f, const std::string& options = kHere + "timeout = 20") {
  registry();
  LocalRendezvous rendezvous(ranks);
  check_none(outcomes(ranks, [&](int rank) {
    Rank self = tcp_rank(rendezvous.at(rank), options);
    f(self);
  }));
}

void check_gather(Rank& self) {
  Gather gather(*self, 100'000);
  self->wait(gather.post(*self));
  gather.check();
}

// Where a rank listens, from the rendezvous: the first address behind three secrets and three numbers.
sockaddr_storage place_of(const onebit_rendezvous& rendezvous, int rank) {
  char value[4096];
  size_t size = 0;
  onebit_error err = {sizeof(onebit_error), 0, ""};
  const std::string key = "tcp." + std::to_string(rank);
  REQUIRE(rendezvous.get(rendezvous.ctx, str(key), value, sizeof value, &size, -1, &err) == ONEBIT_OK);
  sockaddr_storage address;
  std::memcpy(&address, value + 72, sizeof address);
  return address;
}

int call(const sockaddr_storage& address) {
  const int caller = ::socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  REQUIRE(::connect(caller, reinterpret_cast<const sockaddr*>(&address), sizeof(sockaddr_in)) == 0);
  return caller;
}

}  // namespace

#define ONEBIT_RUN_OVER_TCP(name)                                                           \
  TEST_CASE("tcp: " #name) {                                                                \
    for (const int ranks : {1, 2, 3, 4, 8}) run_over_tcp(ranks, onebit::conformance::name); \
    run_over_tcp(3, onebit::conformance::name, kHere + "timeout = 20\nstreams = 3");        \
  }
ONEBIT_COMMUNICATOR_CASES(ONEBIT_RUN_OVER_TCP)

TEST_CASE("tcp: strangers who are silent, talk nonsense or go are not taken for ranks") {
  registry();
  LocalRendezvous rendezvous(3);
  std::vector<int> strangers;
  check_none(outcomes(4, [&](int rank) {
    if (rank < 2) {
      Rank self = tcp_rank(rendezvous.at(rank));
      return check_gather(self);
    }
    if (rank == 3) return;
    const sockaddr_storage address = place_of(rendezvous.at(2), 0);
    for (int i = 0; i < 200; ++i) {
      const int stranger = call(address);
      const std::string nonsense(static_cast<size_t>(8 * (i % 6)), static_cast<char>(i));  // 32 bytes are a hello's
      if (!nonsense.empty()) (void)!::send(stranger, nonsense.data(), nonsense.size(), MSG_NOSIGNAL);
      if (i % 3 == 0) {
        ::close(stranger);
      } else {
        strangers.push_back(stranger);
      }
    }
    Rank self = tcp_rank(rendezvous.at(2));
    check_gather(self);
  }));
  for (const int stranger : strangers) ::close(stranger);
}

TEST_CASE("tcp: ranks with other numbers of connections say so") {
  registry();
  LocalRendezvous rendezvous(2);
  const std::vector<std::string> texts = outcomes(
      2, [&](int rank) { tcp_rank(rendezvous.at(rank), kHere + "timeout = 1\nstreams = " + std::to_string(rank + 1)); });
  const std::string what = ": give all ranks the same option 'streams'";
  CHECK(texts[0].find("rank 1 has 2 connections to each rank, rank 0 has 1" + what) != std::string::npos);
  CHECK(texts[1].find("rank 0 has 1 connections to each rank, rank 1 has 2" + what) != std::string::npos);
}

namespace {

// Puts an address that refuses before the one where rank 0 listens, or (alone) in its place.
void mislead(const onebit_rendezvous& rendezvous, uint16_t refusing, bool alone) {
  constexpr size_t count_at = 64, addresses_at = 72, address_size = sizeof(sockaddr_storage) + 8;
  std::vector<char> place(4096);
  size_t size = 0;
  onebit_error err = {sizeof(onebit_error), 0, ""};
  REQUIRE(rendezvous.get(rendezvous.ctx, str("tcp.0"), place.data(), place.size(), &size, -1, &err) == ONEBIT_OK);
  std::memcpy(&place[addresses_at + address_size], &place[addresses_at], address_size);
  const in_port_t port = htons(refusing);
  std::memcpy(&place[addresses_at + offsetof(sockaddr_in, sin_port)], &port, sizeof port);
  const uint64_t count = alone ? 1 : 2;
  std::memcpy(&place[count_at], &count, sizeof count);
  REQUIRE(rendezvous.put(rendezvous.ctx, str("tcp.0"), place.data(), size, &err) == ONEBIT_OK);
}

}  // namespace

TEST_CASE("tcp: an address that leads nowhere is passed over, and named where there is no other") {
  registry();
  const HeldPort port;
  LocalRendezvous two(2), lost(2);
  check_none(outcomes(2, [&](int rank) {
    if (rank == 1) mislead(two.at(1), port.port(), false);
    Rank self = tcp_rank(two.at(rank), kHere + "timeout = 20\nstreams = 2");
    check_gather(self);
  }));
  const std::vector<std::string> texts = outcomes(2, [&](int rank) {
    if (rank == 1) mislead(lost.at(1), port.port(), true);
    tcp_rank(lost.at(rank), kHere + "timeout = 1");
  });
  CHECK_MESSAGE(texts[1].find("can't be reached (127.0.0.1, port " + std::to_string(port.port()) + ": Connection refused)") !=
                    std::string::npos,
                texts[1]);
}

TEST_CASE("tcp: create names the ranks that did not come, within the timeout") {
  registry();
  LocalRendezvous rendezvous(4);
  const auto begin = std::chrono::steady_clock::now();
  const std::vector<std::string> texts = outcomes(4, [&](int rank) {
    if (rank == 0 || rank == 2) tcp_rank(rendezvous.at(rank), kHere + "timeout = 0.4");
  });
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  CHECK(took.count() < 5);
  CHECK(texts[0].find("rank 0 waited 0.4 s in create for ranks 1, 3") != std::string::npos);
  CHECK(texts[2].find("rank 2 waited 0.4 s in create for rank 1") != std::string::npos);
}

TEST_CASE("tcp: one rendezvous again and again, and what an earlier meeting left there") {
  registry();
  LocalRendezvous rendezvous(3);
  check_none(outcomes(3, [&](int rank) {
    for (int32_t again = 0; again < 20; ++again) {
      Rank self = tcp_rank(rendezvous.at(rank));
      Vector<int32_t> io({again});
      self->wait(self->all_reduce(io.tensor, io.tensor, ReduceOp::sum, Call()));
      require(io.values[0] == 3 * again, "meetings were mixed");
    }
  }));
}

TEST_CASE("tcp: names, IPv4 and IPv6") {
  for (const std::string where : {"localhost", "127.0.0.1", ""}) run_over_tcp(2, check_gather, "interface = \"" + where + "\"");
  const int socket = ::socket(AF_INET6, SOCK_STREAM, 0);
  sockaddr_in6 loopback = {};
  loopback.sin6_family = AF_INET6;
  loopback.sin6_addr = in6addr_loopback;
  const bool spoken = ::bind(socket, reinterpret_cast<const sockaddr*>(&loopback), sizeof loopback) == 0;
  ::close(socket);
  if (!spoken) {
    std::printf("SKIPPED: this machine has no IPv6\n");
    return;
  }
  run_over_tcp(3, check_gather, "interface = \"::1\"");
}

TEST_CASE("tcp: the words where a rank can't listen") {
  registry();
  LocalRendezvous rendezvous(1);
  const auto refusal = [&](const std::string& options) {
    return conformance::error_of("a rank that can't listen", [&] { tcp_rank(rendezvous.at(0), options); });
  };
  const Error nowhere = refusal("interface = \"nowhere.invalid\"");
  CHECK(nowhere.code() == Code::invalid_argument);
  CHECK(std::string(nowhere.what()).find("option 'interface' is 'nowhere.invalid': expected a network interface") !=
        std::string::npos);
  CHECK(std::string(refusal("interface = \"192.0.2.1\"").what()).find("this rank can't listen at 192.0.2.1") !=
        std::string::npos);
  const HeldPort port;
  const int taken = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int one = 1;
  ::setsockopt(taken, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port.port());
  REQUIRE(::bind(taken, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  REQUIRE(::listen(taken, 1) == 0);
  const std::string number = std::to_string(port.port());
  const Error none = refusal(kHere + "port = " + number + "\nports = 1");
  ::close(taken);
  CHECK(none.code() == Code::unavailable);
  CHECK(std::string(none.what()).find("ports " + number + " to " + number + " are all taken") != std::string::npos);
}

namespace {

// Three ranks that are processes, of which rank 1 gives itself a signal in the middle of payload.
test::Outcome strike(const std::string& signal) {
  const HeldPort port;
  std::string script;
  for (int rank = 3; rank-- > 0;) {
    const std::string number = std::to_string(rank);
    script += "env -u ONEBIT_PORT -u TORCHELASTIC_RUN_ID -u TORCHELASTIC_USE_AGENT_STORE RANK=" + number +
              " WORLD_SIZE=3 LOCAL_RANK=" + number +
              " LOCAL_WORLD_SIZE=3 MASTER_ADDR=127.0.0.1 MASTER_PORT=" + std::to_string(port.port()) +
              " timeout -k 1 100 " ONEBIT_BINARY_DIR "/bin/tcp_rank 1 " + signal + " & p" + number + "=$!\n";
  }
  const std::string end = signal == "STOP" ? "kill $p1; " : "";
  return test::run_shell(script + "wait $p0; a=$?; wait $p2; b=$?; " + end + "wait $p1; exit $((a + b))");
}

}  // namespace

TEST_CASE("tcp: ranks that are processes, of which one is killed in the middle of payload, and named") {
  const test::Outcome outcome = strike("KILL");
  CHECK_MESSAGE(outcome.status == 0, outcome.text);
  for (const std::string rank : {"0", "2"}) {
    const std::string who = "[rank " + rank + "] code " + std::to_string(ONEBIT_PEER_FAILED) + " in time: communicator 'tcp': ";
    CHECK_SAYS(outcome, who + "all_gather (operation 2): rank 1 failed: ");
  }
}

TEST_CASE("tcp: ranks that are processes, of which one is stopped, and named though its connections are whole") {
  const test::Outcome outcome = strike("STOP");
  CHECK_MESSAGE(outcome.status == 0, outcome.text);
  for (const std::string rank : {"0", "2"}) {
    CHECK_SAYS(outcome, "[rank " + rank + "] code " + std::to_string(ONEBIT_TIMEOUT) + " in time: communicator 'tcp': ");
    CHECK_SAYS(outcome, "rank 1, of which nothing was heard for 10 s");
  }
}

// Its engine has a thread, which neither the end of the process nor a fork of it must wait for in vain.
TEST_CASE("tcp: static sessions, sessions without their registry or rendezvous, and forks end by themselves") {
  for (const std::string way : {"static", "registry", "rendezvous", "model", "fork"}) {
    CAPTURE(way);
    const std::string quiet =
        way == "fork" ? "ASAN_OPTIONS=$ASAN_OPTIONS:detect_leaks=0 " : "";  // of threads that are not there
    const test::Outcome outcome =
        test::run_shell(quiet + "timeout 120 " ONEBIT_BINARY_DIR "/bin/session_lifetimes " + way + " tcp");
    CHECK_MESSAGE(outcome.status == 0, outcome.text);
    CHECK_MESSAGE(outcome.text == "done\n", outcome.text);
  }
}
