// SPDX-License-Identifier: Apache-2.0
// The options of the tables [session] and [exchange].
#include "onebit/session.hpp"

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
      text_option("device", "\"cpu\"", "cpu|cuda", "where tensors live; selects the components built for it"),
      integer_option("threads", "1", 1, 256, "worker threads of a rank, its own included; any number gives the same bits"),
      real_option("clip_norm", "0", 0, 1e30,
                  "gradients are scaled so that sqrt(mean over ranks of their squared norms) is at most this; 0: no clipping"),
      integer_option("verify_every", "0", 0, 1e9,
                     "every so many steps all ranks compare a hash of each parameter tensor and stop if one differs; 0: never"),
      text_option("trace", "\"\"", "",
                  "a file for each rank that tells where the time of its last steps went, to look at in chrome://tracing or "
                  "ui.perfetto.dev: \"trace.json\" writes trace.rank0.json and so on, when the session ends; \"\": none"),
  };
  return pointers(schemas);
}

std::vector<const onebit_schema*> exchange_schema() {
  static const onebit_schema schemas[] = {
      integer_option("bucket_bytes", "25000000", 4096, 4e9,
                     "bytes of fp32 that one collective carries, before compression; buckets are pipelined"),
      integer_option("dense_below", "0", 0, 1e18,
                     "tensors with fewer elements than this travel as fp32 in compressed rounds, too"),
      text_option("topology", "\"flat\"", "flat|hierarchical",
                  "hierarchical: the ranks of a machine first take their mean, dense and in fp32, and share the sending of it; "
                  "wants equally many ranks on every machine"),
      text_option(
          "dense_dtype", "\"fp32\"", "fp32|fp16|bf16",
          "what gradients travel as in dense rounds; sums are taken in fp32. With fp16 a gradient above 65504, scaled as "
          "it will be sent, makes all ranks skip the step"),
  };
  return pointers(schemas);
}

}  // namespace onebit
