// SPDX-License-Identifier: Apache-2.0
// CUDA as the device of a session: one stream of its own, memory, and the kernels of kernels.cu.
#pragma once

#include <cuda_runtime.h>

#include <vector>

#include "device/device.hpp"

namespace onebit {

class CudaDevice final : public Device {
 public:
  // ordinal: counted on; ranks beyond the machine's devices share them, in turn.
  explicit CudaDevice(int32_t ordinal);
  ~CudaDevice() override;
  CudaDevice(const CudaDevice&) = delete;
  CudaDevice& operator=(const CudaDevice&) = delete;

  onebit_device where() const override { return stream_table_.device; }
  const onebit_stream* stream() const override { return &stream_table_; }
  int64_t tile_elements() const override { return tile_elements_; }

  void* allocate(size_t bytes) override;
  void release(void* memory, size_t bytes) noexcept override;
  void zero(void* memory, size_t bytes) override;
  void copy(void* to, const void* from, size_t bytes) override;
  void* allocate_staging(size_t bytes) override;
  void release_staging(void* memory) noexcept override;
  void upload(void* to, const void* staging, size_t bytes) override;
  void download(void* staging, const void* from, size_t bytes) override;
  void write(void* to, const void* from, size_t bytes) override;
  void read(void* to, const void* from, size_t bytes) override;
  void settle() override;
  void abandon() noexcept override;
  void follow(void* embedder) override;
  void lead(void* embedder) override;
  void allocate_events(size_t count) override;
  void record(size_t event, void* embedder) override;
  void await(size_t event) override;

  std::unique_ptr<Compressor> dense_codec(WireType type, uint64_t* vanished) const override;
  void scale_gradients(const onebit_tile& tile, float* message) const override;
  void divide(float* values, int64_t count, float by, const int32_t* skip) const override;
  void spread(const double* spans, const int32_t* span_of_block, int64_t blocks, int64_t width, double* statistics,
              const int32_t* skip) const override;
  void swap(const onebit_block* blocks, int64_t count, float* elements) const override;
  size_t scan_scratch(int64_t blocks) const override;
  void begin_scan(void* scratch) const override;
  void scan(const onebit_block* blocks, int64_t first, int64_t count, bool want_squares, void* scratch) const override;
  void finish_scan(const onebit_block* blocks, int64_t count, bool want_squares, const Ballot& said, Words bits, Ballot* own,
                   void* scratch) const override;
  void silence(const void* scratch, const float* gradient_scale, float* values, int64_t count) const override;
  void restore(const int32_t* skip, const uint64_t* before, uint64_t* number) const override;
  void judge(const Ballots& ballots, const Terms& terms, Verdict* verdict) const override;
  void mark_absent(const Ballots& ballots, int64_t tensors, uint64_t* flags, onebit_block* blocks, int64_t count,
                   onebit_block* present) const override;
  void round_masters(WireType type, const float* masters, uint16_t* halves, int64_t count, const int32_t* skip) const override;
  void take_halves(WireType type, const uint16_t* halves, float* masters, int64_t count) const override;
  void widen(const Bf16* from, float* to, int64_t count, const int32_t* skip) const override;
  void take_errors(WireType type, const MarkedPieces& pieces, const float* from, void* to, const int32_t* skip) const override;
  void put_back_errors(WireType type, const MarkedPieces& pieces, const void* before, void* errors,
                       const int32_t* skip) const override;
  void keep_payload(const MarkedPieces& pieces, int64_t total, int64_t bytes, const std::byte* from, std::byte* to,
                    const int32_t* skip) const override;
  void clear_statistics(const MarkedPieces& pieces, int64_t width, double* statistics, const int32_t* skip) const override;

 private:
  // Every call comes from a thread whose device may be another.
  void use() const;

  int ordinal_ = 0;
  int64_t tile_elements_ = 0;
  cudaStream_t stream_ = nullptr;
  cudaEvent_t event_ = nullptr;
  std::vector<cudaEvent_t> events_;
  onebit_stream stream_table_{};
};

}  // namespace onebit
