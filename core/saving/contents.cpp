// SPDX-License-Identifier: Apache-2.0
#include "saving/contents.hpp"

#include <iterator>
#include <utility>

#include "dtypes/wire_type.hpp"
#include "exchange/retained.hpp"

namespace onebit {
namespace {

Stored stored(const SessionParts& parts, std::string name, const char* dtype, std::vector<int64_t> shape, void* at,
              uint64_t bytes) {
  return {{std::move(name), dtype, std::move(shape)}, parts.device, {{static_cast<std::byte*>(at), bytes}}, {}};
}

uint64_t bytes_of(const ModelTensor& tensor, WireType type) {
  return static_cast<uint64_t>(tensor.elements * element_bytes(type));
}

// Elements in the order of memory: where that is row by row, they have the parameter's shape.
Stored in_order_of_memory(const SessionParts& parts, const std::string& stem, size_t t, void* at,
                          WireType type = WireType::fp32) {
  const ModelTensor& tensor = parts.tensors[t];
  return stored(parts, stem + tensor.name, stored_name(type),
                tensor.order.empty() ? tensor.shape : std::vector<int64_t>{tensor.elements}, at, bytes_of(tensor, type));
}

std::vector<Stored> element_contents(const SessionParts& parts, size_t slot) {
  const StateSlot& declared = parts.state.slots()[slot];
  std::vector<Stored> found;
  for (size_t t = 0; t < parts.tensors.size(); ++t) {
    const bool exempt = (parts.layout.flags[t] & ONEBIT_TENSOR_DENSE) != 0;
    if (declared.released ? declared.later || !exempt : declared.later && exempt) continue;
    found.push_back(in_order_of_memory(parts, "elements:" + declared.name + "/", t, parts.element(slot, t), declared.type));
  }
  return found;
}

// Neighbours in the tensor and among the errors become one piece.
void add_piece(std::vector<ErrorPiece>& pieces, const ErrorPiece& piece) {
  if (!pieces.empty()) {
    ErrorPiece& last = pieces.back();
    if (last.tensor == piece.tensor && last.first + last.count == piece.first && last.position + last.count == piece.position) {
      last.count += piece.count;
      return;
    }
  }
  pieces.push_back(piece);
}

// Of the blocks of chunks [first, last), which have neighbouring places in the order of buckets and blocks.
std::vector<ErrorPiece> pieces_of_chunks(const Layout& layout, int first, int last) {
  std::vector<ErrorPiece> pieces;
  int64_t position = 0;
  for (const Bucket& bucket : layout.buckets)
    for (size_t b = 0; b < bucket.owner.size(); ++b) {
      if (bucket.owner[b] < first || bucket.owner[b] >= last) continue;
      const onebit_block& block = layout.blocks[static_cast<size_t>(bucket.first_block) + b];
      if (!layout.is_raw(block.tensor))
        add_piece(pieces, {static_cast<size_t>(block.tensor), block.first, block.count, position});
      position += block.count;
    }
  return pieces;
}

void add_errors(const SessionParts& parts, const char* stem, const std::vector<ErrorPiece>& pieces, const Buffer& errors,
                std::vector<Stored>& found) {
  if (errors.size() == 0) return;
  const WireType type = parts.exchange.error_type();
  const int64_t each = element_bytes(type);
  for (const ErrorPiece& piece : pieces)
    found.push_back(stored(parts, stem + parts.tensors[piece.tensor].name + "@" + std::to_string(piece.first),
                           stored_name(type), {piece.count}, errors.bytes() + piece.position * each,
                           static_cast<uint64_t>(piece.count * each)));
}

// The blocks of each tensor; at(bucket, block of the bucket) is where one is. Neighbours in a bucket's memory are one run,
// which a device copies at once.
template <class At>
std::vector<Stored> by_blocks(const SessionParts& parts, const char* stem, RoundKind kind, At&& at) {
  std::vector<Stored> found;
  for (const ModelTensor& tensor : parts.tensors) found.push_back({{stem + tensor.name, "U8", {0}}, parts.device, {}, {}});
  for (size_t b = 0; b < parts.layout.buckets.size(); ++b) {
    const std::byte* end = nullptr;  // of the last run, of this bucket
    for (int64_t k = 0; k < parts.layout.buckets[b].block_count; ++k) {
      const onebit_block& block = parts.layout.blocks[static_cast<size_t>(parts.layout.buckets[b].first_block + k)];
      const auto bytes = static_cast<uint64_t>(payload_bytes(parts.layout, kind, block));
      std::byte* const from = at(b, static_cast<size_t>(k));
      Stored& of = found[static_cast<size_t>(block.tensor)];
      of.tensor.shape[0] += static_cast<int64_t>(bytes);
      if (from == end && block.first > 0 && !of.runs.empty())
        of.runs.back().bytes += bytes;
      else
        of.runs.push_back({from, bytes});
      end = from + bytes;
    }
  }
  return found;
}

std::vector<Stored> in_flat_space(const SessionParts& parts, const char* stem, float* flat) {
  std::vector<Stored> found;
  for (size_t t = 0; t < parts.tensors.size(); ++t) found.push_back(in_order_of_memory(parts, stem, t, flat + parts.flat(t)));
  return found;
}

}  // namespace

std::vector<Stored> model_contents(const SessionParts& parts) {
  std::vector<Stored> found;
  for (size_t t = 0; t < parts.tensors.size(); ++t) {
    const ModelTensor& tensor = parts.tensors[t];
    found.push_back(stored(parts, tensor.name, "F32", tensor.shape, parts.shared(t), bytes_of(tensor, WireType::fp32)));
    if (tensor.elements > 0) found.back().order = tensor.order;
  }
  return found;
}

std::vector<Stored> slot_contents(const SessionParts& parts, size_t slot) {
  const StateSlot& declared = parts.state.slots()[slot];
  const int64_t count = declared.count, tensors = static_cast<int64_t>(parts.tensors.size());
  if (declared.role == ONEBIT_ROLE_ANCHOR) return {};
  if (declared.extent == ONEBIT_PER_ELEMENT) return element_contents(parts, slot);
  if (declared.extent == ONEBIT_PER_TENSOR && !declared.released)
    return {stored(parts, "tensors:" + declared.name, "F64", {tensors, count}, declared.memory.bytes(),
                   static_cast<uint64_t>(tensors * count) * sizeof(double))};
  if (declared.extent == ONEBIT_PER_MODEL)
    return {stored(parts, "model:" + declared.name, "F64", {count}, parts.state.model_memory() + parts.state.model_offset(slot),
                   static_cast<uint64_t>(count) * sizeof(double))};
  return {};
}

std::vector<Stored> retained_contents(const SessionParts& parts) {
  Retained& retained = parts.exchange.retained();
  if (retained.restored() != nullptr) return in_flat_space(parts, kRetained, retained.restored());
  if (!retained.kind()) return {};
  const RoundKind kind = *retained.kind();
  return by_blocks(parts, kRetained, kind, [&](size_t b, size_t k) {
    const Bucket& bucket = parts.layout.buckets[b];
    const Wire& wire = kind == RoundKind::dense ? bucket.dense : bucket.compressed;
    return retained.current(b) + wire.pieces[k].payload;
  });
}

std::vector<Stored> carried_contents(const SessionParts& parts) {
  if (parts.exchange.carried().size() == 0) return {};
  return in_flat_space(parts, kCarried, parts.exchange.carried().as<float>());
}

std::vector<Stored> own_parameter_contents(const SessionParts& parts) {
  std::vector<Stored> found;
  for (size_t t = 0; t < parts.tensors.size() && parts.apart; ++t)
    found.push_back(in_order_of_memory(parts, kOwnParameter, t, parts.own(t)));
  return found;
}

std::vector<ErrorPiece> worker_pieces(const Layout& layout) {
  if (layout.options().locals > 1)
    return pieces_of_chunks(layout, layout.local() * layout.machines(), (layout.local() + 1) * layout.machines());
  std::vector<ErrorPiece> pieces;
  for (size_t t = 0; t < layout.elements.size(); ++t) {
    if (layout.is_raw(static_cast<int64_t>(t)) || layout.elements[t] == 0) continue;
    const int64_t flat = layout.blocks[static_cast<size_t>(layout.first_block[t])].flat;
    pieces.push_back({t, 0, layout.elements[t], flat - layout.flat_exempt});
  }
  return pieces;
}

std::vector<ErrorPiece> served_pieces(const Layout& layout) {
  return pieces_of_chunks(layout, layout.options().rank, layout.options().rank + 1);
}

std::vector<Stored> error_contents(const SessionParts& parts) {
  std::vector<Stored> found;
  add_errors(parts, kWorkerError, worker_pieces(parts.layout), parts.exchange.worker_error(), found);
  add_errors(parts, kServerError, served_pieces(parts.layout), parts.exchange.server_error(), found);
  return found;
}

int64_t payload_bytes(const Layout& layout, RoundKind kind, const onebit_block& block) {
  if (kind == RoundKind::dense) return dense_bytes(layout.options().dense_type, block.count);
  if (layout.is_raw(block.tensor)) return dense_bytes(WireType::fp32, block.count);
  return static_cast<int64_t>(layout.options().payload_size(block.count));
}

}  // namespace onebit
