// SPDX-License-Identifier: Apache-2.0
#include "saving/stored.hpp"

#include <algorithm>
#include <cstring>

#include "onebit/error.hpp"
#include "saving/streamed_copy.hpp"

namespace onebit {
namespace {

// The places in memory of elements that are asked for row by row.
class RowByRow {
 public:
  RowByRow(const std::vector<int64_t>& shape, const std::vector<int64_t>& strides, int64_t first)
      : shape_(shape), strides_(strides), at_(shape.size()) {
    for (size_t d = shape.size(); d-- > 0; first /= shape[d]) {
      at_[d] = first % shape[d];
      place_ += at_[d] * strides[d];
    }
  }
  int64_t next() {
    const int64_t found = place_;
    for (size_t d = shape_.size(); d-- > 0;) {
      place_ += strides_[d];
      if (++at_[d] < shape_[d]) break;
      place_ -= strides_[d] * shape_[d];
      at_[d] = 0;
    }
    return found;
  }

 private:
  const std::vector<int64_t>&shape_, &strides_;
  std::vector<int64_t> at_;
  int64_t place_ = 0;
};

// The first place of some elements, and how many places there are up to the last one.
struct Window {
  int64_t first, count;
};
Window window_of(const std::vector<int64_t>& shape, const std::vector<int64_t>& strides, int64_t first, int64_t count) {
  RowByRow places(shape, strides, first);
  int64_t least = places.next(), most = least;
  for (int64_t i = 1; i < count; ++i) {
    const int64_t place = places.next();
    least = std::min(least, place);
    most = std::max(most, place);
  }
  return {least, most - least + 1};
}

void copy_out(Device* device, std::byte* to, const std::byte* from, uint64_t bytes, bool streamed) {
  if (device != nullptr)
    device->read(to, from, bytes);
  else if (streamed)
    copy_streamed(to, from, bytes);
  else
    std::memcpy(to, from, bytes);
}

// f(memory, offset in the range, bytes) for each run that has a part of [begin, end).
template <class F>
void over_runs(const std::vector<MemoryRun>& runs, uint64_t begin, uint64_t end, F&& f) {
  uint64_t first = 0;
  for (const MemoryRun& run : runs) {
    const uint64_t from = std::max(begin, first), to = std::min(end, first + run.bytes);
    if (from < to) f(run.at + (from - first), from - begin, to - from);
    first += run.bytes;
  }
}

}  // namespace

void copy_in(Device* device, void* to, const void* from, uint64_t bytes) {
  if (bytes == 0) return;
  if (device != nullptr)
    device->write(to, from, bytes);
  else
    std::memcpy(to, from, bytes);
}

uint64_t Stored::bytes() const {
  uint64_t total = 0;
  for (const MemoryRun& run : runs) total += run.bytes;
  return total;
}

// A device copies no single elements: whatever lies between those that are wanted comes over.
void Stored::read(uint64_t begin, uint64_t end, std::byte* out, bool streamed) const {
  if (order.empty())
    return over_runs(runs, begin, end, [&](const std::byte* at, uint64_t offset, uint64_t count) {
      copy_out(device, out + offset, at, count, streamed);
    });
  if (begin == end) return;
  const auto first = static_cast<int64_t>(begin / sizeof(float)), count = static_cast<int64_t>((end - begin) / sizeof(float));
  const auto* values = reinterpret_cast<const float*>(runs[0].at);
  std::vector<float> copy;
  int64_t origin = 0;
  if (device != nullptr) {
    const Window window = window_of(tensor.shape, order, first, count);
    copy.resize(static_cast<size_t>(window.count));
    device->read(copy.data(), values + window.first, copy.size() * sizeof(float));
    values = copy.data();
    origin = window.first;
  }
  RowByRow places(tensor.shape, order, first);
  for (int64_t i = 0; i < count; ++i)
    std::memcpy(out + static_cast<size_t>(i) * sizeof(float), values + (places.next() - origin), sizeof(float));
}

void Stored::write(uint64_t begin, uint64_t end, const std::byte* in) const {
  if (order.empty())
    return over_runs(runs, begin, end,
                     [&](std::byte* at, uint64_t offset, uint64_t count) { copy_in(device, at, in + offset, count); });
  if (begin != 0 || end != bytes()) throw Error(Code::internal, "a tensor in another order is written as a whole");
  std::vector<float> values(bytes() / sizeof(float));
  RowByRow places(tensor.shape, order, 0);
  for (size_t i = 0; i < values.size(); ++i)
    std::memcpy(&values[static_cast<size_t>(places.next())], in + i * sizeof(float), 4);
  copy_in(device, runs[0].at, values.data(), bytes());
}

}  // namespace onebit
