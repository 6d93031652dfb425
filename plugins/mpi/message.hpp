// SPDX-License-Identifier: Apache-2.0
// Control messages: what ranks tell each other besides the payload of a collective. One MPI message each, always on tag 0, so
// those of a pair of ranks keep their order. All ranks run the same build on the same kind of machine: `magic` says so.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "memory.hpp"
#include "onebit/collectives/collective_signature.hpp"

namespace onebit::mpi {

enum class MessageType : uint32_t {
  post = 1,  // "I have come to this collective, and this is what I bring to it and expect from you", with small payload inline
  fail,      // "this collective has failed here": the others must not wait for it
  abort,     // "this communicator has failed here"
  leave,     // "I have destroyed this communicator": from collective `sequence` on
  beat,      // "my process lives"
};

struct Header {
  static constexpr uint32_t current_magic = 0x0B170002;  // another byte order or version reads as another number
  uint32_t magic = current_magic;
  MessageType type = MessageType::post;
  uint64_t context = 0;   // which communicator
  uint64_t sequence = 0;  // its how-manieth collective, from 1
  int32_t phase = 0;      // of that collective
  int32_t tag = 0;        // MPI's, of the payload that follows in a message of its own
  CollectiveSignature signature;
  int64_t sends = 0;    // bytes to the receiver of this message
  int64_t expects = 0;  // bytes from it
  uint64_t parts = 0;   // all_gather: a hash of every rank's bytes
  int32_t code = 0;     // of fail and abort
  int32_t origin = 0;   // the rank that they come from
  uint64_t tail = 0;    // bytes behind this header: inline payload, or text
};

inline constexpr size_t kMessageBytes = 4096;  // within the eager limit of every transport
inline constexpr int64_t kInlineBytes = static_cast<int64_t>(kMessageBytes - sizeof(Header));

// A control message as it lies in memory.
struct Message {
  explicit Message(size_t room = kMessageBytes) : bytes(room) {}
  Header header() const {
    Header h;
    std::memcpy(&h, bytes.data(), sizeof h);
    return h;
  }
  const char* tail() const { return bytes.data() + sizeof(Header); }
  std::string text() const { return {tail(), header().tail}; }
  size_t size() const { return sizeof(Header) + header().tail; }

  void write(Header h, const void* from, int64_t size) {
    h.tail = static_cast<uint64_t>(size);
    std::memcpy(bytes.data(), &h, sizeof h);
    if (size > 0) copy_bytes(bytes.data() + sizeof h, from, h.tail);
  }
  void write(const Header& h, std::string_view text) {
    text = text.substr(0, static_cast<size_t>(kInlineBytes));
    write(h, text.data(), static_cast<int64_t>(text.size()));
  }

  std::vector<char> bytes;
};

}  // namespace onebit::mpi
