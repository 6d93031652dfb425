// SPDX-License-Identifier: Apache-2.0
// What the cases send and expect: bytes and numbers that tell which ranks they belong to.
#pragma once

#include <algorithm>
#include <cstdint>
#include <exception>
#include <memory>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include "onebit/communicator.hpp"
#include "onebit/conformance/fixtures/unmet.hpp"

namespace onebit::conformance {

using Rank = std::unique_ptr<Communicator>;

inline const std::vector<int64_t>& sizes() {
  static const std::vector<int64_t> all = {0, 1, 7, 64, 1000, (int64_t{1} << 20) + 3};
  return all;
}

// Bytes that tell which ranks they belong to: a view into one random array, at a place of its own for every pair.
inline const uint8_t* pattern(int source, int destination) {
  static const std::vector<uint8_t> random = [] {
    std::vector<uint8_t> bytes((size_t{1} << 20) + (size_t{1} << 16));
    std::mt19937 generator(1);
    for (uint8_t& b : bytes) b = static_cast<uint8_t>(generator());
    return bytes;
  }();
  return random.data() + (source * 131 + destination * 17) % 60000;
}

constexpr int64_t kGap = 5;  // bytes between parts, which nobody may touch
constexpr uint8_t kUntouched = 0xA5;

// A buffer of one part for each rank, with gaps between them.
struct Parts {
  template <class Size>
  Parts(int ranks, Size size) {
    int64_t end = kGap;
    for (int rank = 0; rank < ranks; ++rank) {
      parts.push_back({end, size(rank)});
      end += parts.back().bytes + kGap;
    }
    bytes.assign(static_cast<size_t>(end), kUntouched);
  }
  uint8_t* at(int rank) { return bytes.data() + parts[static_cast<size_t>(rank)].offset; }
  int64_t size(int rank) const { return parts[static_cast<size_t>(rank)].bytes; }
  void fill(int rank, const uint8_t* from) { std::copy_n(from, size(rank), at(rank)); }
  void check(int rank, const uint8_t* expected, const char* what) {
    require(std::equal(expected, expected + size(rank), at(rank)),
            std::string(what) + ": the part of rank " + std::to_string(rank) + " has other bytes");
  }
  void check_gaps(const char* what) {
    int64_t begin = 0;
    for (size_t i = 0; i <= parts.size(); ++i) {
      const int64_t end = i < parts.size() ? parts[i].offset : static_cast<int64_t>(bytes.size());
      require(std::all_of(bytes.begin() + begin, bytes.begin() + end, [](uint8_t byte) { return byte == kUntouched; }),
              std::string(what) + ": bytes between parts were written");
      if (i < parts.size()) begin = end + parts[i].bytes;
    }
  }
  std::vector<Part> parts;
  std::vector<uint8_t> bytes;
};

template <class T>
onebit_dtype dtype_of() {
  const int code = std::is_floating_point_v<T> ? ONEBIT_DTYPE_FLOAT
                   : std::is_signed_v<T>       ? ONEBIT_DTYPE_INT
                                               : ONEBIT_DTYPE_UINT;
  return {static_cast<uint8_t>(code), static_cast<uint8_t>(sizeof(T) * 8), 1};
}

// A vector as a tensor of one dimension.
template <class T>
struct Vector {
  explicit Vector(std::vector<T> from) : values(std::move(from)), extent(static_cast<int64_t>(values.size())) {
    tensor = {values.data(), {ONEBIT_DEVICE_CPU, 0}, 1, dtype_of<T>(), &extent, &stride, 0};
  }
  Vector(const Vector&) = delete;
  Vector& operator=(const Vector&) = delete;
  std::vector<T> values;
  int64_t extent, stride = 1;
  Tensor tensor{};
};

// Numbers that tell which rank they belong to: a view into one random array, at a place of its own for every rank.
template <class T>
const T* numbers(int rank) {
  static const std::vector<T> random = [] {
    std::vector<T> values((size_t{1} << 20) + (size_t{1} << 16));
    std::mt19937 generator(2);
    for (T& v : values) {
      v = static_cast<T>(static_cast<int>(generator() % 251) - 120);
      if constexpr (std::is_floating_point_v<T>) v *= static_cast<T>(0.1);
    }
    return values;
  }();
  return random.data() + rank % 60 * 977;
}
template <class T>
std::vector<T> elements(int rank, int64_t count) {
  return std::vector<T>(numbers<T>(rank), numbers<T>(rank) + count);
}

// What the ranks in order give; sums of these numbers stay within 64 bits, and are cut to T as unsigned arithmetic cuts.
template <class T>
std::vector<T> reduced(ReduceOp op, int ranks, int64_t count) {
  using Wide = std::conditional_t<std::is_floating_point_v<T>, T, int64_t>;
  std::vector<Wide> result(numbers<T>(0), numbers<T>(0) + count);
  for (int rank = 1; rank < ranks; ++rank)
    std::transform(result.begin(), result.end(), numbers<T>(rank), result.begin(), [op](Wide a, T b) {
      const Wide next = static_cast<Wide>(b);
      return op == ReduceOp::min ? std::min(a, next) : op == ReduceOp::max ? std::max(a, next) : a + next;
    });
  std::vector<T> cut(result.size());
  std::transform(result.begin(), result.end(), cut.begin(),
                 [op, ranks](Wide v) { return static_cast<T>(op == ReduceOp::avg ? v / static_cast<Wide>(ranks) : v); });
  return cut;
}

// Declared after the buffers of requests in flight: when the case fails, its communicator goes before they do.
struct GoFirst {
  explicit GoFirst(Rank& rank) : self(rank) {}
  ~GoFirst() {
    if (std::uncaught_exceptions() > before) self.reset();
  }
  GoFirst(const GoFirst&) = delete;
  GoFirst& operator=(const GoFirst&) = delete;
  Rank& self;
  const int before = std::uncaught_exceptions();
};

inline void finish(Rank& self, Request* request) { self->wait(request); }

template <class T>
void check_reduction(Rank& self, ReduceOp op, int64_t count, bool in_place) {
  Vector<T> in(elements<T>(self->rank(), count));
  Vector<T> out(std::vector<T>(static_cast<size_t>(in_place ? 0 : count), T{77}));
  Tensor& result = in_place ? in.tensor : out.tensor;
  finish(self, self->all_reduce(in.tensor, result, op, Call(static_cast<uint64_t>(count))));
  require((in_place ? in : out).values == reduced<T>(op, self->size(), count),
          "all_reduce of " + std::to_string(count) + " elements gave other values");
  if (!in_place) require(in.values == elements<T>(self->rank(), count), "all_reduce changed its input");
}

}  // namespace onebit::conformance
