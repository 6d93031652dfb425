// SPDX-License-Identifier: Apache-2.0
// Whole steps of a session: the local work of one rank against one thread's triad, and the compressed mean of two ranks as
// threads against two threads' triad.
#include <algorithm>
#include <memory>
#include <vector>

#include "clock.hpp"
#include "components.hpp"
#include "onebit/configuration.hpp"
#include "onebit/session.hpp"
#include "row.hpp"

namespace onebit::bench {
namespace {

constexpr int64_t model = 64 * mega;

// One rank of two, the other its mirror image, past the freeze. early: steps begin before their gradients are there, which here
// all come at once; errors then have two buffers, and gradients are read once.
class LocalWork {
 public:
  LocalWork(const std::string& optimizer, bool early)
      : early_(early),
        manifest_(Manifest::parse(optimizer + "[compressor]\nplugin = \"onebit\"\n[communicator]\nplugin = \"mirror\"\n",
                                  "bench", ".")),
        parameters_(meter_, model * sizeof(float)),
        gradients_(meter_, model * sizeof(float)) {
    for (int64_t i = 0; i < model; ++i)
      gradients_.as<float>()[i] = static_cast<float>((i * 2654435761U >> 8U) % 2000U) / 1000.0F - 0.9995F;  // never 0
    std::vector<Parameter> parameters = {{"model", {model}, parameters_.as<float>()}};
    session_ = std::make_unique<Session>(registry(), Configuration(registry(), manifest_), nowhere_, std::move(parameters));
    for (int step = 0; step < 4; ++step) take_step();
  }
  // Seconds of a step in the worker's role: scan, produce and encode, decode and consume. What the mirror takes is not in it.
  double work() { return step(&Timings::scan, &Timings::send, &Timings::receive); }
  double serve() { return step(&Timings::serve); }

 private:
  template <class... Part>
  double step(Part... part) {
    const Timings before = session_->timings();
    take_step();
    const Timings after = session_->timings();
    return ((after.*part - before.*part) + ...);
  }

  void take_step() {
    if (!early_) return static_cast<void>(session_->step({gradients_.as<float>()}));
    session_->begin();
    session_->ready(0, gradients_.as<float>());
    session_->step();
  }

  const bool early_;
  onebit_rendezvous nowhere_ = {sizeof(onebit_rendezvous), 0, 2, 0, 2, nullptr, nullptr, nullptr};
  Manifest manifest_;
  MemoryMeter meter_;
  Buffer parameters_, gradients_;
  std::unique_ptr<Session> session_;
};

Maker local(const std::string& optimizer, double (LocalWork::*part)(), bool early = false) {
  return [=]() -> Work {
    auto work = std::make_shared<LocalWork>(optimizer, early);
    return [=] { return ((*work).*part)(); };
  };
}

// With errors and reciprocal in fp32 or bf16.
std::string onebit_adam(const std::string& dtype) {
  return "[optimizer]\nplugin = \"onebit_adam\"\nfreeze_step = 1\nrefresh = 0\nreciprocal_dtype = \"" + dtype +
         "\"\n[exchange]\nerror_dtype = \"" + dtype + "\"\n";
}

// One rank of two with many small tensors: what a step compares and counts of them.
class Checks {
 public:
  static constexpr int64_t tensors = 400, elements = 16, steps = 1000;

  Checks()
      : manifest_(Manifest::parse("[optimizer]\nplugin = \"adam\"\n[communicator]\nplugin = \"mirror\"\n", "bench", ".")),
        memory_(meter_, 2 * tensors * elements * sizeof(float)) {
    std::vector<Parameter> parameters;
    for (int64_t t = 0; t < tensors; ++t) {
      parameters.push_back(
          {"layer" + std::to_string(t) + ".attention.weight", {1, elements}, memory_.as<float>() + t * elements});
      gradients_.push_back({memory_.as<float>() + (tensors + t) * elements, parameters.back()});
    }
    session_ = std::make_unique<Session>(registry(), Configuration(registry(), manifest_), nowhere_, std::move(parameters));
  }
  double seconds() {
    const double before = session_->timings().checks;
    for (int64_t step = 0; step < steps; ++step) session_->step(gradients_);
    return session_->timings().checks - before;
  }

 private:
  onebit_rendezvous nowhere_ = {sizeof(onebit_rendezvous), 0, 2, 0, 2, nullptr, nullptr, nullptr};
  Manifest manifest_;
  MemoryMeter meter_;
  Buffer memory_;
  ModelGradients gradients_{{}};
  std::unique_ptr<Session> session_;
};

}  // namespace

void add_session_rows() {
  const Maker nothing = []() -> Work { return [] { return 0.0; }; };
  const Maker checks = []() -> Work {
    auto session = std::make_shared<Checks>();
    return [session] { return session->seconds(); };
  };
  add_overhead("session.step's checks, 400 tensors", 20'000, Checks::steps, nothing, checks,
               "names, shapes and places of tensors, which have a gradient; an agreement is 40 bytes a rank and 56 of bits");
  add_row({"1-bit Adam, compressed step", model, 28.4,
           "scan 4, gradient 4, reciprocal 4, worker error 4+4, parameter 4+4, bits 0.4", 1, 0.8},
          local(onebit_adam("fp32"), &LocalWork::work));
  add_row({"  errors and reciprocal in bf16", model, 22.4,
           "scan 4, gradient 4, reciprocal 2, worker error 2+2, parameter 4+4, bits 0.4", 1, 0},
          local(onebit_adam("bf16"), &LocalWork::work));
  add_row({"  and begun early", model, 18.4, "gradient 4, reciprocal 2, worker error 2+2, parameter 4+4, bits 0.4", 1, 0},
          local(onebit_adam("bf16"), &LocalWork::work, true));
  add_row({"  its server's part", model, 4.3, "half the elements: server error 4+4, bits", 1, 0},
          local(onebit_adam("fp32"), &LocalWork::serve));
}

}  // namespace onebit::bench
