// SPDX-License-Identifier: Apache-2.0
// Telling what can be an address from what cannot.
#include "rendezvous/address.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "onebit/error.hpp"

namespace onebit {
namespace {

[[noreturn]] void refuse_host(std::string_view text, const std::string& what, const std::string& expected) {
  throw Error(Code::invalid_argument,
              what + " is '" + std::string(text) + "': expected the name or address of rank 0's machine" + expected);
}

// With an interface behind it where it is of the link: "fe80::1%eth0".
bool is_six(std::string_view text) {
  in6_addr ignored;
  return ::inet_pton(AF_INET6, std::string(text.substr(0, text.find('%'))).c_str(), &ignored) == 1;
}
bool is_four(std::string_view text) {
  in_addr ignored;
  return ::inet_aton(std::string(text).c_str(), &ignored) != 0;
}
bool is_number(std::string_view text) { return !text.empty() && text.find_first_not_of("0123456789") == text.npos; }

std::string_view without_brackets(std::string_view text) {
  const bool bracketed = text.size() > 2 && text.front() == '[' && text.back() == ']';
  return bracketed && is_six(text.substr(1, text.size() - 2)) ? text.substr(1, text.size() - 2) : text;
}

// "host:port", "[address]:port".
void refuse_port(std::string_view text, const std::string& what) {
  const size_t colon = text.rfind(':');
  const std::string_view name = text.substr(0, colon), port = text.substr(colon + 1), host = without_brackets(name);
  if (name.empty() || !is_number(port) || (name.find(':') != name.npos && host == name)) return;
  refuse_host(text, what,
              ", without a port: the address is '" + std::string(host) + "', and the port, " + std::string(port) +
                  ", belongs into MASTER_PORT");
}

}  // namespace

std::string host_in(std::string_view text, const std::string& what) {
  const std::string_view host = without_brackets(text);
  if (host.empty()) refuse_host(text, what, "");
  for (const char c : host)
    if (static_cast<unsigned char>(c) <= ' ' || c == 0x7f || std::string_view("/,;@=\\\"'`<>|&*?(){}#$!").find(c) != host.npos)
      refuse_host(text, what, ", and nothing else");
  if (is_six(host)) return std::string(host);
  if (host.find(':') != host.npos) refuse_port(text, what);
  if (host.find_first_of(":[]%") != host.npos) refuse_host(text, what, ", and this is no IPv6 address");
  if (host.find_first_not_of("0123456789.") == host.npos && !is_four(host))
    refuse_host(text, what, ", and this is no IPv4 address");
  return std::string(host);
}

}  // namespace onebit
