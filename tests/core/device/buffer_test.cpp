// SPDX-License-Identifier: Apache-2.0
// Buffers: zeroed, counted, and able to give a part back.
#include "device/buffer.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <utility>

#include "device/ready_memory.hpp"

using namespace onebit;

TEST_CASE("a buffer that shrinks keeps its first bytes and gives the others back, on the heap and on pages of its own") {
  for (const size_t megabytes : {1U, 8U}) {
    CAPTURE(megabytes);
    MemoryMeter meter;
    Buffer buffer(meter, megabytes << 20U);
    const size_t count = buffer.size() / sizeof(uint32_t);
    std::iota(buffer.as<uint32_t>(), buffer.as<uint32_t>() + count, 1U);
    buffer.shrink(40'000);
    CHECK(buffer.size() >= 40'000);
    CHECK(buffer.size() < 40'000 + 4096);
    CHECK(meter.held() == buffer.size());
    for (uint32_t i = 0; i < 10'000; ++i) REQUIRE(buffer.as<uint32_t>()[i] == i + 1);
    buffer.shrink(40'000);
    buffer.shrink(1 << 20U);  // larger than it is: nothing to do
    CHECK(meter.held() == buffer.size());
    Buffer moved = std::move(buffer);
    CHECK(moved.as<uint32_t>()[9'999] == 10'000);
    moved.shrink(0);
    CHECK(moved.size() == 0);
    CHECK(moved.bytes() == nullptr);
    CHECK(meter.held() == 0);
  }
}

TEST_CASE("a large buffer that shrinks holds its memory once") {
  MemoryMeter meter;
  Buffer buffer(meter, size_t{64} << 20U);
  const std::byte* before = buffer.bytes();
  const uint64_t peak = meter.peak();
  buffer.shrink(size_t{48} << 20U);
  CHECK(buffer.bytes() == before);
  CHECK(meter.peak() == peak);
  CHECK(meter.held() == size_t{48} << 20U);
}

TEST_CASE("a buffer takes pages that are ready for one of its size, zeroed, and is counted once it has them") {
  constexpr size_t megabyte = size_t{1} << 20U;
  MemoryMeter meter;
  Buffer taken;
  {
    ReadyMemory ready(meter, {64 * megabyte, 8 * megabyte + 100, 1000});
    CHECK(meter.held() == 0);
    const Buffer other(meter, 4 * megabyte);  // of a size that is not there
    taken = Buffer(meter, 8 * megabyte + 100);
    CHECK(meter.held() == other.size() + taken.size());
    CHECK(std::all_of(taken.bytes(), taken.bytes() + taken.size(), [](std::byte byte) { return byte == std::byte{0}; }));
    std::fill_n(taken.bytes(), taken.size(), std::byte{0xff});  // what touches pages writes zeros
    const std::byte* const first = taken.bytes();
    const Buffer next(meter, 8 * megabyte + 100), small(meter, 1000);
    CHECK(next.bytes() != first);
    CHECK(meter.held() == other.size() + taken.size() + next.size() + small.size());
  }
  CHECK(meter.held() == taken.size());
  CHECK(std::all_of(taken.bytes(), taken.bytes() + taken.size(), [](std::byte byte) { return byte == std::byte{0xff}; }));
  taken = Buffer(meter, 3 * megabyte);
  CHECK(meter.held() == 3 * megabyte);
}
