// SPDX-License-Identifier: Apache-2.0
// The buffers of a module, what it keeps besides parameters (BatchNorm's running means and variances), on all ranks as on rank
// 0. Included by torch.hpp.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "onebit/communicator.hpp"
#include "onebit/error.hpp"
#include "onebit/session.hpp"
#include "onebit/text_hash.hpp"

namespace onebit {
namespace detail {

using Buffers = std::vector<std::pair<std::string, torch::Tensor>>;

// In the module's order; one that has several names, once.
inline Buffers buffers_of(const torch::nn::Module& module) {
  Buffers found;
  std::unordered_set<const void*> seen;
  for (const auto& item : module.named_buffers()) {
    const torch::Tensor& buffer = item.value();
    if (!buffer.defined() || !seen.insert(buffer.unsafeGetTensorImpl()).second) continue;
    if (buffer.layout() != torch::kStrided || buffer.is_quantized() || buffer.is_meta())
      throw Error(Code::unsupported, "buffer '" + item.key() + "' is " + buffer.toString() + " on " + buffer.device().str() +
                                         "; expected a dense one with memory, to send it to other ranks");
    found.emplace_back(item.key(), buffer);
  }
  return found;
}

inline int64_t bytes_of(const torch::Tensor& tensor) {
  return tensor.numel() * static_cast<int64_t>(tensor.element_size());  // NOLINT(readability-redundant-casting): size_t once
}

// In the message: what follows is aligned for every type.
inline int64_t room_of(const torch::Tensor& tensor) { return (bytes_of(tensor) + 15) / 16 * 16; }

inline std::string line_of(const std::string& name, const torch::Tensor& buffer) {
  return "'" + name + "' (" + c10::toString(buffer.scalar_type()) + " " + c10::str(buffer.sizes()) + ")\n";
}

inline void send_bytes(Communicator& communicator, void* bytes, int64_t count) {
  int64_t stride = 1;
  Tensor tensor = {bytes, {ONEBIT_DEVICE_CPU, 0}, 1, {ONEBIT_DTYPE_UINT, 8, 1}, &count, &stride, 0};
  if (count > 0) communicator.wait(communicator.broadcast(tensor, 0, Call()));
}

// Throws Error(state_mismatch) on all ranks where lines are not those of rank 0; on a rank that differs, with the first that
// does.
inline void require_same_buffers(Communicator& communicator, const std::string& lines) {
  const uint64_t hash = text_hash(lines);
  std::vector<uint64_t> hashes(static_cast<size_t>(communicator.size()));
  std::vector<Part> parts;
  for (int64_t rank = 0; rank < communicator.size(); ++rank) parts.push_back({rank * 8, 8});
  communicator.wait(communicator.all_gather(&hash, hashes.data(), parts.data(), Call()));
  size_t other = 1;
  while (other < hashes.size() && hashes[other] == hashes[0]) ++other;
  if (other == hashes.size()) return;
  auto length = static_cast<int64_t>(lines.size());
  send_bytes(communicator, &length, 8);
  std::string first = lines;
  first.resize(static_cast<size_t>(length));
  send_bytes(communicator, &first[0], length);
  if (first == lines)
    throw Error(Code::state_mismatch, "rank " + std::to_string(other) +
                                          " has other buffers than rank 0: make the same module on "
                                          "every rank");
  size_t begin = 0;
  for (size_t i = 0; i < first.size() && i < lines.size() && first[i] == lines[i]; ++i)
    if (first[i] == '\n') begin = i + 1;
  const auto line = [&](const std::string& text) {
    return begin < text.size() ? text.substr(begin, text.find('\n', begin) - begin) : std::string("none more");
  };
  throw Error(Code::state_mismatch, "rank " + std::to_string(communicator.rank()) +
                                        " has other buffers than rank 0: " + line(lines) + " where rank 0 has " + line(first) +
                                        ": make the same module on every rank");
}

inline void send_buffers(const Buffers& buffers, Communicator& communicator) {
  std::string lines;
  int64_t bytes = 0;
  for (const auto& [name, buffer] : buffers) {
    lines += line_of(name, buffer);
    bytes += room_of(buffer);
  }
  require_same_buffers(communicator, lines);
  const torch::NoGradGuard no_gradients;
  std::vector<char> packed(static_cast<size_t>(bytes));
  char* at = packed.data();
  for (const auto& [name, buffer] : buffers) {
    if (communicator.rank() == 0 && bytes_of(buffer) > 0)
      std::memcpy(at, buffer.to(torch::kCPU).contiguous().data_ptr(), static_cast<size_t>(bytes_of(buffer)));
    at += room_of(buffer);
  }
  send_bytes(communicator, packed.data(), bytes);
  at = packed.data();
  for (const auto& [name, buffer] : buffers) {
    if (communicator.rank() != 0 && bytes_of(buffer) > 0)
      buffer.detach().copy_(torch::from_blob(at, buffer.sizes(), torch::TensorOptions(buffer.scalar_type())));
    at += room_of(buffer);
  }
}

}  // namespace detail

// Collective, between steps (not between forward and backward): the module's buffers, of whatever type, become those of rank 0,
// in one message. A session sends parameters only. BatchNorm's running means and variances begin as each rank made them, and
// follow its own batches: call this once the session is made, and before a model is evaluated or saved, or before every forward
// pass, as DDP's broadcast_buffers does. Throws Error(state_mismatch) by name where ranks have other buffers; the session has
// ended then.
inline void broadcast_buffers(const torch::nn::Module& module, Session& session) {
  if (session.begun())
    throw Error(Code::invalid_argument, "broadcast_buffers() came between backward() and step(), while gradients are sent");
  Communicator& communicator = session.communicator();
  try {
    const detail::Buffers buffers = detail::buffers_of(module);
    if (session.size() > 1) detail::send_buffers(buffers, communicator);
  } catch (const std::exception& e) {
    communicator.abort(e.what());  // or other ranks would wait for this one
    throw;
  }
}

}  // namespace onebit
