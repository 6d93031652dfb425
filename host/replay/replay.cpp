// SPDX-License-Identifier: Apache-2.0
// Replaying.
#include "replay/replay.hpp"

#include <fmt/format.h>

#include <string>
#include <vector>

#include "launch/gathering.hpp"
#include "onebit/error.hpp"
#include "onebit/session.hpp"

namespace onebit::host {
namespace {

// All tensors of one rank, one after the other.
class Row {
 public:
  explicit Row(const GradientTrace& trace) {
    for (const GradientTrace::Tensor& tensor : trace.tensors()) {
      places_.push_back(values_.size());
      values_.resize(values_.size() + static_cast<size_t>(tensor.elements));
    }
  }
  float* at(size_t tensor) { return values_.data() + places_[tensor]; }
  std::vector<float>& values() { return values_; }
  // number: of the row in the file, which has them by step and rank.
  void write(SafetensorsWriter& writer, int64_t number) const {
    const auto first = static_cast<size_t>(number) * places_.size();
    for (size_t i = 0; i < places_.size(); ++i) writer.write(first + i, values_.data() + places_[i]);
  }

 private:
  std::vector<size_t> places_;
  std::vector<float> values_;
};

std::vector<SafetensorsWriter::Tensor> outcome_of(const GradientTrace& trace) {
  std::vector<SafetensorsWriter::Tensor> tensors;
  for (int64_t step = 0; step < trace.steps(); ++step)
    for (int rank = 0; rank < trace.ranks(); ++rank)
      for (const GradientTrace::Tensor& tensor : trace.tensors())
        tensors.push_back(
            {"parameter/" + std::to_string(trace.first_step() + step) + "/" + std::to_string(rank) + "/" + tensor.name,
             tensor.shape});
  return tensors;
}

// One rank: parameters that the session updates, and the gradients of the step under way.
class Replica {
 public:
  explicit Replica(const GradientTrace& trace) : trace_(trace), values_(trace), gradients_(trace) {
    for (size_t i = 0; i < trace.tensors().size(); ++i) trace.read_parameter(i, values_.at(i));
  }
  std::vector<Parameter> parameters() {
    std::vector<Parameter> parameters;
    for (size_t i = 0; i < trace_.tensors().size(); ++i)
      parameters.push_back({trace_.tensors()[i].name, trace_.tensors()[i].shape, values_.at(i)});
    return parameters;
  }
  // writer: NULL on every rank but 0. Answers how many steps were skipped.
  int64_t run(Session& session, SafetensorsWriter* writer) {
    int64_t skipped = 0;
    session.set_next_step(trace_.first_step());
    for (int64_t step = 0; step < trace_.steps(); ++step) {
      skipped += session.step(read_gradients(trace_.first_step() + step, session.rank())).skipped ? 1 : 0;
      record(session, step * session.size(), writer);
    }
    return skipped;
  }

 private:
  std::vector<const float*> read_gradients(int64_t step, int rank) {
    std::vector<const float*> pointers;
    for (size_t i = 0; i < trace_.tensors().size(); ++i) {
      trace_.read_gradient(step, rank, i, gradients_.at(i));
      pointers.push_back(gradients_.at(i));
    }
    return pointers;
  }
  // The rows of all ranks after a step reach the file through rank 0, one after the other. Its gradients of that step are used
  // up: the rows of others arrive in their place.
  void record(Session& session, int64_t first_row, SafetensorsWriter* writer) {
    if (writer != nullptr) values_.write(*writer, first_row);
    for (int rank = 1; rank < session.size(); ++rank) {
      Row& row = session.rank() == rank ? values_ : gradients_;
      send_to_first(session.communicator(), rank, row.values());
      if (writer != nullptr) row.write(*writer, first_row + rank);
    }
  }

  const GradientTrace& trace_;
  Row values_, gradients_;
};

void require_same_trace(Session& session, const GradientTrace& trace) {
  check_ranks(trace, session.size(), "the run has");
  require_same_lines(session.communicator(), fmt::format("first step = {}\nsteps = {}\n", trace.first_step(), trace.steps()),
                     "trace");
}

// Answers how many steps were skipped.
int64_t replay_rank(Session& session, Replica& replica, const GradientTrace& trace, const std::string& optimizer,
                    const std::filesystem::path& out) {
  require_same_trace(session, trace);
  if (session.rank() != 0) return replica.run(session, nullptr);
  SafetensorsWriter writer(out, outcome_of(trace), {{"optimizer", optimizer}});
  const int64_t skipped = replica.run(session, &writer);
  writer.commit();
  return skipped;
}

}  // namespace

void check_ranks(const GradientTrace& trace, int64_t ranks, const std::string& asking) {
  if (ranks == trace.ranks()) return;
  const int64_t named = std::min<int64_t>(ranks, trace.ranks());
  throw Error(
      Code::invalid_argument,
      fmt::format("{}: '{}' {}: the trace has ranks 0 to {}, {} {}", trace.file().string(),
                  GradientTrace::gradient_key(trace.first_step(), static_cast<int>(named), trace.tensors().front().name),
                  ranks > trace.ranks() ? "is missing" : "would be left out", trace.ranks() - 1, asking, ranks));
}

std::optional<int64_t> replay(const Registry& registry, const Configuration& configuration, const GradientTrace& trace,
                              const Ranks& ranks, const std::filesystem::path& out) {
  std::vector<Replica> replicas(ranks.here(), Replica(trace));
  std::optional<int64_t> skipped;
  ranks.run(
      registry, configuration, [&](size_t place) { return replicas[place].parameters(); },
      [&](Session& session, size_t place) {
        const int64_t own = replay_rank(session, replicas[place], trace, configuration.optimizer.component->name, out);
        if (session.rank() == 0) skipped = own;
      });
  return skipped;
}

}  // namespace onebit::host
