// SPDX-License-Identifier: Apache-2.0
// TCP on every address of rank 0's machine; a token tells that whoever answers is the right one.
#include "place.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <random>
#include <utility>

#include "onebit/collectives/machine.hpp"
#include "onebit/error.hpp"

namespace onebit::nccl {
namespace {

using namespace std::chrono_literals;

constexpr auto kPatience = 2s;  // with one address of several

struct Socket {
  sockaddr_storage storage{};
  socklen_t size = 0;
};

Socket socket_address(const Address& address, uint32_t port) {
  Socket made;
  if (address.family == AF_INET6) {
    sockaddr_in6 to{};
    to.sin6_family = AF_INET6;
    to.sin6_port = htons(static_cast<uint16_t>(port));
    std::memcpy(&to.sin6_addr, address.bytes.data(), sizeof to.sin6_addr);
    std::memcpy(&made.storage, &to, sizeof to);
    made.size = sizeof to;
  } else {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<uint16_t>(port));
    std::memcpy(&to.sin_addr, address.bytes.data(), sizeof to.sin_addr);
    std::memcpy(&made.storage, &to, sizeof to);
    made.size = sizeof to;
  }
  return made;
}

Address loopback() {
  Address made;
  made.family = AF_INET;
  const uint32_t number = htonl(INADDR_LOOPBACK);
  std::memcpy(made.bytes.data(), &number, sizeof number);
  return made;
}

// Those that other machines can reach; a link-local one would need the name of an interface with it.
void add_own_addresses(Place& place) {
  ifaddrs* all = nullptr;
  if (getifaddrs(&all) != 0) return;
  for (const ifaddrs* one = all; one != nullptr && place.count < place.addresses.size(); one = one->ifa_next) {
    if (one->ifa_addr == nullptr || (one->ifa_flags & IFF_UP) == 0 || (one->ifa_flags & IFF_LOOPBACK) != 0) continue;
    Address found;
    found.family = one->ifa_addr->sa_family;
    if (found.family == AF_INET) {
      std::memcpy(found.bytes.data(), &reinterpret_cast<const sockaddr_in*>(one->ifa_addr)->sin_addr, 4);
    } else if (found.family == AF_INET6) {
      const in6_addr& six = reinterpret_cast<const sockaddr_in6*>(one->ifa_addr)->sin6_addr;
      if (IN6_IS_ADDR_LINKLOCAL(&six)) continue;
      std::memcpy(found.bytes.data(), &six, 16);
    } else {
      continue;
    }
    place.addresses[place.count++] = found;
  }
  freeifaddrs(all);
}

void add_given_address(Place& place, const std::string& text) {
  Address given;
  given.family = text.find(':') != std::string::npos ? AF_INET6 : AF_INET;
  if (inet_pton(static_cast<int>(given.family), text.c_str(), given.bytes.data()) != 1)
    throw Error(Code::invalid_argument,
                "communicator.address is '" + text + "': an IP address of rank 0's machine was expected, such as 10.0.0.1");
  place.addresses[place.count++] = given;
}

[[noreturn]] void fail(const char* call) {
  throw Error(Code::unavailable, std::string("rank 0 can't listen for the other ranks: ") + call + ": " + std::strerror(errno),
              errno);
}

// Both families where the machine has IPv6.
int open_listener(uint32_t& port) {
  Address any;
  any.family = AF_INET6;
  int fd = ::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const int off = 0;
  if (fd >= 0) ::setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  Socket to = socket_address(any, 0);
  if (fd < 0 || ::bind(fd, reinterpret_cast<const sockaddr*>(&to.storage), to.size) != 0) {
    if (fd >= 0) ::close(fd);
    any.family = AF_INET;
    to = socket_address(any, 0);
    fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) fail("socket");
    if (::bind(fd, reinterpret_cast<const sockaddr*>(&to.storage), to.size) != 0) fail("bind");
  }
  if (::listen(fd, 1024) != 0) fail("listen");
  to.size = sizeof to.storage;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&to.storage), &to.size) != 0) fail("getsockname");
  port = ntohs(to.storage.ss_family == AF_INET6 ? reinterpret_cast<const sockaddr_in6*>(&to.storage)->sin6_port
                                                : reinterpret_cast<const sockaddr_in*>(&to.storage)->sin_port);
  return fd;
}

// Messages are small and urgent; a machine that is gone is noticed within a minute.
void tune(int fd) {
  const auto set = [fd](int level, int name, int value) { ::setsockopt(fd, level, name, &value, sizeof value); };
  set(IPPROTO_TCP, TCP_NODELAY, 1);
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, 20);
  set(IPPROTO_TCP, TCP_KEEPINTVL, 5);
  set(IPPROTO_TCP, TCP_KEEPCNT, 6);
}

bool ready(int fd, short events, Clock::time_point end) {
  pollfd one = {fd, events, 0};
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()).count();
    const int n = ::poll(&one, 1, static_cast<int>(std::max<int64_t>(left, 0)));
    if (n > 0) return true;
    if (n == 0 || errno != EINTR) return false;
  }
}

Link dial(const Address& address, uint32_t port, Clock::time_point end) {
  Link link(::socket(static_cast<int>(address.family), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!link) return {};
  const Socket to = socket_address(address, port);
  if (::connect(link.fd(), reinterpret_cast<const sockaddr*>(&to.storage), to.size) != 0) {
    if (errno != EINPROGRESS || !ready(link.fd(), POLLOUT, end)) return {};
    int error = 0;
    socklen_t size = sizeof error;
    if (::getsockopt(link.fd(), SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0) return {};
  }
  tune(link.fd());
  return link;
}

// False: nobody there, or not the right one.
bool introduce(Link& link, const Place& place, int rank, int ranks, Clock::time_point end) {
  Message hello;
  hello.type = Type::hello;
  hello.rank = rank;
  hello.code = ranks;
  link.send(hello, {reinterpret_cast<const char*>(place.token.data()), sizeof place.token});
  Message answer;
  std::string_view body;
  while (!link.next(answer, body))
    if (!link.sane() || !ready(link.fd(), POLLIN, end) || !link.receive()) return false;
  if (answer.type == Type::welcome) return true;
  if (answer.type == Type::failure) throw Error(static_cast<Code>(answer.code), std::string(body));
  return false;
}

}  // namespace

Listener::Listener(int ranks, const std::string& address) {
  std::random_device random;
  for (uint64_t& word : place_.token) word = (uint64_t{random()} << 32U) | random();
  place_.ranks = ranks;
  place_.machine = machine_number();
  if (address.empty()) {
    add_own_addresses(place_);
  } else {
    add_given_address(place_, address);
  }
  fd_ = open_listener(place_.port);
}

Listener::Listener(Listener&& other) noexcept : fd_(std::exchange(other.fd_, -1)), place_(other.place_) {}

void Listener::close() noexcept {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

Link Listener::accept() const {
  const int fd = ::accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd >= 0) tune(fd);
  return Link(fd);
}

Link knock(const Place& place, int rank, int ranks, Clock::time_point end) {
  const auto patience = [end] { return std::min<Clock::time_point>(end, Clock::now() + kPatience); };
  const auto try_one = [&](const Address& address) {
    Link link = dial(address, place.port, patience());
    return link && introduce(link, place, rank, ranks, patience()) ? std::move(link) : Link();
  };
  if (place.machine == machine_number())
    if (Link link = try_one(loopback())) return link;
  for (uint32_t i = 0; i < place.count; ++i)
    if (Link link = try_one(place.addresses[i])) return link;
  return {};
}

}  // namespace onebit::nccl
