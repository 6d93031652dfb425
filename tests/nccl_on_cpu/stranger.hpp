// SPDX-License-Identifier: Apache-2.0
// Somebody who connects to a port of this machine and says what makes no sense.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <thread>

namespace onebit::test {

// Leaves after a while, in which whoever listens has read it.
inline void call_with(uint32_t port, const std::string& text) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<uint16_t>(port));
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const bool reached = ::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0;
  const bool said = ::send(fd, text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size());
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  ::close(fd);
  if (!reached || !said) throw std::runtime_error("nobody listens at the port");
}

}  // namespace onebit::test
