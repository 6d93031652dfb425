// SPDX-License-Identifier: Apache-2.0
// Whole steps of a session: all that one rank of two does in a step, the other being its mirror image, and no network.
#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "bench.hpp"
#include "components.hpp"
#include "kernels.hpp"
#include "onebit/session.hpp"

namespace onebit::gpu_bench {
namespace {

struct Run {
  const char *optimizer, *options;
  int64_t bucket_bytes;
  int64_t tensors = 1;
  bool marks = false;  // told apart, and not only as a whole
};

double gauge(const std::string& name) {
  for (const MetricSnapshot& metric : registry().metrics().snapshot())
    if (metric.name == name) return metric.value;
  throw Error(Code::internal, "no metric " + name);
}

class LocalWork {
 public:
  LocalWork(Bench& bench, int64_t elements, const Run& run)
      : stream_(bench.stream()),
        parameters_(bench.meter(), static_cast<size_t>(elements) * sizeof(float)),
        gradients_(bench.meter(), static_cast<size_t>(elements) * sizeof(float)) {
    fill(parameters_.as<float>(), elements, 6, stream_);
    fill(gradients_.as<float>(), elements, 7, stream_);
    bench.device().settle();
    session_ = std::make_unique<Session>(
        registry(),
        configuration_of(run.optimizer, run.options, exchange_of(run.bucket_bytes), run.marks ? "marks = true\n" : ""),
        nowhere(), tensors(elements, run.tensors));
    for (int step = 0; step < 3; ++step) (void)whole();
  }

  double whole() {
    const double seconds = stopwatch_.seconds(stream_, [&] { session_->step(pointers_, stream_); });
    if (session_->settle().skipped) throw Error(Code::internal, "a step was skipped");
    return seconds;
  }
  // Without the server's part and what the mirror takes to copy.
  double worker() {
    const double all = whole();
    return all - served() - gauge("mirror.copy_seconds");
  }
  double server() {
    (void)whole();
    return served();
  }
  // What the host takes to hand a step to the device; more than the device takes for it, and it is the host that limits.
  double host() {
    const auto begin = std::chrono::steady_clock::now();
    session_->step(pointers_, stream_);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    session_->settle();
    return seconds;
  }

 private:
  double served() {
    session_->communicator().barrier(Call());
    return gauge("mirror.serve_seconds");
  }

  std::vector<Parameter> tensors(int64_t elements, int64_t count) {
    std::vector<Parameter> parameters;
    const int64_t each = std::max<int64_t>(elements / count / 64 * 64, 1);
    for (int64_t t = 0, first = 0; t < count && first < elements; ++t) {
      const int64_t size = t + 1 == count ? elements - first : std::min(each, elements - first);
      parameters.push_back({"t" + std::to_string(t), {size}, parameters_.as<float>() + first});
      pointers_.push_back(gradients_.as<float>() + first);
      first += size;
    }
    return parameters;
  }

  cudaStream_t stream_;  // the embedder's
  Buffer parameters_, gradients_;
  std::vector<const float*> pointers_;
  std::unique_ptr<Session> session_;
  Stopwatch stopwatch_;
};

using Part = double (LocalWork::*)();

Maker local(Bench& bench, const Run& run, Part part) {
  return [&bench, run, part](int64_t elements) -> Work {
    auto work = std::make_shared<LocalWork>(bench, elements, run);
    return [work, part] { return ((*work).*part)(); };
  };
}

}  // namespace

void add_session_rows(Bench& bench) {
  const double bits = payload_per_element();
  // Bits: written, read as the mean, and read again as the next step's previous one. The server's: read from both ranks and
  // written, for half of the elements. The mirror's: two copies of half of them there, and one back, each read and written.
  const double worker = 28 + 3 * bits, server = 4 + 1.5 * bits, mirror = 3 * bits;
  const int64_t usual = bench.settings().bucket_bytes, large = 4 * usual;
  const Run onebit = {"onebit_adam", "freeze_step = 1\nrefresh = 0\n", usual}, adam = {"adam", "", usual};
  const Run marked = {"onebit_adam", "freeze_step = 1\nrefresh = 0\n", usual, 1, true};
  const Run of_many = {"onebit_adam", "freeze_step = 1\nrefresh = 0\n", usual, 400, true};
  const Run in_large = {"onebit_adam", "freeze_step = 1\nrefresh = 0\n", large, 1, true};
  const Run marked_adam = {"adam", "", usual, 1, true};
  const char* const terms = "scan 4, gradient 4, reciprocal 4, worker error 4+4, parameter 4+4, bits";
  const auto add = [&](const char* what, double bytes, const char* of, double goal, const Run& run, Part part) {
    bench.add({what, bytes, of, goal, 24}, local(bench, run, part));
  };
  add("1-bit Adam, a compressed step", worker, terms, 0.8, marked, &LocalWork::worker);
  add("  of 400 tensors", worker, "the same", 0.8, of_many, &LocalWork::worker);
  add("  in buckets four times as large", worker, "the same", 0, in_large, &LocalWork::worker);
  add("  its server's part", server, "half the elements: server error 4+4, bits", 0, marked, &LocalWork::server);
  add("  all of a compressed step", worker + server + mirror, "both, and the mirror's copies of bits", 0, onebit,
      &LocalWork::whole);
  add("  the host's launches of all that", worker + server + mirror, "none: above 1, and the host is not the limit", 0, onebit,
      &LocalWork::host);
  add("Adam, a dense step", 40, "scan 4, gradient 4, payload 4+4, momentum 4+4, variance 4+4, parameter 4+4", 0, marked_adam,
      &LocalWork::worker);
  add("  all of a dense step", 58, "that, and: half the payload of two ranks 4, its mean 2, the mirror's copies 12", 0, adam,
      &LocalWork::whole);
}

}  // namespace onebit::gpu_bench
