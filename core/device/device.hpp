// SPDX-License-Identifier: Apache-2.0
// Device: all that the core itself does where a session's tensors are in another memory than the CPU's; what plugins do there
// is their own. CUDA's is a library of its own (core/cuda), found as plugins are, so that a machine without CUDA loads all the
// rest.
//
// A device belongs to one session and has one stream. Every call but settle returns at once and takes effect in the order of
// that stream; where a skip flag is given and set by then, it writes nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "device/verdict.hpp"
#include "dtypes/wire_type.hpp"
#include "onebit/abi.h"
#include "onebit/bfloat16.hpp"
#include "onebit/compressor.hpp"

namespace onebit {

// A bit a tensor, in memory of the device.
struct Words {
  const uint64_t* bits = nullptr;
  int64_t count = 0;
};
// Pieces [first, first + count) of an array, and all blocks, flagged; NULL: none is absent.
struct MarkedPieces {
  const onebit_piece* pieces;
  int64_t first, count;
  const onebit_block* blocks;
};

// Its block's number in the model: a piece's key tells it.
ONEBIT_HOST_DEVICE int64_t block_of(const onebit_piece& piece) { return static_cast<int64_t>(piece.key / 2); }

class Device {
 public:
  virtual ~Device() = default;
  virtual onebit_device where() const = 0;
  // Of every call of a plugin on this device's memory.
  virtual const onebit_stream* stream() const = 0;
  // The most that a tile should have, so that messages stay in cache between two plugins.
  virtual int64_t tile_elements() const = 0;

  // Memory of the device: zeroed, aligned to 256 bytes. Throws Error(out_of_memory).
  virtual void* allocate(size_t bytes) = 0;
  virtual void release(void* memory, size_t bytes) noexcept = 0;
  virtual void zero(void* memory, size_t bytes) = 0;
  virtual void copy(void* to, const void* from, size_t bytes) = 0;
  // Memory of the host that the device copies to and from without another copy. Stays as it is until settle.
  virtual void* allocate_staging(size_t bytes) = 0;
  virtual void release_staging(void* memory) noexcept = 0;
  virtual void upload(void* to, const void* staging, size_t bytes) = 0;
  virtual void download(void* staging, const void* from, size_t bytes) = 0;
  // From any memory of the host, and to it: they wait.
  virtual void write(void* to, const void* from, size_t bytes) = 0;
  virtual void read(void* to, const void* from, size_t bytes) = 0;
  // Waits until all that the stream was given is done. Throws Error(device_error) where that failed.
  virtual void settle() = 0;

  // The same without a word of what failed: the session ends.
  virtual void abandon() noexcept = 0;

  // The embedder's stream, NULL: the legacy default stream. What comes next waits for what it has been given so far; and what
  // it is given from now on waits for this stream.
  virtual void follow(void* embedder) = 0;
  virtual void lead(void* embedder) = 0;

  // Places in the embedder's streams. record notes where one is, from any thread; after await, what comes next waits for it.
  virtual void allocate_events(size_t count) = 0;
  virtual void record(size_t event, void* embedder) = 0;
  virtual void await(size_t event) = 0;

  // Rounds.
  // vanished: of this memory; counts the elements that were not zero and are zero as they travel. NULL: nobody wants to know.
  virtual std::unique_ptr<Compressor> dense_codec(WireType type, uint64_t* vanished) const = 0;
  // message = gradient * scale, for a tile of the gradient itself.
  virtual void scale_gradients(const onebit_tile& tile, float* message) const = 0;
  virtual void divide(float* values, int64_t count, float by, const int32_t* skip) const = 0;
  // Each of these blocks gets the statistics of its span: `width` doubles.
  virtual void spread(const double* spans, const int32_t* span_of_block, int64_t blocks, int64_t width, double* statistics,
                      const int32_t* skip) const = 0;
  // The parameters of the blocks change places with an element state.
  virtual void swap(const onebit_block* blocks, int64_t count, float* elements) const = 0;

  // The opening of a step: begin_scan, scan until all blocks have been looked at, and finish_scan, which makes own of what was
  // said and of what the gradients tell, and puts these words behind it. `scratch` has scan_scratch(count) bytes.
  virtual size_t scan_scratch(int64_t blocks) const = 0;
  virtual void begin_scan(void* scratch) const = 0;
  virtual void scan(const onebit_block* blocks, int64_t first, int64_t count, bool want_squares, void* scratch) const = 0;
  virtual void finish_scan(const onebit_block* blocks, int64_t count, bool want_squares, const Ballot& said, Words bits,
                           Ballot* own, void* scratch) const = 0;
  // Of a step that begins before the verdict. Where the scan has found so far what can't be used once scaled, values become
  // zeros; and where the verdict is to skip, a number is what it was.
  virtual void silence(const void* scratch, const float* gradient_scale, float* values, int64_t count) const = 0;
  virtual void restore(const int32_t* skip, const uint64_t* before, uint64_t* number) const = 0;
  virtual void judge(const Ballots& ballots, const Terms& terms, Verdict* verdict) const = 0;

  // Tensors that no ballot has a bit for: ONEBIT_TENSOR_ABSENT is set or cleared in flags, by tensor, and in blocks; and
  // `present` becomes the same blocks, but absent ones without elements.
  virtual void mark_absent(const Ballots& ballots, int64_t tensors, uint64_t* flags, onebit_block* blocks, int64_t count,
                           onebit_block* present) const = 0;
  // Parameters of 16 bits, and their fp32 masters: rounded to nearest even; and each master that does not round to its half
  // becomes the half's value.
  virtual void round_masters(WireType type, const float* masters, uint16_t* halves, int64_t count,
                             const int32_t* skip) const = 0;
  virtual void take_halves(WireType type, const uint16_t* halves, float* masters, int64_t count) const = 0;

  virtual void widen(const Bf16* from, float* to, int64_t count, const int32_t* skip) const = 0;
  // What becomes of absent pieces, by the flags of their blocks: errors are taken over, in what they are kept as, except
  // theirs, which are put back where others had been taken over; the payload only theirs
  // (served: all pieces of a buffer of `bytes`, in order; of these [first, first + count)); their statistics are zeroed.
  virtual void take_errors(WireType type, const MarkedPieces& pieces, const float* from, void* to,
                           const int32_t* skip) const = 0;
  virtual void put_back_errors(WireType type, const MarkedPieces& pieces, const void* before, void* errors,
                               const int32_t* skip) const = 0;
  virtual void keep_payload(const MarkedPieces& pieces, int64_t total, int64_t bytes, const std::byte* from, std::byte* to,
                            const int32_t* skip) const = 0;
  virtual void clear_statistics(const MarkedPieces& pieces, int64_t width, double* statistics, const int32_t* skip) const = 0;
};

// What a library with a device offers under Kind::device: it and the core must be of one build.
inline constexpr int64_t device_kind = 65536;
struct DeviceMaker {
  uint64_t struct_size = sizeof(DeviceMaker);
  const char* core_version;
  std::unique_ptr<Device> (*make)(int32_t ordinal);  // of the devices of this machine; throws
};

}  // namespace onebit
