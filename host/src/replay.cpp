// Replaying.
#include "replay.hpp"

#include <string>
#include <vector>

#include "onebit/rendezvous.hpp"
#include "onebit/session.hpp"
#include "ranks.hpp"

namespace onebit::host {
namespace {

// One rank's tensors: parameters that the session updates, and the gradients of the step under way.
class Replica {
 public:
  Replica(const GradientTrace& trace, int rank) : trace_(trace), rank_(rank) {
    for (size_t i = 0; i < trace.tensors().size(); ++i) {
      const auto elements = static_cast<size_t>(trace.tensors()[i].elements);
      values_.emplace_back(elements);
      gradients_.emplace_back(elements);
      trace.read_parameter(i, values_.back().data());
    }
  }
  std::vector<Parameter> parameters() {
    std::vector<Parameter> parameters;
    for (size_t i = 0; i < values_.size(); ++i)
      parameters.push_back({trace_.tensors()[i].name, trace_.tensors()[i].shape, values_[i].data()});
    return parameters;
  }
  std::vector<const float*> read_gradients(int64_t step) {
    std::vector<const float*> pointers;
    for (size_t i = 0; i < gradients_.size(); ++i) {
      trace_.read_gradient(step, rank_, i, gradients_[i].data());
      pointers.push_back(gradients_[i].data());
    }
    return pointers;
  }
  // row: of this step and rank, in the order of the file.
  void write(SafetensorsWriter& writer, size_t row) const {
    for (size_t i = 0; i < values_.size(); ++i) writer.write(row * values_.size() + i, values_[i].data());
  }

 private:
  const GradientTrace& trace_;
  int rank_;
  std::vector<std::vector<float>> values_, gradients_;
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

// Answers how many steps were skipped.
int64_t replay_rank(Session& session, Replica& replica, const GradientTrace& trace, SafetensorsWriter& writer) {
  int64_t skipped = 0;
  session.set_next_step(trace.first_step());
  for (int64_t step = 0; step < trace.steps(); ++step) {
    skipped += session.step(replica.read_gradients(trace.first_step() + step)).skipped ? 1 : 0;
    replica.write(writer, static_cast<size_t>(step * session.size() + session.rank()));
  }
  return skipped;
}

}  // namespace

int64_t replay(const Registry& registry, const Configuration& configuration, const GradientTrace& trace,
               const std::filesystem::path& out) {
  SafetensorsWriter writer(out, outcome_of(trace), {{"optimizer", configuration.optimizer.component->name}});
  LocalRendezvous rendezvous(trace.ranks());
  std::vector<Replica> replicas;
  for (int rank = 0; rank < trace.ranks(); ++rank) replicas.emplace_back(trace, rank);
  std::vector<int64_t> skipped(replicas.size());
  run_ranks(trace.ranks(), [&](int rank) {
    const auto r = static_cast<size_t>(rank);
    Session session(registry, configuration, rendezvous.at(rank), replicas[r].parameters());
    try {
      skipped[r] = replay_rank(session, replicas[r], trace, writer);
    } catch (const std::exception& e) {
      session.communicator().abort("rank " + std::to_string(rank) + " failed: " + e.what());
      throw;
    }
  });
  writer.commit();
  return skipped.front();
}

}  // namespace onebit::host
