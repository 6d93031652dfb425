// SPDX-License-Identifier: Apache-2.0
#include "saving_run.hpp"

#include <exception>
#include <stdexcept>

#include "clock.hpp"
#include "components.hpp"

namespace onebit::bench {
namespace {

const char* const toml =
    "[optimizer]\nplugin = \"onebit_adam\"\nfreeze_step = 1\n[compressor]\nplugin = \"onebit\"\n[communicator]\nplugin = "
    "\"threads\"\n";

// The network `mlp` of `onebit train`.
std::vector<Parameter> layers_of(bool small) {
  const int64_t inputs = 784, first = small ? 64 : 4096, second = small ? 80 : 5200, classes = 10;
  return {{"fc1.weight", {first, inputs}},   {"fc1.bias", {first}},  {"fc2.weight", {second, first}}, {"fc2.bias", {second}},
          {"fc3.weight", {classes, second}}, {"fc3.bias", {classes}}};
}

int64_t elements_of(const Parameter& parameter) {
  int64_t elements = 1;
  for (const int64_t extent : parameter.shape) elements *= extent;
  return elements;
}
int64_t elements_of(const std::vector<Parameter>& parameters) {
  int64_t elements = 0;
  for (const Parameter& parameter : parameters) elements += elements_of(parameter);
  return elements;
}

Buffer noisy(MemoryMeter& meter, int64_t elements) {
  Buffer buffer(meter, static_cast<size_t>(elements) * sizeof(float));
  for (int64_t i = 0; i < elements; ++i)
    buffer.as<float>()[i] = static_cast<float>((i * 2654435761U >> 8U) % 2000U) / 1000.0F - 0.9995F;  // never 0
  return buffer;
}

void require(bool holds, const char* what) {
  if (!holds) throw std::runtime_error(what);
}

}  // namespace

SavingRun::SavingRun(bool small)
    : layers_(layers_of(small)),
      elements_(elements_of(layers_)),
      manifest_(Manifest::parse(toml, "bench", ".")),
      gradients_(noisy(meter_, elements_)),
      sessions_(ranks) {
  int64_t first = 0;
  for (const Parameter& layer : layers_) {
    gradient_pointers_.push_back(gradients_.as<float>() + first);
    first += elements_of(layer);
  }
  for (int rank = 0; rank < ranks; ++rank) parameters_.push_back(noisy(meter_, elements_));
  restart();
  for (int steps = 0; steps < 3; ++steps) step();  // one is dense; after it there are errors, and a mean that is kept
}

std::vector<Parameter> SavingRun::parameters(int rank) const {
  std::vector<Parameter> placed = layers_;
  float* data = parameters_[static_cast<size_t>(rank)].as<float>();
  for (Parameter& parameter : placed) {
    parameter.data = data;
    data += elements_of(parameter);
  }
  return placed;
}

double SavingRun::on_ranks(const std::function<void(int rank)>& work) {
  std::vector<std::exception_ptr> failures(ranks);
  const double seconds = seconds_on(ranks, [&](int rank) {
    try {
      work(rank);
    } catch (...) {
      failures[static_cast<size_t>(rank)] = std::current_exception();
    }
  });
  for (const std::exception_ptr& failure : failures)
    if (failure) std::rethrow_exception(failure);
  return seconds;
}

void SavingRun::restart() {
  for (std::unique_ptr<Session>& session : sessions_) session.reset();  // their parameters may be in no other session
  rendezvous_ = std::make_unique<LocalRendezvous>(ranks);
  on_ranks([&](int rank) {
    sessions_[static_cast<size_t>(rank)] =
        std::make_unique<Session>(registry(), Configuration(registry(), manifest_), rendezvous_->at(rank), parameters(rank));
  });
}

void SavingRun::step() {
  on_ranks([&](int rank) { session(rank).step(gradient_pointers_); });
}

double SavingRun::save(const std::filesystem::path& root) {
  return on_ranks([&](int rank) { require(session(rank).save(root).committed, "the checkpoint was not committed"); });
}

double SavingRun::save_without_waiting(const std::filesystem::path& root) {
  SaveOptions options;
  options.wait = false;
  options.keep = 1;
  return on_ranks([&](int rank) { require(session(rank).save(root, options).begun, "the checkpoint was not begun"); });
}

void SavingRun::finish_save() {
  on_ranks([&](int rank) { require(session(rank).finish_save().committed, "the checkpoint was not committed"); });
}

double SavingRun::load(const std::filesystem::path& root) {
  return on_ranks([&](int rank) {
    const LoadReport report = session(rank).load(root);
    require(report.refused.empty() && report.afresh.empty() && report.changed.empty(), "something was not restored");
  });
}

}  // namespace onebit::bench
