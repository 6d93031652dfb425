// SPDX-License-Identifier: Apache-2.0
// The options of the tables [session] and [exchange].
#include "onebit/configuration.hpp"

namespace onebit {
namespace {

template <size_t n>
std::vector<const onebit_schema*> pointers(const onebit_schema (&schemas)[n]) {
  std::vector<const onebit_schema*> result;
  for (const onebit_schema& schema : schemas) result.push_back(&schema);
  return result;
}

}  // namespace

std::vector<const onebit_schema*> session_schema() {
  static const onebit_schema schemas[] = {
      text_option("device", "\"cpu\"", "cpu|cuda", "device on which tensors are kept and plugins run: cpu, or cuda for GPUs"),
      integer_option("threads", "1", 1, 256,
                     "threads of each rank that compute, its own included; results are bit-identical for any number"),
      boolean_option("overlap", "true",
                     "whether a step that is begun with begin() exchanges gradients while others are still being computed"),
      real_option(
          "clip_norm", "0", 0, 1e30,
          "gradient clipping: gradients are scaled down so that sqrt(mean over ranks of squared gradient norms) is at most "
          "this; 0: no clipping"),
      integer_option(
          "verify_every", "0", 0, 1e9,
          "interval, in steps, at which all ranks compare a hash of each parameter tensor and stop if one differs; 0: never"),
      integer_option(
          "max_skipped", "20", 0, 1e9,
          "skipped steps in a row, because a gradient can't be used, that end all ranks with an error, which names the "
          "rank, the tensor and the first of these steps; 0: no limit"),
      text_option(
          "trace", "\"\"", "",
          "file for a timeline of each rank's last steps, to open in chrome://tracing or ui.perfetto.dev; \"trace.json\" "
          "writes trace.rank0.json, trace.rank1.json and so on when the session ends; \"\": none"),
  };
  return pointers(schemas);
}

std::vector<const onebit_schema*> exchange_schema() {
  static const onebit_schema schemas[] = {
      integer_option(
          "bucket_bytes", "25000000", 4096, 4e9,
          "size of a bucket, which one collective sends, in bytes of fp32 before compression; buckets are pipelined"),
      integer_option("dense_below", "0", 0, 1e18,
                     "tensors with fewer elements than this are sent as fp32 in compressed rounds, too"),
      text_option(
          "topology", "\"flat\"", "flat|hierarchical",
          "flat: all ranks exchange with all others; hierarchical: the ranks of each machine first average among themselves, "
          "dense and in fp32, and only these means are exchanged between machines, for which every machine needs the "
          "same number of ranks"),
      integer_option("ahead_bytes", "-1", -1, 1e18,
                     "most bytes of dense means that wait for the last gradients of a step that is begun with begin(); buckets "
                     "beyond it are sent when all gradients are there; -1: a quarter of what a dense round sends, and at "
                     "least one bucket"),
      text_option("dense_dtype", "\"fp32\"", "fp32|fp16|bf16",
                  "data type in which gradients are sent in dense rounds; they are summed in fp32. With fp16, each block has a "
                  "power of two of its own, so that only what is below 2^-39 of the block's largest becomes zero"),
      text_option("error_dtype", "\"fp32\"", "fp32|bf16",
                  "data type in which the errors of compressed rounds are kept; bf16 takes half the memory and is rounded to "
                  "nearest"),
  };
  return pointers(schemas);
}

}  // namespace onebit
