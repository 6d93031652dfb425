// SPDX-License-Identifier: Apache-2.0
// Addresses of IPv4 and IPv6: those of this machine's interfaces, and listening at one of them.
#pragma once

#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "onebit/collectives/machine.hpp"
#include "onebit/tcp/descriptor.hpp"
#include "onebit/text_hash.hpp"

namespace onebit::tcp {

// Bytes alone, so that it can be put into a rendezvous. It belongs to nobody.
struct Address {
  sockaddr_storage storage;
  uint64_t size;  // of what is in it

  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  socklen_t length() const { return static_cast<socklen_t>(size < sizeof storage ? size : sizeof storage); }
};

inline Address address_of(const sockaddr* from) {
  Address address = {};
  address.size = from->sa_family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
  std::memcpy(&address.storage, from, address.size);
  return address;
}

inline void set_port(Address& address, int64_t port) {
  const in_port_t number = htons(static_cast<uint16_t>(port));
  if (address.storage.ss_family == AF_INET) reinterpret_cast<sockaddr_in&>(address.storage).sin_port = number;
  if (address.storage.ss_family == AF_INET6) reinterpret_cast<sockaddr_in6&>(address.storage).sin6_port = number;
}
inline int64_t port_of(const Address& address) {
  const bool four = address.storage.ss_family == AF_INET;
  return ntohs(four ? reinterpret_cast<const sockaddr_in&>(address.storage).sin_port
                    : reinterpret_cast<const sockaddr_in6&>(address.storage).sin6_port);
}

inline bool is_loopback(const Address& address) {
  if (address.storage.ss_family == AF_INET6)
    return IN6_IS_ADDR_LOOPBACK(&reinterpret_cast<const sockaddr_in6&>(address.storage).sin6_addr);
  return ntohl(reinterpret_cast<const sockaddr_in&>(address.storage).sin_addr.s_addr) >> 24U == IN_LOOPBACKNET;
}

// "10.0.0.1", "fd00::1"
inline std::string text_of(const Address& address) {
  char host[NI_MAXHOST] = "?";
  ::getnameinfo(address.get(), address.length(), host, sizeof host, nullptr, 0, NI_NUMERICHOST);
  return host;
}

// Of the interfaces that are up, or of one of them: those that lead to others first. Addresses of the link alone, which mean
// nothing without the name of an interface, are left out.
inline std::vector<Address> interface_addresses(const std::string& interface = "") {
  ifaddrs* all = nullptr;
  checked(::getifaddrs(&all), "getifaddrs");
  std::vector<Address> found;
  for (const ifaddrs* i = all; i != nullptr; i = i->ifa_next) {
    const int family = i->ifa_addr == nullptr ? AF_UNSPEC : i->ifa_addr->sa_family;
    if ((family != AF_INET && family != AF_INET6) || (i->ifa_flags & IFF_UP) == 0) continue;
    if (!interface.empty() && interface != i->ifa_name) continue;
    if (family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&reinterpret_cast<const sockaddr_in6*>(i->ifa_addr)->sin6_addr)) continue;
    found.push_back(address_of(i->ifa_addr));
  }
  ::freeifaddrs(all);
  std::stable_partition(found.begin(), found.end(), [](const Address& address) { return !is_loopback(address); });
  return found;
}

// Of an interface ("eth0"), or a name or address of this machine; "": of all its interfaces. Throws Error(invalid_argument)
// that names the option `interface`.
inline std::vector<Address> own_addresses(const std::string& where) {
  std::vector<Address> found = interface_addresses(where);
  if (!found.empty()) return found;
  addrinfo hints = {}, *named = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  const int code = where.empty() ? EAI_NONAME : ::getaddrinfo(where.c_str(), nullptr, &hints, &named);
  if (code != 0)
    throw Error(Code::invalid_argument,
                "option 'interface' is '" + where +
                    "': expected a network interface that is up, or a name or address of this machine (" +
                    ::gai_strerror(code) + "); `ip address` lists them");
  found.push_back(address_of(named->ai_addr));
  ::freeaddrinfo(named);
  return found;
}

// All of this machine's addresses: IPv6 and IPv4 at once, or IPv4 alone.
inline Address any_address(int family) {
  sockaddr_in6 six = {};
  six.sin6_family = AF_INET6;
  sockaddr_in four = {};
  four.sin_family = AF_INET;
  return address_of(family == AF_INET6 ? reinterpret_cast<const sockaddr*>(&six) : reinterpret_cast<const sockaddr*>(&four));
}

inline Descriptor open_socket(int family) {
  return Descriptor(checked(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), "socket"));
}
inline void set(const Descriptor& socket, int level, int option, int value) {
  checked(::setsockopt(socket.number(), level, option, &value, sizeof value), "setsockopt");
}

// Listens at the first of these ports that is free; port 0: at any. Which one it is, is then in `where`.
inline Descriptor listen_at(Address& where, int64_t port, int64_t ports) {
  const int64_t end = port == 0 ? 1 : std::min<int64_t>(port + ports, 65536);
  for (int64_t at = port; at < end; ++at) {
    Descriptor listener = open_socket(where.storage.ss_family);
    set(listener, SOL_SOCKET, SO_REUSEADDR, 1);
    if (where.storage.ss_family == AF_INET6) set(listener, IPPROTO_IPV6, IPV6_V6ONLY, 0);
    set_port(where, at);
    if (::bind(listener.number(), where.get(), where.length()) == 0 && ::listen(listener.number(), SOMAXCONN) == 0) {
      auto* found = reinterpret_cast<sockaddr*>(&where.storage);
      socklen_t size = sizeof where.storage;
      checked(::getsockname(listener.number(), found, &size), "getsockname");
      return listener;
    }
    if (errno != EADDRINUSE) fail("this rank can't listen at " + text_of(where));
  }
  throw Error(Code::unavailable, "this rank can't listen: ports " + std::to_string(port) + " to " + std::to_string(end - 1) +
                                     " are all taken; choose others (options 'port' and 'ports')");
}

// The same number in processes that share their loopback interface, as those of one machine do; containers have their own.
// 0: not known.
inline uint64_t loopback_number() {
  const std::string boot = boot_id();
  struct stat network = {};
  if (boot.empty() || ::stat("/proc/self/ns/net", &network) != 0) return 0;
  return text_hash(boot + std::to_string(network.st_ino));
}

}  // namespace onebit::tcp
