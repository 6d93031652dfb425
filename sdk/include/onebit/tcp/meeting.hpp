// SPDX-License-Identifier: Apache-2.0
// How ranks find each other over TCP: each listens, puts its place into the rendezvous, calls the ranks below it, and is called
// by those above. What they say then:
//
//   caller  Hello         the question of the place that it calls, and who calls
//   called  Answer        the answer of that place
//   caller  Confirmation  of that place, too: the connection it keeps; one that it gave up meanwhile is not taken for it
//
// These three words are random, new for each meeting: only who read them in the rendezvous is taken for a rank, and only who
// put them there for that rank. So callers may try one address after the other, and meet strangers, who hear the question
// alone. What is said is neither encrypted nor signed: whoever can read the network, or the rendezvous, can pass for a rank.
#pragma once

#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <onebit/communicator.hpp>

#include <array>
#include <chrono>
#include <random>
#include <thread>

#include "onebit/collectives/limits.hpp"
#include "onebit/tcp/address.hpp"

namespace onebit::tcp {

inline onebit_schema interface_option() {
  return text_option("interface", "\"\"", "",
                     "where this rank listens: a network interface (eth0), or a name or address of this machine; empty: on all "
                     "interfaces, and the others take the first one that leads to it");
}
inline onebit_schema port_option() {
  return integer_option("port", "0", 0, 65535, "the first port where a rank may listen; 0: any that is free");
}
inline onebit_schema ports_option() {
  return integer_option("ports", "64", 1, 65535, "how many ports there are to choose from, where port is not 0");
}

struct Settings {
  std::string name;       // the component's: its keys in the rendezvous begin with it
  std::string interface;  // as the options above
  int64_t port = 0, ports = 64;
  int64_t timeout_ns = 300'000'000'000;  // for all ranks to meet; 0: no limit
  int streams = 1;                       // connections of each pair of ranks

  // Of components with these three options and timeout_option().
  static Settings of(std::string name, const Options& options) {
    return {std::move(name), std::string(options.text("interface")), options.integer("port"), options.integer("ports"),
            Limits::of(options).timeout_ns};
  }
};

class Meeting {
 public:
  // Returns when this rank is connected with all others. Throws Error: timeout, with the ranks that did not come;
  // invalid_argument and unavailable, where this rank can't listen, or may not have so many connections; state_mismatch, where
  // ranks differ in `streams`.
  Meeting(Settings settings, const Rendezvous& rendezvous)
      : settings_(std::move(settings)),
        rendezvous_(rendezvous),
        deadline_(Clock::now() + std::chrono::nanoseconds(settings_.timeout_ns > 0 ? settings_.timeout_ns : kLongest)),
        listener_(listen()),
        connections_(static_cast<size_t>(rendezvous.size()) * streams()) {
    require_descriptors();
    rendezvous.put(key(rendezvous.rank()), &own_, sizeof own_);
    for (int rank = 0; rank < rendezvous.rank(); ++rank) call(rank);
    hear();
  }
  // Those of rank r are streams * r, streams * r + 1, ...; this rank's are not open. They are not blocking.
  std::vector<Descriptor> take() { return std::move(connections_); }

 private:
  using Clock = std::chrono::steady_clock;
  using Secret = std::array<uint64_t, 2>;
  static constexpr int64_t kLongest = int64_t{365} * 24 * 3600 * 1'000'000'000;
  static constexpr std::chrono::seconds kConnect{2}, kAnswer{10}, kLook{1};  // of one try; then comes the next address
  static constexpr size_t kAddresses = 12, kStrangers = 64;

  struct Place {
    Secret question, answer, confirmation;
    uint64_t loopback, streams, count;
    Address addresses[kAddresses];
  };
  struct Hello {
    Secret question;
    int32_t rank, stream, streams, zero;
  };
  struct Caller {
    Descriptor socket;
    Hello hello;
    bool answered;
  };

  size_t streams() const { return static_cast<size_t>(settings_.streams); }
  std::string key(int rank) const { return settings_.name + "." + std::to_string(rank); }
  int64_t left_ns() const { return std::max<int64_t>(1, std::chrono::nanoseconds(deadline_ - Clock::now()).count()); }
  static Secret make_secret() {
    std::random_device device;
    Secret secret;
    for (uint64_t& word : secret) word = (uint64_t{device()} << 32U) | device();
    return secret;
  }

  // On all interfaces, or on one. A machine without IPv6 refuses to open or to bind such an address.
  Descriptor listen() {
    own_ = {};
    own_.question = make_secret();
    own_.answer = make_secret();
    own_.confirmation = make_secret();
    own_.loopback = loopback_number();
    own_.streams = streams();
    const std::vector<Address> addresses = own_addresses(settings_.interface);
    Address where = settings_.interface.empty() ? any_address(AF_INET6) : addresses.front();
    Descriptor listener = settings_.interface.empty() ? listen_anywhere(where) : listen_at(where);
    if (settings_.interface.empty())
      add_reachable(addresses, where);
    else
      add(where);
    return listener;
  }
  Descriptor listen_at(Address& where) const { return tcp::listen_at(where, settings_.port, settings_.ports); }
  Descriptor listen_anywhere(Address& where) const {
    try {
      return listen_at(where);
    } catch (const Error& e) {
      if (e.native() == 0) throw;
      where = any_address(AF_INET);
      return listen_at(where);
    }
  }
  void add(const Address& address) {
    if (own_.count < kAddresses) own_.addresses[own_.count++] = address;
  }
  void add_reachable(const std::vector<Address>& addresses, const Address& where) {
    for (Address address : addresses) {
      if (where.storage.ss_family == AF_INET && address.storage.ss_family == AF_INET6) continue;
      set_port(address, port_of(where));
      add(address);
    }
  }

  bool wait(const Descriptor& socket, short events, std::chrono::nanoseconds most) const {
    std::vector<pollfd> polled = {{socket.number(), events, 0}};
    wait_for(polled, std::min<int64_t>(left_ns(), most.count()));
    return polled[0].revents != 0;
  }
  [[noreturn]] void miss(const std::string& who) const {
    throw Error(Code::timeout, "rank " + std::to_string(rendezvous_.rank()) + " waited " + seconds_text(settings_.timeout_ns) +
                                   " in create for " + who + ", which did not come, or can't be reached" + why_ +
                                   ": see options 'interface' and 'timeout'");
  }
  // More may be open than connections: half of what is allowed is left to others.
  void require_descriptors() const {
    rlimit limit = {};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return;
    if (connections_.size() > limit.rlim_cur / 2)
      throw Error(Code::unavailable, std::to_string(connections_.size()) + " connections (" + std::to_string(streams()) +
                                         " with each rank) are more than half of the " + std::to_string(limit.rlim_cur) +
                                         " files that this process may have open: raise that (ulimit -n)");
  }
  [[noreturn]] void differ(int rank, uint64_t theirs) const {
    throw Error(Code::state_mismatch, "rank " + std::to_string(rank) + " has " + std::to_string(theirs) +
                                          " connections to each rank, rank " + std::to_string(rendezvous_.rank()) + " has " +
                                          std::to_string(streams()) + ": give all ranks the same option 'streams'");
  }

  // Calls until the rank answers: what the rendezvous says may be from an earlier meeting, so it is asked again.
  void call(int rank) {
    int stream = 0;
    for (auto pause = std::chrono::milliseconds(5);; pause = std::min(2 * pause, std::chrono::milliseconds(500))) {
      const Place place = place_of(rank);
      stream += call(rank, stream, place);
      if (stream == settings_.streams) return;
      if (Clock::now() >= deadline_) miss("rank " + std::to_string(rank));
      std::this_thread::sleep_for(pause);
    }
  }
  Place place_of(int rank) const {
    Place place;
    try {
      rendezvous_.get(key(rank), &place, sizeof place, left_ns());
    } catch (const Error& e) {
      if (e.code() != Code::timeout) throw;
      miss("rank " + std::to_string(rank));
    }
    return place;
  }
  // Answers how many connections there are more, from this one on. The address that leads to the rank is kept to.
  int call(int rank, int stream, const Place& place) {
    for (const Address& address : addresses_to_try(place)) {
      int made = 0;
      while (stream + made < settings_.streams && call(rank, stream + made, place, address)) ++made;
      if (made > 0) return made;
    }
    return 0;
  }
  // Those of the loopback interface first where it is the same one, else not at all; and none of this rank's machine where it
  // is not: bridges of containers have the same address everywhere. A single address is what the other has chosen.
  std::vector<Address> addresses_to_try(const Place& place) const {
    const bool near = place.loopback != 0 && place.loopback == own_.loopback;
    const auto count = static_cast<size_t>(std::min<uint64_t>(place.count, kAddresses));
    std::vector<Address> found(place.addresses, place.addresses + count);
    if (count < 2) return found;
    if (near) {
      std::stable_partition(found.begin(), found.end(), is_loopback);
      return found;
    }
    const auto of_no_use = [this](const Address& address) { return is_loopback(address) || is_own(address); };
    found.erase(std::remove_if(found.begin(), found.end(), of_no_use), found.end());
    return found;
  }
  bool is_own(const Address& address) const {
    return std::any_of(own_.addresses, own_.addresses + own_.count,
                       [&](const Address& own) { return text_of(own) == text_of(address); });
  }
  bool call(int rank, int stream, const Place& place, const Address& address) {
    const auto failed = [&](const std::string& why) {
      why_ = " (" + text_of(address) + ", port " + std::to_string(port_of(address)) + ": " + why + ")";
      return false;
    };
    Descriptor socket(::socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!socket.open() && errno != EAFNOSUPPORT && errno != EPROTONOSUPPORT) fail("socket");
    if (!socket.open() || (::connect(socket.number(), address.get(), address.length()) < 0 && errno != EINPROGRESS))
      return failed(std::strerror(errno));
    if (!wait(socket, POLLOUT, kConnect)) return failed("no connection within " + std::to_string(kConnect.count()) + " s");
    if (const int refused = error_of(socket); refused != 0) return failed(std::strerror(refused));
    Secret answer = {};
    set(socket, SOL_SOCKET, SO_RCVLOWAT, sizeof answer);  // it is there when it is there whole
    if (!say(socket, Hello{place.question, rendezvous_.rank(), stream, settings_.streams, 0}) ||
        !wait(socket, POLLIN, kAnswer) || !hear_whole(socket, answer) || answer != place.answer)
      return failed("no answer of this meeting");
    if (place.streams != streams()) differ(rank, place.streams);
    if (!say(socket, place.confirmation)) return failed("it has gone");
    keep(rank, stream, std::move(socket));
    return true;
  }
  static int error_of(const Descriptor& socket) {
    int error = 0;
    socklen_t size = sizeof error;
    return ::getsockopt(socket.number(), SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : errno;
  }

  template <class Words>
  static bool say(const Descriptor& socket, const Words& words) {
    return ::send(socket.number(), &words, sizeof words, MSG_NOSIGNAL) == static_cast<ssize_t>(sizeof words);
  }
  template <class Words>
  static bool hear_whole(const Descriptor& socket, Words& words) {
    return ::recv(socket.number(), &words, sizeof words, 0) == static_cast<ssize_t>(sizeof words);
  }

  // Takes in the ranks above this one, in the order in which they come. Of too many callers who say nothing the oldest has to
  // go.
  void hear() {
    const size_t most = kStrangers + connections_.size();
    std::vector<Caller> callers;
    for (std::string missing; !(missing = missing_above()).empty();) {
      if (Clock::now() >= deadline_) miss(missing);
      std::vector<pollfd> polled = {{listener_.number(), POLLIN, 0}};
      for (const Caller& caller : callers) polled.push_back({caller.socket.number(), POLLIN, 0});
      wait_for(polled, std::min<int64_t>(left_ns(), std::chrono::nanoseconds(kLook).count()));
      if (std::all_of(polled.begin(), polled.end(), [](const pollfd& one) { return one.revents == 0; })) look();
      for (size_t i = callers.size(); i-- > 0;)
        if (polled[i + 1].revents != 0 && !listen_to(callers[i]))
          callers.erase(callers.begin() + static_cast<std::ptrdiff_t>(i));
      if (polled[0].revents == 0) continue;
      Descriptor caller(::accept4(listener_.number(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
      const bool full = !caller.open() && errno != EAGAIN && errno != ECONNABORTED && errno != EINTR;
      if (caller.open()) {
        set(caller, SOL_SOCKET, SO_RCVLOWAT, sizeof(Hello));
        callers.push_back({std::move(caller), {}, false});
      }
      if ((full || callers.size() > most) && !send_away_oldest(callers) && full) fail("this rank can't take in a caller");
    }
  }
  // Whether the rendezvous is still there, for with it goes whoever is still to come; or somebody has called this meeting off.
  void look() const {
    Place own;
    rendezvous_.get(key(rendezvous_.rank()), &own, sizeof own, left_ns());
  }
  // Of those that have not shown that they are ranks.
  static bool send_away_oldest(std::vector<Caller>& callers) {
    const auto oldest = std::find_if(callers.begin(), callers.end(), [](const Caller& one) { return !one.answered; });
    if (oldest == callers.end()) return false;
    callers.erase(oldest);
    return true;
  }
  // Whether there is more to come of this caller.
  bool listen_to(Caller& caller) {
    if (!caller.answered) return caller.answered = answer(caller);
    Secret confirmation = {};
    if (hear_whole(caller.socket, confirmation) && confirmation == own_.confirmation)
      keep(caller.hello.rank, caller.hello.stream, std::move(caller.socket));
    return false;
  }
  bool answer(Caller& caller) {
    Hello& hello = caller.hello;
    if (!hear_whole(caller.socket, hello) || hello.question != own_.question) return false;
    if (hello.rank <= rendezvous_.rank() || hello.rank >= rendezvous_.size()) return false;
    set(caller.socket, SOL_SOCKET, SO_RCVLOWAT, sizeof(Secret));
    const bool said = say(caller.socket, own_.answer);
    if (hello.streams != settings_.streams) differ(hello.rank, static_cast<uint64_t>(hello.streams));
    return said && hello.stream >= 0 && hello.stream < settings_.streams;
  }
  std::string missing_above() const {
    std::string ranks;
    for (int rank = rendezvous_.rank() + 1; rank < rendezvous_.size(); ++rank) {
      const auto first = connections_.begin() + rank * settings_.streams;
      const bool whole = std::all_of(first, first + settings_.streams, [](const Descriptor& one) { return one.open(); });
      if (!whole) ranks += (ranks.empty() ? "" : ", ") + std::to_string(rank);
    }
    if (ranks.empty()) return "";
    return (ranks.find(',') == std::string::npos ? "rank " : "ranks ") + ranks;
  }
  // What comes next is payload. Heartbeats tell of a dead process; keepalive also of a dead machine where there are none.
  void keep(int rank, int stream, Descriptor socket) {
    set(socket, SOL_SOCKET, SO_RCVLOWAT, 1);
    set(socket, SOL_SOCKET, SO_KEEPALIVE, 1);
    set(socket, IPPROTO_TCP, TCP_KEEPIDLE, 60);
    set(socket, IPPROTO_TCP, TCP_KEEPINTVL, 20);
    set(socket, IPPROTO_TCP, TCP_NODELAY, 1);
    connections_[static_cast<size_t>(rank) * streams() + static_cast<size_t>(stream)] = std::move(socket);
  }

  const Settings settings_;
  const Rendezvous& rendezvous_;
  const Clock::time_point deadline_;
  Place own_;
  std::string why_;  // the last call led to nobody
  const Descriptor listener_;
  std::vector<Descriptor> connections_;
};

// Says goodbye: what was sent last would be lost if a connection was closed with something unread in it, or not yet taken by
// the other end, which has half a second to go as well, and longer as long as bytes are on their way to it.
inline void part(const std::vector<Descriptor>& connections) noexcept {
  using Clock = std::chrono::steady_clock;
  const auto begin = Clock::now();
  for (const Descriptor& connection : connections) ::shutdown(connection.number(), SHUT_WR);
  for (const Descriptor& connection : connections) {
    char unread[4096];
    pollfd polled = {connection.number(), POLLIN, 0};
    while (connection.open()) {
      int unsent = 0;
      const bool under_way = ::ioctl(connection.number(), SIOCOUTQ, &unsent) == 0 && unsent > 0;
      if (Clock::now() - begin > (under_way ? std::chrono::milliseconds(10'000) : std::chrono::milliseconds(500))) break;
      if (::poll(&polled, 1, 20) > 0 && ::recv(connection.number(), unread, sizeof unread, 0) <= 0) break;
    }
  }
}

}  // namespace onebit::tcp
