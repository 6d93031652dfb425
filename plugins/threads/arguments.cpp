// The checks of parts, tensors and their neighbourhood.
#include "arguments.hpp"

#include <algorithm>
#include <limits>

#include "work.hpp"

namespace onebit::threads {
namespace {

[[noreturn]] void refuse(const std::string& text) { throw Error(Code::invalid_argument, text); }

std::string part_name(const char* name, int rank) { return std::string(name) + '[' + std::to_string(rank) + ']'; }

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

Run hull(const void* base, const Part* parts, int ranks) {
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
void check_disjoint(const char* name, const void* buffer, const Part* parts, int ranks) {
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

bool is_contiguous(const Tensor& tensor) {
  if (tensor.strides == nullptr) return true;
  int64_t expected = 1;
  for (int32_t d = tensor.ndim; d-- > 0;) {
    if (tensor.shape[d] != 1 && tensor.strides[d] != expected) return false;
    expected *= tensor.shape[d];
  }
  return true;
}

int64_t count_elements(const char* name, const Tensor& tensor, int64_t element_bytes) {
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

}  // namespace

void check_call(const Call& call) {
  if (call.stream != nullptr && call.stream->device.type != ONEBIT_DEVICE_CPU)
    throw Error(Code::unsupported, "communicator 'threads' moves host memory; it has no streams");
}

void check_parts(const char* name, const void* buffer, const Part* parts, int ranks) {
  if (parts == nullptr) refuse(std::string(name) + " is NULL");
  for (int rank = 0; rank < ranks; ++rank) {
    const Part& part = parts[rank];
    if (part.bytes < 0) refuse(part_name(name, rank) + " has a negative size, " + std::to_string(part.bytes));
    if (part.offset < 0) refuse(part_name(name, rank) + " has a negative offset, " + std::to_string(part.offset));
    if (part.bytes > std::numeric_limits<int64_t>::max() - part.offset)
      refuse(part_name(name, rank) + " ends beyond all memory");
    if (part.bytes > 0 && buffer == nullptr)
      refuse(part_name(name, rank) + " has " + std::to_string(part.bytes) + " bytes, but the buffer is NULL");
  }
}

void check_gather_input(const void* in, const void* out, const Part* out_parts, int rank, int ranks) {
  const int64_t bytes = out_parts[rank].bytes;
  if (bytes > 0 && in == nullptr)
    refuse("in is NULL, but out_parts[" + std::to_string(rank) + "] has " + std::to_string(bytes) + " bytes");
  check_disjoint("out_parts", out, out_parts, ranks);
  const Run input(in, 0, bytes);
  if (!input.overlaps(hull(out, out_parts, ranks)) || input.same(Run(out, out_parts[rank]))) return;
  for (int other = 0; other < ranks; ++other)
    if (input.overlaps(Run(out, out_parts[other])))
      refuse("in overlaps " + part_name("out_parts", other) + ": it must be this rank's own place in out, or apart from out");
}

void check_apart(const void* in, const Part* in_parts, const void* out, const Part* out_parts, int ranks) {
  check_disjoint("out_parts", out, out_parts, ranks);
  if (!hull(in, in_parts, ranks).overlaps(hull(out, out_parts, ranks))) return;
  for (int a = 0; a < ranks; ++a)
    for (int b = 0; b < ranks; ++b)
      if (Run(in, in_parts[a]).overlaps(Run(out, out_parts[b])))
        refuse(part_name("in_parts", a) + " and " + part_name("out_parts", b) + " overlap");
}

void check_root(int root, int ranks) {
  if (root < 0 || root >= ranks)
    refuse("root is " + std::to_string(root) + ", but ranks are 0 to " + std::to_string(ranks - 1));
}

void check_reduction(ReduceOp op, onebit_dtype dtype) {
  if (op < ReduceOp::sum || op > ReduceOp::max)
    throw Error(Code::unsupported,
                "all_reduce knows sum, avg, min and max, not operation " + std::to_string(static_cast<int>(op)));
  if (!can_reduce(dtype))
    throw Error(Code::unsupported,
                "all_reduce of communicator 'threads' adds float 32 and 64, int 32 and 64 and uint 8, not dtype code " +
                    std::to_string(dtype.code) + " with " + std::to_string(dtype.bits) + " bits and " +
                    std::to_string(dtype.lanes) + " lanes");
}

char* check_tensor(const char* name, const Tensor& tensor, Offer& offer) {
  if (tensor.device.type != ONEBIT_DEVICE_CPU)
    throw Error(Code::unsupported,
                std::string(name) + " is not in host memory, the only one that communicator 'threads' knows");
  const int64_t bits = int64_t{tensor.dtype.bits} * tensor.dtype.lanes;
  if (bits == 0 || bits % 8 != 0)
    throw Error(Code::unsupported,
                std::string(name) + " has elements of " + std::to_string(bits) + " bits, which are not whole bytes");
  offer.dtype = tensor.dtype;
  offer.count = count_elements(name, tensor, bits / 8);
  offer.bytes = offer.count * (bits / 8);
  if (offer.count == 0) return nullptr;
  if (!is_contiguous(tensor)) refuse(std::string(name) + " is not contiguous");
  if (tensor.data == nullptr)
    refuse(std::string(name) + " has " + std::to_string(offer.count) + " elements, but its data is NULL");
  return static_cast<char*>(tensor.data) + tensor.byte_offset;
}

void check_same_shape(const Tensor& in, const Tensor& out, const Offer& offer) {
  Offer other;
  const char* target = check_tensor("out", out, other);
  if (other.count != offer.count || in.dtype.code != out.dtype.code || in.dtype.bits != out.dtype.bits)
    refuse("in has " + std::to_string(offer.count) + " elements of " + std::to_string(in.dtype.bits) + " bits, out " +
           std::to_string(other.count) + " of " + std::to_string(out.dtype.bits) + ": they must be of one type and size");
  const Run source(offer.in, 0, offer.bytes), result(target, 0, offer.bytes);
  if (source.overlaps(result) && !source.same(result)) refuse("in and out overlap: they must be the same tensor, or apart");
  const uintptr_t element = in.dtype.bits / 8;
  if (source.begin % element != 0 || result.begin % element != 0)
    refuse("in and out must be aligned to their elements, of " + std::to_string(element) + " bytes");
}

}  // namespace onebit::threads
