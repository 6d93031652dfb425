// SPDX-License-Identifier: Apache-2.0
// Messages on a socket: whole ones out of pieces.
#include "message.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace onebit::nccl {

Link::Link(Link&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      in_(std::move(other.in_)),
      out_(std::move(other.out_)),
      taken_(other.taken_),
      sent_(other.sent_),
      sane_(other.sane_) {}

Link& Link::operator=(Link&& other) noexcept {
  std::swap(fd_, other.fd_);
  in_.swap(other.in_);
  out_.swap(other.out_);
  std::swap(taken_, other.taken_);
  std::swap(sent_, other.sent_);
  std::swap(sane_, other.sane_);
  return *this;
}

void Link::close() noexcept {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

void Link::send(Message message, std::string_view body) {
  if (fd_ < 0) return;
  message.body = body.size();
  out_.append(reinterpret_cast<const char*>(&message), sizeof message).append(body);
  flush();
}

void Link::flush() {
  while (fd_ >= 0 && has_unsent()) {
    const ssize_t n = ::send(fd_, out_.data() + sent_, out_.size() - sent_, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0) {
      sent_ += static_cast<size_t>(n);
    } else if (n < 0 && errno == EINTR) {
      continue;
    } else if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      return;
    } else {
      sent_ = out_.size();  // receive will tell that the peer is gone
    }
  }
  out_.clear();
  sent_ = 0;
}

bool Link::receive() {
  in_.erase(0, taken_);
  taken_ = 0;
  char piece[1 << 14];
  for (;;) {
    const ssize_t n = ::recv(fd_, piece, sizeof piece, MSG_DONTWAIT);
    if (n > 0) {
      in_.append(piece, static_cast<size_t>(n));
      if (static_cast<size_t>(n) < sizeof piece) return true;
    } else if (n < 0 && errno == EINTR) {
      continue;
    } else {
      return n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
    }
  }
}

bool Link::next(Message& message, std::string_view& body) {
  if (!sane_ || in_.size() - taken_ < sizeof message) return false;
  std::memcpy(&message, in_.data() + taken_, sizeof message);
  sane_ = message.magic == kMagic && message.body <= kLargestBody;
  if (!sane_ || in_.size() - taken_ - sizeof message < message.body) return false;
  body = std::string_view(in_).substr(taken_ + sizeof message, message.body);
  taken_ += sizeof message + message.body;
  return true;
}

}  // namespace onebit::nccl
