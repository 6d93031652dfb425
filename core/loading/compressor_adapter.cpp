// SPDX-License-Identifier: Apache-2.0
// A compressor behind its table. What it describes is constant, so it is asked once, checked and kept.
#include <spdlog/fmt/fmt.h>

#include "loading/adapters.hpp"

namespace onebit {
namespace {

constexpr size_t largest_payload = 16 << 20;

class CompressorAdapter final : public Compressor {
 public:
  // Takes the object over.
  CompressorAdapter(Boundary boundary, const onebit_compressor_api& api, onebit_compressor* self)
      : boundary_(std::move(boundary)), api_(api), self_(self, {api.destroy}) {
    boundary_.configure([&](onebit_error* err) { return api_.describe(self, &codec_, err); });
    check_codec();
  }

  Codec describe() const override { return codec_; }
  size_t payload_size(int64_t count) const override {
    const size_t bytes = boundary_.contained([&] { return api_.payload_size(self(), count); });
    if (bytes == 0 || bytes > largest_payload || bytes % 4 != 0) [[unlikely]]
      boundary_.refuse(fmt::format("says that a block of {} elements takes {} bytes, expected a multiple of 4 from 4 to {}",
                                   count, bytes, largest_payload));
    return bytes;
  }
  void measure(const Batch& batch, const float* values, const float* errors, double* statistics) const override {
    boundary_.call([&](onebit_error* err) { return api_.measure(self(), &batch, values, errors, statistics, err); });
  }
  void fold(const Folding& folding, const double* blocks, double* spans) const override {
    if (api_.fold == nullptr) boundary_.refuse("it has no fold");
    boundary_.call([&](onebit_error* err) { return api_.fold(self(), &folding, blocks, spans, err); });
  }
  void encode(const Batch& batch, const float* values, const float* errors, float* new_errors, const double* statistics,
              void* payload) const override {
    boundary_.call(
        [&](onebit_error* err) { return api_.encode(self(), &batch, values, errors, new_errors, statistics, payload, err); });
  }
  void decode(const Batch& batch, const void* payload, float weight, bool add, float* out) const override {
    boundary_.call([&](onebit_error* err) { return api_.decode(self(), &batch, payload, weight, add, out, err); });
  }

 private:
  onebit_compressor* self() const { return self_.get(); }

  void check_codec() const {
    if (codec_.block < 32 || codec_.block > 65536 || codec_.block % 32 != 0)
      boundary_.refuse(fmt::format("describes blocks of {} elements, expected a multiple of 32, at most 65536", codec_.block));
    if (codec_.statistics < 0 || codec_.statistics > 8)
      boundary_.refuse(fmt::format("describes {} statistics a block, expected 0 to 8", codec_.statistics));
    if (codec_.span < ONEBIT_SPAN_BLOCK || codec_.span > ONEBIT_SPAN_BUCKET)
      boundary_.refuse(fmt::format("describes the unknown span {}", codec_.span), Code::unsupported);
    if (codec_.span != ONEBIT_SPAN_BLOCK && api_.fold == nullptr)
      boundary_.refuse("describes a span wider than a block but has no fold");
  }

  Boundary boundary_;
  const onebit_compressor_api& api_;
  Owned<onebit_compressor> self_;
  onebit_codec codec_ = {sizeof(onebit_codec), 0, 0, ONEBIT_SPAN_BLOCK, 1};
};

}  // namespace

std::unique_ptr<Compressor> adapt_compressor(Boundary boundary, const onebit_compressor_api& api, const onebit_host* host,
                                             const onebit_config* config) {
  onebit_compressor* made = nullptr;
  boundary.configure([&](onebit_error* err) { return api.create(host, config, &made, err); }, true);
  if (made == nullptr) boundary.refuse("create answered OK but gave no object");
  return std::make_unique<CompressorAdapter>(std::move(boundary), api, made);
}

}  // namespace onebit
