// SPDX-License-Identifier: Apache-2.0
// Compressor `onebit` for CUDA memory, in a library of its own, so that a machine without CUDA loads all the rest.
#include "onebit/plugin.hpp"

#include "../settings.hpp"
#include "kernels.hpp"
#include "onebit/cuda.hpp"

namespace onebit {
namespace {

class CudaOneBit final : public Compressor {
 public:
  static Slice<const onebit_schema> options() { return codec::Settings::options(); }
  CudaOneBit(const Services&, const Options& options) : settings_(options) {}

  Codec describe() const override { return settings_.describe(); }
  size_t payload_size(int64_t count) const override { return codec::payload_size(count); }

  void measure(const Batch& batch, const float* values, const float* errors, double* statistics) const override {
    codec::measure(order(batch), pieces(batch), settings_.norm, values, errors, statistics);
  }
  void fold(const Folding& folding, const double* blocks, double* spans) const override {
    codec::fold(order(folding), on_device(folding.device_spans, folding.span_count), folding.span_count, blocks, spans);
  }
  void encode(const Batch& batch, const float* values, const float* errors, float* new_errors, const double* statistics,
              void* payload) const override {
    codec::encode(order(batch), pieces(batch), settings_.norm, values, errors, new_errors, statistics, payload);
  }
  void decode(const Batch& batch, const void* payload, float weight, bool add, float* out) const override {
    codec::decode(order(batch), pieces(batch), payload, weight, add, out);
  }

 private:
  template <class Call>
  static codec::Order order(const Call& call) {
    return {call.skip, cuda::stream_of(call.stream)};
  }
  static codec::Pieces pieces(const Batch& batch) {
    return {on_device(batch.device_pieces, batch.piece_count), batch.piece_count};
  }
  template <class T>
  static const T* on_device(const T* array, size_t count) {
    if (array == nullptr && count > 0)
      throw Error(Code::invalid_argument, "a call on device memory comes without its blocks in device memory");
    return array;
  }

  const codec::Settings settings_;
};

}  // namespace
}  // namespace onebit

ONEBIT_PLUGIN("onebit_cuda", "1.0.0", onebit::component<onebit::CudaOneBit>("onebit"))
