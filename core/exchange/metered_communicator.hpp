// SPDX-License-Identifier: Apache-2.0
// Counts what a rank hands to its communicator for other ranks, by the stage it is handed over in. The only source of the
// figures for bytes sent and wire bits per parameter.
#pragma once

#include <array>
#include <memory>
#include <numeric>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "onebit/communicator.hpp"

namespace onebit {

enum class Stage { dense, compressed, agreement, other };

class MeteredCommunicator final : public Communicator {
 public:
  explicit MeteredCommunicator(std::unique_ptr<Communicator> inner) : inner_(std::move(inner)) {}
  // Collective, a split: `members` of `all` become a group with bytes of its own. An abort of `all` reaches it, too. Its errors
  // name ranks as the group numbers them, so it adds whom they mean. Does not outlive `all`.
  MeteredCommunicator(MeteredCommunicator& all, int color, int key, const std::string& members)
      : inner_(all.inner_->split(color, key)), whom_(" (numbered within the group of ranks " + members + ")") {
    all.groups_.push_back(this);
  }

  // Ends what is under way: after it, no rank reads or writes this rank's buffers. Nothing may be called any more.
  void close() { inner_.reset(); }
  void enter(Stage stage) { stage_ = stage; }
  // Bytes that were counted in one stage, and belong to another.
  void recount(Stage from, Stage to, uint64_t bytes) {
    bytes_[static_cast<size_t>(from)] -= bytes;
    bytes_[static_cast<size_t>(to)] += bytes;
  }
  uint64_t bytes(Stage stage) const { return bytes_[static_cast<size_t>(stage)]; }
  uint64_t bytes() const { return std::accumulate(bytes_.begin(), bytes_.end(), uint64_t{0}); }

  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  Request* all_reduce(const Tensor& in, Tensor& out, ReduceOp op, const Call& call) override {
    count(2 * bytes_of(in) * others() / static_cast<uint64_t>(size()));  // as a ring or two-phase all-reduce sends
    return inner_->all_reduce(in, out, op, call);
  }
  Request* all_gather(const void* in, void* out, const Part* out_parts, const Call& call) override {
    count(static_cast<uint64_t>(out_parts[rank()].bytes) * others());
    return told([&] { return inner_->all_gather(in, out, out_parts, call); });
  }
  Request* all_to_all(const void* in, const Part* in_parts, void* out, const Part* out_parts, const Call& call) override {
    for (int peer = 0; peer < size(); ++peer)
      if (peer != rank()) count(static_cast<uint64_t>(in_parts[peer].bytes));
    return told([&] { return inner_->all_to_all(in, in_parts, out, out_parts, call); });
  }
  Request* broadcast(Tensor& io, int root, const Call& call) override {
    // as scatter and all-gather send: the root the whole to its peers, and its own part to all; they theirs to each other
    const uint64_t parts = root == rank() ? 2 * others() : others() - (size() > 1 ? 1 : 0);
    count(bytes_of(io) * parts / static_cast<uint64_t>(size()));
    return inner_->broadcast(io, root, call);
  }
  void barrier(const Call& call) override { inner_->barrier(call); }
  bool test(Request* request) override { return inner_->test(request); }
  void wait(Request* request, int64_t timeout_ns) override {
    told([&] { inner_->wait(request, timeout_ns); });
  }
  std::unique_ptr<Communicator> split(int color, int key) override { return inner_->split(color, key); }
  void abort(std::string_view reason) override {
    for (MeteredCommunicator* group : groups_) group->abort(reason);
    if (inner_) inner_->abort(reason);
  }
  uint64_t machine() const override { return inner_->machine(); }

 private:
  static uint64_t bytes_of(const Tensor& tensor) {
    uint64_t bytes = tensor.dtype.bits / 8U * tensor.dtype.lanes;
    for (int32_t d = 0; d < tensor.ndim; ++d) bytes *= static_cast<uint64_t>(tensor.shape[d]);
    return bytes;
  }
  uint64_t others() const { return static_cast<uint64_t>(size() - 1); }
  void count(uint64_t bytes) { bytes_[static_cast<size_t>(stage_)] += bytes; }
  template <class F>
  std::invoke_result_t<F&> told(F&& f) {
    try {
      return f();
    } catch (const Error& e) {
      if (whom_.empty()) throw;
      throw Error(e.code(), e.what() + whom_, e.native());
    }
  }

  std::unique_ptr<Communicator> inner_;
  Stage stage_ = Stage::other;
  std::array<uint64_t, 4> bytes_{};
  std::string whom_;
  std::vector<MeteredCommunicator*> groups_;
};

}  // namespace onebit
