// How ranks find each other: each listens, puts its address into the rendezvous, calls those below it, and is called by those
// above. A secret goes with the address: only who read it there is taken for a rank, and only who put it there for that rank.
#pragma once

#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <onebit/communicator.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstring>
#include <random>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace meeting {

using Clock = std::chrono::steady_clock;
using onebit::Code;
using onebit::Error;

// A file descriptor, closed at its end; empty when negative.
class Descriptor {
 public:
  explicit Descriptor(int number = -1) : number_(number) {}
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  int number() const { return number_; }

 private:
  int number_;
};

[[noreturn]] inline void fail(const std::string& what) {
  throw Error(Code::unavailable, what + ": " + std::strerror(errno), errno);
}

// What a system call answered, unless that is an error.
inline int checked(int number, const char* call) {
  if (number < 0) fail(call);
  return number;
}

// timeout_ns < 0: for ever.
inline void wait_for(std::vector<pollfd>& polled, int64_t timeout_ns) {
  const int64_t ms = timeout_ns < 0 ? -1 : std::min<int64_t>((timeout_ns + 999'999) / 1'000'000, INT_MAX);
  if (::poll(polled.data(), polled.size(), static_cast<int>(ms)) < 0 && errno != EINTR) fail("poll");
}

using Secret = std::array<uint64_t, 2>;

// What a rank puts into the rendezvous.
struct Place {
  sockaddr_storage address;
  uint64_t address_size;
  Secret question, answer;
};
// What a caller says first, and then hears the answer.
struct Hello {
  Secret question;
  int64_t rank;
};

inline Secret make_secret() {
  std::random_device device;
  Secret secret;
  for (uint64_t& word : secret) word = (uint64_t{device()} << 32U) | device();
  return secret;
}

inline void set_address(Place& place, const sockaddr* address) {
  place.address_size = address->sa_family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
  std::memcpy(&place.address, address, place.address_size);
}
inline void set_port(Place& place, int64_t port) {
  const in_port_t number = htons(static_cast<uint16_t>(port));
  if (place.address.ss_family == AF_INET) reinterpret_cast<sockaddr_in&>(place.address).sin_port = number;
  if (place.address.ss_family == AF_INET6) reinterpret_cast<sockaddr_in6&>(place.address).sin6_port = number;
}

// The address of an interface; "": of the first that leads to others, else of the machine itself. False: there is none.
inline bool find_interface(Place& place, const std::string& name) {
  ifaddrs* all = nullptr;
  checked(::getifaddrs(&all), "getifaddrs");
  const ifaddrs* found = nullptr;
  for (const ifaddrs* i = all; i != nullptr; i = i->ifa_next) {
    const int family = i->ifa_addr == nullptr ? AF_UNSPEC : i->ifa_addr->sa_family;
    const bool routed =
        family == AF_INET ||
        (family == AF_INET6 && !IN6_IS_ADDR_LINKLOCAL(&reinterpret_cast<const sockaddr_in6*>(i->ifa_addr)->sin6_addr));
    if (!routed || (i->ifa_flags & IFF_UP) == 0 || (!name.empty() && name != i->ifa_name)) continue;
    const bool better = found == nullptr || ((found->ifa_flags & IFF_LOOPBACK) != 0 && (i->ifa_flags & IFF_LOOPBACK) == 0);
    if (better) found = i;
  }
  if (found != nullptr) set_address(place, found->ifa_addr);
  ::freeifaddrs(all);
  return found != nullptr;
}

inline std::string text_of(const Place& place) {
  char host[NI_MAXHOST] = "?";
  const auto* address = reinterpret_cast<const sockaddr*>(&place.address);
  ::getnameinfo(address, static_cast<socklen_t>(place.address_size), host, sizeof host, nullptr, 0, NI_NUMERICHOST);
  return host;
}

inline Place own_place(const std::string& where) {
  Place place = {};
  place.question = make_secret();
  place.answer = make_secret();
  if (find_interface(place, where)) return place;
  addrinfo hints = {}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  const int code = where.empty() ? EAI_NONAME : ::getaddrinfo(where.c_str(), nullptr, &hints, &found);
  if (code != 0)
    throw Error(Code::invalid_argument,
                "option 'interface' is '" + where +
                    "': expected a network interface that is up, or a name or address of this machine (" +
                    ::gai_strerror(code) + "); `ip address` lists them");
  set_address(place, found->ai_addr);
  ::freeaddrinfo(found);
  return place;
}

inline Descriptor open_socket(const Place& place) {
  return Descriptor(checked(::socket(place.address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), "socket"));
}
inline void set(const Descriptor& socket, int level, int option, int value) {
  checked(::setsockopt(socket.number(), level, option, &value, sizeof value), "setsockopt");
}

// Listens at the first port that is free, and says in place where that is.
inline Descriptor listen_at(Place& place, int64_t port, int64_t ports) {
  const int64_t end = port == 0 ? 1 : std::min<int64_t>(port + ports, 65536);
  for (int64_t at = port; at < end; ++at) {
    Descriptor listener = open_socket(place);
    set(listener, SOL_SOCKET, SO_REUSEADDR, 1);
    set_port(place, at);
    auto* address = reinterpret_cast<sockaddr*>(&place.address);
    if (::bind(listener.number(), address, static_cast<socklen_t>(place.address_size)) == 0 &&
        ::listen(listener.number(), SOMAXCONN) == 0) {
      socklen_t size = sizeof place.address;
      checked(::getsockname(listener.number(), address, &size), "getsockname");
      return listener;
    }
    if (errno != EADDRINUSE) fail("this rank can't listen at " + text_of(place));
  }
  throw Error(Code::unavailable, "this rank can't listen: ports " + std::to_string(port) + " to " + std::to_string(end - 1) +
                                     " are all taken; choose others (options 'port' and 'ports')");
}

class Meeting {
 public:
  Meeting(const onebit::Options& options, const onebit::Rendezvous& rendezvous)
      : rendezvous_(rendezvous),
        timeout_s_(options.real("timeout")),
        deadline_(Clock::now() + std::chrono::nanoseconds(static_cast<int64_t>(timeout_s_ * 1e9))),
        own_(own_place(std::string(options.text("interface")))),
        listener_(listen_at(own_, options.integer("port"), options.integer("ports"))),
        connections_(static_cast<size_t>(rendezvous.size())) {
    rendezvous.put(key(rendezvous.rank()), &own_, sizeof own_);
    for (int rank = 0; rank < rendezvous.rank(); ++rank) call(rank);
    hear();
  }
  std::vector<Descriptor> take() { return std::move(connections_); }

 private:
  static std::string key(int rank) { return "my_plugin." + std::to_string(rank); }
  int64_t left_ns() const { return std::max<int64_t>(1, std::chrono::nanoseconds(deadline_ - Clock::now()).count()); }
  bool wait(const Descriptor& socket, short events) const {
    std::vector<pollfd> polled = {{socket.number(), events, 0}};
    wait_for(polled, left_ns());
    return polled[0].revents != 0;
  }
  [[noreturn]] void miss(const std::string& who) const {
    std::ostringstream text;
    text << "rank " << rendezvous_.rank() << " waited " << timeout_s_ << " s in create for " << who
         << ", which did not come, or can't be reached: see options 'interface' and 'timeout'";
    throw Error(Code::timeout, text.str());
  }

  // Calls until the rank answers: what the rendezvous says may be from an earlier meeting.
  void call(int rank) {
    for (; Clock::now() < deadline_; std::this_thread::sleep_for(std::chrono::milliseconds(5))) {
      Place place;
      try {
        rendezvous_.get(key(rank), &place, sizeof place, left_ns());
      } catch (const Error& e) {
        if (e.code() == Code::timeout) break;
        throw;
      }
      if (call(rank, place)) return;
    }
    miss("rank " + std::to_string(rank));
  }
  bool call(int rank, const Place& place) {
    Descriptor socket = open_socket(place);
    const auto* address = reinterpret_cast<const sockaddr*>(&place.address);
    if (::connect(socket.number(), address, static_cast<socklen_t>(place.address_size)) < 0 && errno != EINPROGRESS)
      return false;
    if (!wait(socket, POLLOUT)) return false;
    const Hello hello = {place.question, rendezvous_.rank()};
    Secret answer = {};
    set(socket, SOL_SOCKET, SO_RCVLOWAT, sizeof answer);  // it is there when it is there whole
    if (::send(socket.number(), &hello, sizeof hello, MSG_NOSIGNAL) != sizeof hello || !wait(socket, POLLIN)) return false;
    if (::recv(socket.number(), &answer, sizeof answer, 0) != sizeof answer || answer != place.answer) return false;
    keep(rank, std::move(socket));
    return true;
  }

  // Takes in the ranks above this one, in the order in which they come; strangers are left standing.
  void hear() {
    constexpr size_t kStrangers = 64;
    std::vector<Descriptor> callers;
    for (std::string missing; !(missing = missing_above()).empty();) {
      if (Clock::now() >= deadline_) miss(missing);
      std::vector<pollfd> polled = {{listener_.number(), POLLIN, 0}};
      for (const Descriptor& caller : callers) polled.push_back({caller.number(), POLLIN, 0});
      wait_for(polled, left_ns());
      for (size_t i = callers.size(); i-- > 0;) {
        if (polled[i + 1].revents == 0) continue;
        welcome(std::move(callers[i]));
        callers.erase(callers.begin() + static_cast<std::ptrdiff_t>(i));
      }
      if (polled[0].revents == 0) continue;
      Descriptor caller(::accept4(listener_.number(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (caller.number() < 0) continue;
      set(caller, SOL_SOCKET, SO_RCVLOWAT, sizeof(Hello));
      callers.push_back(std::move(caller));
      if (callers.size() > kStrangers) callers.erase(callers.begin());
    }
  }
  void welcome(Descriptor caller) {
    Hello hello = {};
    if (::recv(caller.number(), &hello, sizeof hello, 0) != sizeof hello || hello.question != own_.question) return;
    if (hello.rank <= rendezvous_.rank() || hello.rank >= rendezvous_.size()) return;
    if (::send(caller.number(), &own_.answer, sizeof own_.answer, MSG_NOSIGNAL) != sizeof own_.answer) return;
    keep(static_cast<int>(hello.rank), std::move(caller));
  }
  std::string missing_above() const {
    std::string ranks;
    for (int rank = rendezvous_.rank() + 1; rank < rendezvous_.size(); ++rank)
      if (connections_[static_cast<size_t>(rank)].number() < 0) ranks += (ranks.empty() ? "" : ", ") + std::to_string(rank);
    if (ranks.empty()) return "";
    return (ranks.find(',') == std::string::npos ? "rank " : "ranks ") + ranks;
  }
  void keep(int rank, Descriptor socket) {
    set(socket, SOL_SOCKET, SO_RCVLOWAT, 1);
    set(socket, IPPROTO_TCP, TCP_NODELAY, 1);
    connections_[static_cast<size_t>(rank)] = std::move(socket);
  }

  const onebit::Rendezvous& rendezvous_;
  const double timeout_s_;
  const Clock::time_point deadline_;
  Place own_;
  const Descriptor listener_;
  std::vector<Descriptor> connections_;  // by rank
};

// One connection for each other rank, by rank.
inline std::vector<Descriptor> connect_all(const onebit::Options& options, const onebit::Rendezvous& rendezvous) {
  return Meeting(options, rendezvous).take();
}

// Says goodbye: what was sent last would be lost if a connection with something unread in it was closed.
inline void part(const std::vector<Descriptor>& connections) noexcept {
  const auto end = Clock::now() + std::chrono::milliseconds(500);
  for (const Descriptor& connection : connections) ::shutdown(connection.number(), SHUT_WR);
  for (const Descriptor& connection : connections) {
    char unread[4096];
    pollfd polled = {connection.number(), POLLIN, 0};
    for (auto left = end - Clock::now(); connection.number() >= 0 && left.count() > 0; left = end - Clock::now()) {
      const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(left).count();
      if (::poll(&polled, 1, static_cast<int>(ms) + 1) > 0 && ::recv(connection.number(), unread, sizeof unread, 0) <= 0) break;
    }
  }
}

}  // namespace meeting
