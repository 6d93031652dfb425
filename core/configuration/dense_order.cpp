// SPDX-License-Identifier: Apache-2.0
#include "configuration/dense_order.hpp"

#include <algorithm>

namespace onebit {

std::vector<int64_t> row_strides(const std::vector<int64_t>& shape) {
  std::vector<int64_t> strides(shape.size(), 1);
  for (size_t d = shape.size(); d-- > 1;) strides[d - 1] = strides[d] * shape[d];
  return strides;
}

std::optional<std::vector<int64_t>> dense_order(const std::vector<int64_t>& shape, const std::vector<int64_t>& strides) {
  if (strides.empty() || std::count(shape.begin(), shape.end(), 0) > 0) return std::vector<int64_t>();
  if (strides.size() != shape.size()) return std::nullopt;
  std::vector<size_t> wide;  // dimensions with several elements, the innermost first
  for (size_t d = 0; d < shape.size(); ++d)
    if (shape[d] > 1) wide.push_back(d);
  std::stable_sort(wide.begin(), wide.end(), [&](size_t a, size_t b) { return strides[a] < strides[b]; });
  std::vector<int64_t> order = row_strides(shape);
  int64_t elements = 1;
  bool by_rows = true;
  for (const size_t d : wide) {
    if (strides[d] != elements) return std::nullopt;
    by_rows = by_rows && order[d] == elements;
    order[d] = elements;
    elements *= shape[d];
  }
  return by_rows ? std::vector<int64_t>() : order;
}

}  // namespace onebit
