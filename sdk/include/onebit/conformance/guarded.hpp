// SPDX-License-Identifier: Apache-2.0
// An array between canaries: one can ask afterwards whether anybody wrote beside it. As numbers the canaries are NaN, so that
// what is computed from them shows, too.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <vector>

namespace onebit::conformance {

template <class T>
class Guarded {
 public:
  // shift: elements by which the array is moved off the allocation's alignment.
  explicit Guarded(size_t size = 0, size_t shift = 0)
      : size_(size), first_(margin + shift), bytes_((size + 2 * first_) * sizeof(T)) {
    std::fill(bytes_.begin(), bytes_.end(), canary);
    const auto before = static_cast<std::ptrdiff_t>(first_ * sizeof(T));
    std::fill(bytes_.begin() + before, bytes_.end() - before, 0);
  }
  explicit Guarded(const std::vector<T>& values, size_t shift = 0) : Guarded(values.size(), shift) {
    std::copy(values.begin(), values.end(), data());
  }

  T* data() { return reinterpret_cast<T*>(bytes_.data()) + first_; }
  const T* data() const { return reinterpret_cast<const T*>(bytes_.data()) + first_; }
  T* begin() { return data(); }
  T* end() { return data() + size_; }
  size_t size() const { return size_; }
  T& operator[](size_t i) { return data()[i]; }
  const T& operator[](size_t i) const { return data()[i]; }
  std::vector<T> values() const { return std::vector<T>(data(), data() + size_); }
  bool intact() const {
    const size_t before = first_ * sizeof(T);
    const auto is_canary = [](unsigned char byte) { return byte == canary; };
    return std::all_of(bytes_.begin(), bytes_.begin() + static_cast<std::ptrdiff_t>(before), is_canary) &&
           std::all_of(bytes_.end() - static_cast<std::ptrdiff_t>(before), bytes_.end(), is_canary);
  }
  // The whole, canaries and all; the first element is at first() of it.
  const std::vector<unsigned char>& bytes() const { return bytes_; }
  size_t first() const { return first_; }

  bool operator==(const Guarded& other) const {
    return size_ == other.size_ && std::memcmp(data(), other.data(), size_ * sizeof(T)) == 0;
  }
  bool operator!=(const Guarded& other) const { return !(*this == other); }

 private:
  static constexpr size_t margin = 64;
  static constexpr unsigned char canary = 0xFF;
  size_t size_, first_;
  std::vector<unsigned char> bytes_;
};

}  // namespace onebit::conformance
