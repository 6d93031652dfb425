// SPDX-License-Identifier: Apache-2.0
// The order in memory of a tensor that leaves no gap there: row by row, or with its dimensions in another order.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace onebit {

std::vector<int64_t> row_strides(const std::vector<int64_t>& shape);

// The same strides for the same order: those of dimensions with one element or none say nothing. Empty for row by row; none
// where elements overlap or leave gaps, or where there is not a stride for every dimension.
std::optional<std::vector<int64_t>> dense_order(const std::vector<int64_t>& shape, const std::vector<int64_t>& strides);

}  // namespace onebit
