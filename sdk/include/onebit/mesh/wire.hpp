// SPDX-License-Identifier: Apache-2.0
// What travels between two ranks of a MeshCommunicator: control messages, and payload in pieces between which they pass.
//
// A Wire is this rank's end of both streams with one peer. Payload goes straight from the sender's buffer and to the
// receiver's, but for what is read together with a header. A piece that is under way when its operation fails is filled up with
// zeros here, and dropped there, so that no buffer is touched afterwards and the streams go on.
#pragma once

#include <algorithm>
#include <cstring>
#include <deque>
#include <mutex>
#include <utility>
#include <vector>

#include "onebit/mesh.hpp"
#include "onebit/mesh/message.hpp"
#include "onebit/mesh/operation.hpp"

namespace onebit::mesh {

using Lock = std::unique_lock<std::mutex>;

constexpr size_t kPieceBytes = size_t{1} << 20;  // of payload: an abort need not wait for more of it
constexpr size_t kMoveBytes = size_t{1} << 18;   // in one call of Mesh
constexpr size_t kAheadBytes = 4096;             // read together with a header

// What the wires tell their owner, and ask.
class WireListener {
 public:
  // Where the piece that begins goes; no pair when nobody wants it any more.
  struct Place {
    Operation* operation;
    int rank;
  };
  virtual Place place(int peer, const Header& header) = 0;
  virtual void on_control(int peer, Message& message) = 0;
  virtual void on_received(Operation& operation, int peer) = 0;
  virtual void on_sent(Operation& operation, int rank) = 0;
  // The memory of this operation is in use without the lock; NULL: no more.
  virtual void use(Operation* operation) = 0;

 protected:
  ~WireListener() = default;
};

// While this lives the lock is given up, and the memory of one operation, or of none, is in use.
class Unlocked {
 public:
  Unlocked(Lock& lock, WireListener& listener, Operation* operation) : lock_(lock), listener_(listener) {
    listener_.use(operation);
    lock_.unlock();
  }
  ~Unlocked() {
    lock_.lock();
    listener_.use(nullptr);
  }
  Unlocked(const Unlocked&) = delete;
  Unlocked& operator=(const Unlocked&) = delete;

 private:
  Lock& lock_;
  WireListener& listener_;
};

class Wire {
 public:
  void connect(Mesh& mesh, WireListener& listener, int peer) {
    mesh_ = &mesh;
    listener_ = &listener;
    peer_ = peer;
  }
  bool alive() const { return mesh_ != nullptr; }
  void cut() { *this = Wire(); }
  bool has_to_send() const {
    return alive() && (going_sent_ < going_.size() || piece_left_ > 0 || !told_.empty() || !flows_.empty());
  }

  void tell(Header header, const void* tail, size_t bytes) {
    if (!alive()) return;
    header.tail = bytes;
    append(&header, sizeof header);
    append(tail, bytes);
  }
  // Counts all that moved, but for heartbeats and the sending of control messages.
  uint64_t progress() const { return progress_; }
  // What the operation has for context rank `rank`, in pieces.
  void send(Operation& operation, int rank, const Header& header) { flows_.push_back({&operation, rank, header, 0}); }
  // No byte of the operation's memory is read or written any more, when it is not in use.
  void forget(const Operation& operation);

  // Move what goes now, up to a limit; answer whether something did. What Mesh throws passes through.
  bool push(Lock& lock);
  bool pull(Lock& lock);

 private:
  struct Flow {
    Operation* operation;
    int rank;
    Header header;
    int64_t sent;
  };

  void append(const void* bytes, size_t size) {
    const char* first = static_cast<const char*>(bytes);
    told_.insert(told_.end(), first, first + size);
  }
  bool next_to_send();
  bool send_some(Lock& lock, size_t& moved);
  bool receive_some(Lock& lock, size_t& moved);
  void begin_piece();
  void end_piece();
  void digest(const char* bytes, size_t size);
  void begin_message();
  void take(const char* from, size_t bytes);

  Mesh* mesh_ = nullptr;
  WireListener* listener_ = nullptr;
  int peer_ = 0;

  std::vector<char> told_;   // whole control messages, not begun
  std::vector<char> going_;  // control messages, or the header of a piece, that are under way
  size_t going_sent_ = 0;
  std::deque<Flow> flows_;
  Operation* piece_of_ = nullptr;  // NULL: zeros
  const char* piece_ = nullptr;
  size_t piece_left_ = 0;
  uint64_t progress_ = 0;

  Message message_;            // that comes
  size_t header_got_ = 0;      // of its bytes
  size_t tail_left_ = 0;       // to come
  Operation* into_ = nullptr;  // of payload; NULL: dropped
  int into_rank_ = 0;
  char* to_ = nullptr;
};

inline void Wire::forget(const Operation& operation) {
  if (piece_of_ == &operation) piece_of_ = nullptr;
  if (into_ == &operation) into_ = nullptr;
  flows_.erase(std::remove_if(flows_.begin(), flows_.end(), [&](const Flow& f) { return f.operation == &operation; }),
               flows_.end());
}

inline bool Wire::next_to_send() {
  if (going_sent_ < going_.size() || piece_left_ > 0) return true;
  going_.clear();
  going_sent_ = 0;
  if (!told_.empty()) {
    going_.swap(told_);
  } else if (!flows_.empty()) {
    begin_piece();
  }
  return !going_.empty();
}

inline void Wire::begin_piece() {
  Flow& flow = flows_.front();
  const Pair& pair = flow.operation->pair(flow.rank);
  piece_left_ = std::min(kPieceBytes, static_cast<size_t>(pair.sends - flow.sent));
  piece_of_ = flow.operation;
  piece_ = pair.send + flow.sent;
  flow.sent += static_cast<int64_t>(piece_left_);
  flow.header.tail = piece_left_;
  const char* first = reinterpret_cast<const char*>(&flow.header);
  going_.assign(first, first + sizeof(Header));
}

inline void Wire::end_piece() {
  Operation* operation = std::exchange(piece_of_, nullptr);
  if (operation == nullptr) return;
  const Flow& flow = flows_.front();
  const int rank = flow.rank;
  if (flow.sent < operation->pair(rank).sends) return;
  flows_.pop_front();
  listener_->on_sent(*operation, rank);
}

// Answers whether more may go now.
inline bool Wire::send_some(Lock& lock, size_t& moved) {
  static const char zeros[kAheadBytes] = {};
  const bool control = going_sent_ < going_.size(), dropped = piece_of_ == nullptr;
  const char* from = control ? going_.data() + going_sent_ : dropped ? zeros : piece_;
  const size_t most = control ? going_.size() - going_sent_ : std::min(dropped ? sizeof zeros : kMoveBytes, piece_left_);
  size_t sent = 0;
  {
    const Unlocked unlocked(lock, *listener_, control ? nullptr : piece_of_);
    sent = mesh_->send(peer_, from, most);
  }
  moved += sent;
  if (control) {
    going_sent_ += sent;
  } else {
    progress_ += sent;
    if (sent > 0 && piece_of_ != nullptr) piece_of_->progressed = Clock::now();
    piece_ += dropped ? 0 : sent;
    piece_left_ -= sent;
    if (piece_left_ == 0) end_piece();
  }
  return sent == most;
}

inline bool Wire::push(Lock& lock) {
  size_t moved = 0;
  while (moved < kPieceBytes && next_to_send() && send_some(lock, moved)) {
  }
  return moved > 0;
}

inline bool Wire::receive_some(Lock& lock, size_t& moved) {
  char ahead[kAheadBytes];
  const bool direct = into_ != nullptr && tail_left_ >= kAheadBytes;
  char* to = direct ? to_ : ahead;
  const size_t most = direct ? std::min(kMoveBytes, tail_left_) : kAheadBytes;
  size_t got = 0;
  {
    const Unlocked unlocked(lock, *listener_, direct ? into_ : nullptr);
    got = mesh_->receive(peer_, to, most);
  }
  moved += got;
  if (got > 0 && direct) {
    take(nullptr, got);
  } else {
    digest(ahead, got);
  }
  return got == most;
}

inline bool Wire::pull(Lock& lock) {
  size_t moved = 0;
  while (moved < kPieceBytes && receive_some(lock, moved)) {
  }
  return moved > 0;
}

// Header, tail, header, tail, ...
inline void Wire::digest(const char* bytes, size_t size) {
  while (size > 0) {
    size_t used = 0;
    if (header_got_ < sizeof(Header)) {
      used = std::min(size, sizeof(Header) - header_got_);
      std::memcpy(reinterpret_cast<char*>(&message_.header) + header_got_, bytes, used);
      header_got_ += used;
      if (header_got_ == sizeof(Header)) begin_message();
    } else {
      used = std::min(size, tail_left_);
      take(bytes, used);
    }
    bytes += used;
    size -= used;
  }
}

inline void Wire::begin_message() {
  const Header& header = message_.header;
  const bool payload = header.type == MessageType::payload;
  if (header.magic != Header::current_magic || header.tail > (payload ? kPieceBytes : size_t{kInlineBytes}))
    throw Error(Code::state_mismatch, "it speaks another version of this communicator");
  tail_left_ = header.tail;
  message_.tail.clear();
  into_ = nullptr;
  if (payload) {
    const WireListener::Place place = listener_->place(peer_, header);
    into_ = place.operation;
    into_rank_ = place.rank;
    if (into_ != nullptr) to_ = into_->pair(into_rank_).receive + into_->pair(into_rank_).received;
  }
  take(nullptr, 0);
}

// Bytes of a tail; from is NULL where they are in their place already.
inline void Wire::take(const char* from, size_t bytes) {
  const bool payload = message_.header.type == MessageType::payload;
  if (payload && into_ != nullptr) {
    if (from != nullptr) std::memcpy(to_, from, bytes);
    to_ += bytes;
    into_->pair(into_rank_).received += static_cast<int64_t>(bytes);
  } else if (!payload) {
    message_.tail.insert(message_.tail.end(), from, from + bytes);
  }
  if (payload) {
    progress_ += bytes;
    if (bytes > 0 && into_ != nullptr) into_->progressed = Clock::now();
  }
  tail_left_ -= bytes;
  if (tail_left_ > 0) return;
  header_got_ = 0;
  if (!payload) {
    if (message_.header.type != MessageType::beat) ++progress_;
    listener_->on_control(peer_, message_);
  } else if (Operation* operation = std::exchange(into_, nullptr)) {
    listener_->on_received(*operation, peer_);
  }
}

}  // namespace onebit::mesh
