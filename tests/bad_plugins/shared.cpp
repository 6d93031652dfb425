// SPDX-License-Identifier: Apache-2.0
// Two libraries of this source (VERSION 1 and 2) have globals of the same names. A plain one is each library's own, for
// libraries are loaded with RTLD_LOCAL. One that the compiler makes unique in the process (UNIQUE; g++ does, clang does not) is
// not.
#include "onebit/plugin.hpp"

#define EVERYBODYS __attribute__((visibility("default")))

EVERYBODYS extern int shared_block;
int shared_block = 32 * VERSION;

struct EVERYBODYS SharedState {
#ifdef UNIQUE
  static inline int block = 32 * VERSION;
#endif
};

namespace {

class Shared final : public onebit::BlockCompressor {
 public:
  static onebit::Slice<const onebit_schema> options() { return {nullptr, 0}; }
  Shared(const onebit::Services&, const onebit::Options&) {}
  onebit::Codec describe() const override {
#ifdef UNIQUE
    return {sizeof(onebit::Codec), SharedState::block, 0, ONEBIT_SPAN_BLOCK, 0};
#else
    return {sizeof(onebit::Codec), shared_block, 0, ONEBIT_SPAN_BLOCK, 0};
#endif
  }
  size_t payload_size(int64_t count) const override { return static_cast<size_t>(count) * 4; }
  void measure_block(const float*, const float*, int64_t, double*) const override {}
  void encode_block(const float*, const float*, float*, int64_t, const double*, std::byte*) const override {}
  void decode_block(const std::byte*, int64_t, float, bool, float*) const override {}
};

}  // namespace

ONEBIT_PLUGIN("shared", "1.0.0", onebit::component<Shared>(VERSION == 1 ? "shared_one" : "shared_two"))
