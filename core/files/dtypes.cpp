// SPDX-License-Identifier: Apache-2.0
#include "files/dtypes.hpp"

#include <algorithm>
#include <iterator>

namespace onebit {
namespace {

struct Dtype {
  std::string_view name;
  uint64_t bits;
};
constexpr Dtype kDtypes[] = {{"F4", 4},          {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"BOOL", 8},    {"U8", 8},
                             {"I8", 8},          {"F8_E4M3", 8}, {"F8_E5M2", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8},
                             {"F8_E5M2FNUZ", 8}, {"U16", 16},    {"I16", 16},    {"F16", 16},    {"BF16", 16},
                             {"U32", 32},        {"I32", 32},    {"F32", 32},    {"U64", 64},    {"I64", 64},
                             {"F64", 64},        {"C64", 64}};

}  // namespace

std::optional<uint64_t> bits_of(std::string_view dtype) {
  const auto* found = std::find_if(std::begin(kDtypes), std::end(kDtypes), [&](const Dtype& d) { return d.name == dtype; });
  return found == std::end(kDtypes) ? std::nullopt : std::optional(found->bits);
}

}  // namespace onebit
