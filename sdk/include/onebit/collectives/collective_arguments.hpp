// SPDX-License-Identifier: Apache-2.0
// What a communicator checks before it believes a call: part arrays, tensors, and whether they overlap. For authors of
// communicators; each check throws invalid_argument or unsupported, in words that name the argument. `communicator` is the
// component's name, for those words.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>

#include "onebit/collectives/reduction.hpp"
#include "onebit/communicator.hpp"

namespace onebit {
namespace detail {

inline std::string named(const char* communicator) { return std::string("communicator '") + communicator + "'"; }
[[noreturn]] inline void refuse(const std::string& text) { throw Error(Code::invalid_argument, text); }

inline std::string part_name(const char* name, int rank) { return std::string(name) + '[' + std::to_string(rank) + ']'; }

// A run of addresses; as integers, for comparing pointers into different arrays is undefined.
struct Run {
  Run(const void* base, int64_t offset, int64_t bytes)
      : begin(reinterpret_cast<uintptr_t>(base) + static_cast<uintptr_t>(offset)), end(begin + static_cast<uintptr_t>(bytes)) {}
  Run(const void* base, const Part& part) : Run(base, part.offset, part.bytes) {}
  bool overlaps(const Run& other) const {
    return begin < end && other.begin < other.end && begin < other.end && other.begin < end;
  }
  bool same(const Run& other) const { return begin == other.begin && end == other.end; }
  uintptr_t begin, end;
};

inline Run hull(const void* base, const Part* parts, int ranks) {
  Run all(base, 0, 0);
  bool any = false;
  for (int rank = 0; rank < ranks; ++rank) {
    if (parts[rank].bytes == 0) continue;
    const Run run(base, parts[rank]);
    all.begin = any ? std::min(all.begin, run.begin) : run.begin;
    all.end = any ? std::max(all.end, run.end) : run.end;
    any = true;
  }
  return all;
}

// Parts are written by several threads at once. Nearly always they are in order, and the first loop says so.
inline void check_disjoint(const char* name, const void* buffer, const Part* parts, int ranks) {
  int64_t end = 0;
  bool ordered = true;
  for (int rank = 0; rank < ranks; ++rank) {
    if (parts[rank].bytes == 0) continue;
    ordered = ordered && parts[rank].offset >= end;
    end = parts[rank].offset + parts[rank].bytes;
  }
  if (ordered) return;
  for (int a = 0; a < ranks; ++a)
    for (int b = 0; b < a; ++b)
      if (Run(buffer, parts[a]).overlaps(Run(buffer, parts[b])))
        refuse(part_name(name, b) + " and " + part_name(name, a) + " overlap");
}

inline bool is_contiguous(const Tensor& tensor) {
  if (tensor.strides == nullptr) return true;
  int64_t expected = 1;
  for (int32_t d = tensor.ndim; d-- > 0;) {
    if (tensor.shape[d] != 1 && tensor.strides[d] != expected) return false;
    expected *= tensor.shape[d];
  }
  return true;
}

inline int64_t count_elements(const char* name, const Tensor& tensor, int64_t element_bytes) {
  if (tensor.ndim < 0 || (tensor.ndim > 0 && tensor.shape == nullptr)) refuse(std::string(name) + " has no shape");
  int64_t bytes = element_bytes;
  for (int32_t d = 0; d < tensor.ndim; ++d) {
    if (tensor.shape[d] < 0) refuse(std::string(name) + " has a negative extent in dimension " + std::to_string(d));
    if (tensor.shape[d] == 0) return 0;
  }
  for (int32_t d = 0; d < tensor.ndim; ++d)
    if (__builtin_mul_overflow(bytes, tensor.shape[d], &bytes))
      refuse(std::string(name) + " has more bytes than memory can hold");
  return bytes / element_bytes;
}

}  // namespace detail

// For communicators that move host memory only.
inline void check_call(const char* communicator, const Call& call) {
  if (call.stream != nullptr && call.stream->device.type != ONEBIT_DEVICE_CPU)
    throw Error(Code::unsupported, detail::named(communicator) + " moves host memory; it has no streams");
}

inline void check_parts(const char* name, const void* buffer, const Part* parts, int ranks) {
  if (parts == nullptr) detail::refuse(std::string(name) + " is NULL");
  for (int rank = 0; rank < ranks; ++rank) {
    const Part& part = parts[rank];
    if (part.bytes < 0) detail::refuse(detail::part_name(name, rank) + " has a negative size, " + std::to_string(part.bytes));
    if (part.offset < 0)
      detail::refuse(detail::part_name(name, rank) + " has a negative offset, " + std::to_string(part.offset));
    if (part.bytes > std::numeric_limits<int64_t>::max() - part.offset)
      detail::refuse(detail::part_name(name, rank) + " ends beyond all memory");
    if (part.bytes > 0 && buffer == nullptr)
      detail::refuse(detail::part_name(name, rank) + " has " + std::to_string(part.bytes) + " bytes, but the buffer is NULL");
  }
}

// in must be out_parts[rank] itself, or apart from every part.
inline void check_gather_input(const void* in, const void* out, const Part* out_parts, int rank, int ranks) {
  const int64_t bytes = out_parts[rank].bytes;
  if (bytes > 0 && in == nullptr)
    detail::refuse("in is NULL, but out_parts[" + std::to_string(rank) + "] has " + std::to_string(bytes) + " bytes");
  detail::check_disjoint("out_parts", out, out_parts, ranks);
  const detail::Run input(in, 0, bytes);
  if (!input.overlaps(detail::hull(out, out_parts, ranks)) || input.same(detail::Run(out, out_parts[rank]))) return;
  for (int other = 0; other < ranks; ++other)
    if (input.overlaps(detail::Run(out, out_parts[other])))
      detail::refuse("in overlaps " + detail::part_name("out_parts", other) +
                     ": it must be this rank's own place in out, or apart from out");
}

inline void check_apart(const void* in, const Part* in_parts, const void* out, const Part* out_parts, int ranks) {
  detail::check_disjoint("out_parts", out, out_parts, ranks);
  if (!detail::hull(in, in_parts, ranks).overlaps(detail::hull(out, out_parts, ranks))) return;
  for (int a = 0; a < ranks; ++a)
    for (int b = 0; b < ranks; ++b)
      if (detail::Run(in, in_parts[a]).overlaps(detail::Run(out, out_parts[b])))
        detail::refuse(detail::part_name("in_parts", a) + " and " + detail::part_name("out_parts", b) + " overlap");
}

inline void check_root(int root, int ranks) {
  if (root < 0 || root >= ranks)
    detail::refuse("root is " + std::to_string(root) + ", but ranks are 0 to " + std::to_string(ranks - 1));
}

inline void check_reduction(const char* communicator, ReduceOp op, onebit_dtype dtype) {
  if (op < ReduceOp::sum || op > ReduceOp::max)
    throw Error(Code::unsupported,
                "all_reduce knows sum, avg, min and max, not operation " + std::to_string(static_cast<int>(op)));
  if (!can_reduce(dtype))
    throw Error(Code::unsupported, "all_reduce of " + detail::named(communicator) +
                                       " adds float 32 and 64, int 32 and 64 and uint 8, not dtype code " +
                                       std::to_string(dtype.code) + " with " + std::to_string(dtype.bits) + " bits and " +
                                       std::to_string(dtype.lanes) + " lanes");
}

// A tensor's elements as one run of memory; data is NULL when there are none.
struct Elements {
  char* data = nullptr;
  int64_t count = 0;
  int64_t bytes = 0;
};

inline Elements check_tensor(const char* communicator, const char* name, const Tensor& tensor) {
  if (tensor.device.type != ONEBIT_DEVICE_CPU)
    throw Error(Code::unsupported,
                std::string(name) + " is not in host memory, the only one that " + detail::named(communicator) + " knows");
  const int64_t bits = int64_t{tensor.dtype.bits} * tensor.dtype.lanes;
  if (bits == 0 || bits % 8 != 0)
    throw Error(Code::unsupported,
                std::string(name) + " has elements of " + std::to_string(bits) + " bits, which are not whole bytes");
  Elements found;
  found.count = detail::count_elements(name, tensor, bits / 8);
  found.bytes = found.count * (bits / 8);
  if (found.count == 0) return found;
  if (!detail::is_contiguous(tensor)) detail::refuse(std::string(name) + " is not contiguous");
  if (tensor.data == nullptr)
    detail::refuse(std::string(name) + " has " + std::to_string(found.count) + " elements, but its data is NULL");
  found.data = static_cast<char*>(tensor.data) + tensor.byte_offset;
  return found;
}

// out has the shape and type of in, whose elements are `source`, and is the same or apart from it. Answers out's elements.
inline Elements check_same_shape(const char* communicator, const Tensor& in, const Elements& source, const Tensor& out) {
  const Elements target = check_tensor(communicator, "out", out);
  if (target.count != source.count || in.dtype.code != out.dtype.code || in.dtype.bits != out.dtype.bits)
    detail::refuse("in has " + std::to_string(source.count) + " elements of " + std::to_string(in.dtype.bits) + " bits, out " +
                   std::to_string(target.count) + " of " + std::to_string(out.dtype.bits) +
                   ": they must be of one type and size");
  const detail::Run from(source.data, 0, source.bytes), to(target.data, 0, source.bytes);
  if (from.overlaps(to) && !from.same(to)) detail::refuse("in and out overlap: they must be the same tensor, or apart");
  const uintptr_t element = in.dtype.bits / 8;
  if (from.begin % element != 0 || to.begin % element != 0)
    detail::refuse("in and out must be aligned to their elements, of " + std::to_string(element) + " bytes");
  return target;
}

}  // namespace onebit
