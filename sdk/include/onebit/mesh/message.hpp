// SPDX-License-Identifier: Apache-2.0
// What the ranks of a MeshCommunicator tell each other, as it travels.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "onebit/collectives/collective_signature.hpp"

namespace onebit::mesh {

// So much payload travels with the message that announces it; what is larger waits until its receiver has come, too.
constexpr int64_t kInlineBytes = 8192;

enum class MessageType : uint32_t {
  post = 1,  // "I have come to this collective, and this is what I bring to it and expect from you", with small payload inline
  payload,   // a piece of what does not fit into the post, once both have come
  fail,      // "this collective has failed here": the others must not wait for it
  abort,     // "this communicator has failed here"
  leave,     // "I have destroyed this communicator": from collective `sequence` on; with what ended it before, if anything
  beat,      // "my process lives"
};

// All ranks run the same build on the same kind of machine: `magic` says so.
struct Header {
  static constexpr uint32_t current_magic = 0x0B17E502;  // another byte order or version reads as another number
  uint32_t magic = current_magic;
  MessageType type = MessageType::post;
  uint64_t context = 0;   // which communicator
  uint64_t sequence = 0;  // its how-manieth collective, from 1
  int32_t phase = 0;      // of that collective
  int32_t origin = 0;     // the rank that it comes from
  CollectiveSignature signature;
  int64_t sends = 0;    // bytes to the receiver of this message
  int64_t expects = 0;  // bytes from it
  uint64_t parts = 0;   // all_gather: a hash of every rank's bytes
  uint64_t code = 0;    // of fail and abort
  uint64_t tail = 0;    // bytes behind this header: payload, or text
};

// A control message as it came.
struct Message {
  Header header;
  std::vector<char> tail;
  std::string text() const { return {tail.data(), tail.size()}; }
};

}  // namespace onebit::mesh
