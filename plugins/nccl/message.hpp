// SPDX-License-Identifier: Apache-2.0
// What ranks tell rank 0 about their collectives, and what it tells them; over TCP, beside NCCL, which can't say who is missing
// or who means something else. hub.hpp is rank 0's side, engine.hpp a rank's.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>

#include "onebit/collectives/collective_signature.hpp"

namespace onebit::nccl {

enum class Type : uint32_t {
  // to the hub
  hello = 1,  // the first of a connection: rank, code: how many ranks it expects; body: the place's token
  post,       // rank comes to operation `sequence`; body: its blob
  parts,      // the sizes of `sequence` as rank has them; body: bytes that it sends to each rank, then those it gets from each
  late,       // rank has waited too long for `sequence`; body: in words how long; code: a Limit
  done,       // rank has finished all operations up to `sequence`
  bye,        // rank leaves, and was part of all operations up to `sequence`
  // from the hub
  welcome,
  go,       // all have come to `sequence`, and mean the same; body: each rank's blob, with its length before it
  explain,  // the sizes of `sequence` do not match: send parts
  left,     // rank has left after `sequence`: say when all up to it is done
  quiet,    // all are done with what a leaving rank was part of: it can go
  // both ways
  failure,  // the end: code and rank; body: why
  beat,     // the process lives
};

// What a rank waited for too long by: the limit of a call, communicator.stall, or communicator.timeout when ranks meet.
enum class Limit : int32_t { call, stall, meeting };

constexpr uint32_t kMagic = 0x32434e4f;  // "ONC2": changes with the layout below

struct Message {
  uint32_t magic = kMagic;
  Type type = Type::hello;
  int32_t rank = -1;
  int32_t code = 0;
  uint64_t sequence = 0;
  uint64_t sizes = 0;    // post: must be the same on every rank
  uint64_t balance = 0;  // post: the sum over ranks must be 0: what is sent less what is expected
  uint64_t wants = 0;    // post: 1: answer with go
  uint64_t body = 0;     // bytes that follow
  CollectiveSignature signature{};
};
static_assert(std::is_trivially_copyable_v<Message>);

constexpr uint64_t kLargestBody = uint64_t{1} << 24;

// A connection: messages in and out; nothing blocks.
class Link {
 public:
  Link() = default;
  explicit Link(int fd) : fd_(fd) {}
  Link(Link&& other) noexcept;
  Link& operator=(Link&& other) noexcept;
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;
  ~Link() { close(); }

  int fd() const { return fd_; }  // -1 when closed
  explicit operator bool() const { return fd_ >= 0; }
  void close() noexcept;

  void send(Message message, std::string_view body = {});
  bool has_unsent() const { return sent_ < out_.size(); }
  // Sends what the network takes now; what can't be sent because the peer is gone is forgotten.
  void flush();

  // Reads what is there. False when the peer is gone.
  bool receive();
  // The next whole message that was read; `body` is valid until the next call of receive or next.
  bool next(Message& message, std::string_view& body);
  // False once the peer has said what makes no sense: it is no rank, or one of another version.
  bool sane() const { return sane_; }

 private:
  int fd_ = -1;
  std::string in_, out_;
  size_t taken_ = 0, sent_ = 0;  // of in_ and out_
  bool sane_ = true;
};

}  // namespace onebit::nccl
