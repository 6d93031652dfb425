// SPDX-License-Identifier: Apache-2.0
// Communicator `mirror` for CUDA memory, for benchmarks: two ranks, of which the other is a mirror image of this one. What it
// sends arrives from the other, too, by copies on the call's stream.
//
// With marks = true it also tells how a step's time divides: events go into the stream around its own copies, and around what
// the host does between the arrival of the own chunk and the sending of its mean, which is the server's part. The next barrier
// reports the sums, as the gauges mirror.copy_seconds and mirror.serve_seconds, and forgets them.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <vector>

#include "onebit/plugin.hpp"
#include "stopwatch.hpp"

namespace {

using namespace onebit;

// Pairs of events, which are kept from step to step.
class Spans {
 public:
  void begin(cudaStream_t stream) {
    if (used_ == pairs_.size()) pairs_.emplace_back();
    pairs_[used_].begin.record(stream);
  }
  void end(cudaStream_t stream) { pairs_[used_++].end.record(stream); }
  double take() {
    double seconds = 0;
    for (; used_ > 0; --used_) seconds += pairs_[used_ - 1].end.seconds_since(pairs_[used_ - 1].begin);
    return seconds;
  }

 private:
  struct Pair {
    gpu_bench::Event begin, end;
  };
  std::vector<Pair> pairs_;
  size_t used_ = 0;
};

class Mirror final : public Communicator {
 public:
  Mirror(const Services& services, const Options& options, const Rendezvous&)
      : services_(services),
        marks_(options.boolean("marks")),
        copied_(services.metric(ONEBIT_METRIC_GAUGE, "mirror.copy_seconds")),
        served_(services.metric(ONEBIT_METRIC_GAUGE, "mirror.serve_seconds")) {}
  static Slice<const onebit_schema> options() {
    static const onebit_schema schema[] = {boolean_option("marks", "false", "tell how the time of a step divides")};
    return {schema, 1};
  }
  static void probe() { cuda::probe(); }

  int rank() const override { return 0; }
  int size() const override { return 2; }
  Request* all_reduce(const Tensor&, Tensor&, ReduceOp, const Call&) override {
    throw Error(Code::unsupported, "mirror has no all-reduce");
  }
  Request* all_gather(const void* in, void* out, const Part* parts, const Call& call) override {
    const cudaStream_t stream = cuda::stream_of(call.stream);
    if (serving_) served_spans_.end(stream);
    serving_ = false;
    auto* to = static_cast<std::byte*>(out);
    if (marks_) copy_spans_.begin(stream);
    copy(to + parts[0].offset, in, parts[0].bytes, stream);
    copy(to + parts[1].offset, in, std::min(parts[0].bytes, parts[1].bytes), stream);
    if (marks_) copy_spans_.end(stream);
    return &gathered_;
  }
  Request* all_to_all(const void* in, const Part* in_parts, void* out, const Part* out_parts, const Call& call) override {
    const cudaStream_t stream = exchanged_.stream = cuda::stream_of(call.stream);
    const auto* own = static_cast<const std::byte*>(in) + in_parts[0].offset;
    if (marks_) copy_spans_.begin(stream);
    for (int from = 0; from < 2; ++from)
      copy(static_cast<std::byte*>(out) + out_parts[from].offset, own, in_parts[0].bytes, stream);
    if (marks_) copy_spans_.end(stream);
    return &exchanged_;
  }
  Request* broadcast(Tensor&, int, const Call&) override { return &gathered_; }
  void barrier(const Call&) override {
    services_.record(copied_, copy_spans_.take());
    services_.record(served_, served_spans_.take());
  }
  bool test(Request*) override { return true; }
  void wait(Request* request, int64_t) override {
    if (request != &exchanged_ || !marks_) return;
    served_spans_.begin(exchanged_.stream);
    serving_ = true;
  }
  std::unique_ptr<Communicator> split(int, int) override { throw Error(Code::unsupported, "mirror does not split"); }
  void abort(std::string_view) override {}

 private:
  struct Moved final : Request {
    cudaStream_t stream = nullptr;
  };

  static void copy(void* to, const void* from, int64_t bytes, cudaStream_t stream) {
    if (to == from || bytes == 0) return;
    cuda::check(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDeviceToDevice, stream), "cudaMemcpyAsync");
  }

  const Services services_;
  const bool marks_;
  const int32_t copied_, served_;
  Spans copy_spans_, served_spans_;
  bool serving_ = false;
  Moved exchanged_, gathered_;
};

}  // namespace

ONEBIT_PLUGIN("mirror", "1.0.0", onebit::component<Mirror>("mirror"))
