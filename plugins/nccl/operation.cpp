// SPDX-License-Identifier: Apache-2.0
// Events of operations, and the numbers by which ranks compare sizes: hashes, so that what is said of a collective stays as
// short with 1000 ranks as with 2.
#include "operation.hpp"

#include "onebit/cuda.hpp"

namespace onebit::nccl {
namespace {

uint64_t mix(uint64_t hash, uint64_t word) {  // splitmix64's steps
  hash = (hash ^ word) * 0x9e3779b97f4a7c15U;
  hash = (hash ^ (hash >> 30U)) * 0xbf58476d1ce4e5b9U;
  hash = (hash ^ (hash >> 27U)) * 0x94d049bb133111ebU;
  return hash ^ (hash >> 31U);
}

uint64_t flow(size_t source, size_t destination, int64_t bytes) {
  return mix(mix(mix(0x0eb1, source), destination), static_cast<uint64_t>(bytes));
}

uint64_t hash_of(const std::vector<Part>& parts) {
  uint64_t hash = parts.size();
  for (const Part& part : parts) hash = mix(hash, static_cast<uint64_t>(part.bytes));
  return hash;
}

}  // namespace

Event::~Event() {
  if (event_ != nullptr) cudaEventDestroy(event_);
}

void Event::record(cudaStream_t stream) {
  if (event_ == nullptr) cuda::check(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "cudaEventCreateWithFlags");
  cuda::check(cudaEventRecord(event_, stream), "cudaEventRecord");
}

void Event::hold_up(cudaStream_t stream) const { cuda::check(cudaStreamWaitEvent(stream, event_, 0), "cudaStreamWaitEvent"); }

bool Event::passed() const {
  const cudaError_t code = cudaEventQuery(event_);
  if (code != cudaErrorNotReady) cuda::check(code, "cudaEventQuery");
  return code == cudaSuccess;
}

void Operation::reset(uint64_t number) {
  state = State::waiting;
  held = cleared = on_device = told_late = false;
  sequence = number;
  limit = Limit::call;
  signature = {};
  deadline = kNever;
  caller = nullptr;
  in = out = nullptr;
  bytes = 0;
  in_parts.clear();
  out_parts.clear();
  blobs.clear();
}

Sizes sizes_of(const Operation& operation, int rank) {
  Sizes found;
  const auto me = static_cast<size_t>(rank);
  const CollectiveSignature& signature = operation.signature;
  if (signature.kind == Collective::all_gather) found.same = hash_of(operation.out_parts);
  if (signature.kind == Collective::all_to_all)
    for (size_t other = 0; other < operation.in_parts.size(); ++other)
      found.balance += flow(me, other, operation.in_parts[other].bytes) - flow(other, me, operation.out_parts[other].bytes);
  const auto& dtype = signature.dtype;
  const auto words = {static_cast<uint64_t>(signature.kind),
                      static_cast<uint64_t>(signature.reduce),
                      (uint64_t{dtype.code} << 32U) | (uint64_t{dtype.bits} << 16U) | dtype.lanes,
                      static_cast<uint64_t>(signature.root),
                      static_cast<uint64_t>(signature.count),
                      hash_of(operation.in_parts),
                      hash_of(operation.out_parts)};
  for (const uint64_t word : words) found.own = mix(found.own, word);
  return found;
}

std::string sizes_text(const Operation& operation, int ranks) {
  std::string text;
  for (const std::vector<Part>* parts : {&operation.in_parts, &operation.out_parts})
    for (size_t rank = 0; rank < static_cast<size_t>(ranks); ++rank) {
      const int64_t bytes = rank < parts->size() ? (*parts)[rank].bytes : 0;
      text.append(reinterpret_cast<const char*>(&bytes), sizeof bytes);
    }
  return text;
}

}  // namespace onebit::nccl
