// SPDX-License-Identifier: Apache-2.0
// Communicators that do one thing wrong: around a right one, made by the plugin `threads`; and one that meets and adds through
// the rendezvous' store alone, for ranks that are processes.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "onebit/communicator.hpp"

namespace onebit::test {

enum class Fault {
  none,
  rank_of_another,
  sum_in_other_order,
  gap_written,
  barrier_passes,
  done_too_early,
  key_ignored,
  tag_ignored,
  code_of_timeout,
  abort_without_reason,
  peer_waited_for,
  mismatch_swallowed,
  wrong_part_mended,
  unknown_sum_taken,
  long_sum_cut,
  bytes_saturate,
  in_place_forgotten,
  uneven_gather,
  gather_in_place_forgotten,
  long_exchange_cut,
  uneven_exchange,
  root_zero,
  one_at_a_time,
  late_is_lost,
  single_is_none,
};

class Around final : public Communicator {
 public:
  Around(std::unique_ptr<Communicator> inner, Fault fault) : inner_(std::move(inner)), fault_(fault) {}

  int rank() const override { return is(Fault::rank_of_another) ? size() - 1 - inner_->rank() : inner_->rank(); }
  int size() const override { return inner_->size(); }

  Request* all_reduce(const Tensor& in, Tensor& out, ReduceOp op, const Call& call) override {
    const bool floats = in.dtype.code == ONEBIT_DTYPE_FLOAT && in.dtype.bits == 32;
    if (is(Fault::sum_in_other_order) && op == ReduceOp::sum && floats) return sum_backwards(in, out, call);
    if (is(Fault::unknown_sum_taken)) op = ReduceOp::sum;
    const int64_t count = in.shape[0];
    const bool spoil = (is(Fault::long_sum_cut) && count > 100'000) || (is(Fault::in_place_forgotten) && in.data == out.data) ||
                       (is(Fault::bytes_saturate) && in.dtype.bits == 8);
    if (!spoil || count == 0) return inner_->all_reduce(in, out, op, call);
    inner_->wait(inner_->all_reduce(in, out, op, call), -1);
    static_cast<unsigned char*>(out.data)[count * in.dtype.bits / 8 - 1] ^= 1;
    return nothing_more();
  }
  Request* all_gather(const void* in, void* out, const Part* parts, const Call& call) override {
    if (is(Fault::gap_written)) static_cast<unsigned char*>(out)[parts[0].offset + parts[0].bytes] = 0;
    if (is(Fault::wrong_part_mended)) {
      mended_.assign(parts, parts + size());
      for (Part& part : mended_) part = {std::max<int64_t>(part.offset, 0), std::max<int64_t>(part.bytes, 0)};
      parts = mended_.data();
    }
    const Part& last = parts[size() - 1];
    const bool in_place = in == static_cast<unsigned char*>(out) + parts[rank()].offset;
    const bool spoil =
        (is(Fault::uneven_gather) && last.bytes != parts[0].bytes) || (is(Fault::gather_in_place_forgotten) && in_place);
    if (!spoil || last.bytes == 0) return inner_->all_gather(in, out, parts, call);
    inner_->wait(inner_->all_gather(in, out, parts, call), -1);
    static_cast<unsigned char*>(out)[last.offset] ^= 1;
    return nothing_more();
  }
  Request* all_to_all(const void* in, const Part* in_parts, void* out, const Part* out_parts, const Call& call) override {
    if (is(Fault::one_at_a_time) && under_way_ > 2) throw Error(Code::unavailable, "three collectives are under way already");
    ++under_way_;
    const Part& last = out_parts[size() - 1];
    const bool spoil = (is(Fault::long_exchange_cut) && last.bytes > 100'000) ||
                       (is(Fault::uneven_exchange) && last.bytes != out_parts[0].bytes);
    if (!spoil || last.bytes == 0) return inner_->all_to_all(in, in_parts, out, out_parts, call);
    inner_->wait(inner_->all_to_all(in, in_parts, out, out_parts, call), -1);
    static_cast<unsigned char*>(out)[last.offset + last.bytes - 1] ^= 1;
    return nothing_more();
  }
  Request* broadcast(Tensor& io, int root, const Call& call) override {
    return inner_->broadcast(io, is(Fault::root_zero) ? 0 : root, call);
  }
  void barrier(const Call& call) override {
    if (is(Fault::barrier_passes)) return;
    inner_->barrier(is(Fault::tag_ignored) ? Call() : call);
  }
  bool test(Request* request) override { return is(Fault::done_too_early) || inner_->test(request); }
  void wait(Request* request, int64_t timeout_ns) override {
    --under_way_;
    if (is(Fault::late_is_lost) && ++waits_ > 150) throw Error(Code::internal, "a message came too late");
    try {
      inner_->wait(request, timeout_ns);
    } catch (const Error& e) {
      if (is(Fault::mismatch_swallowed) && e.code() == Code::state_mismatch) return;
      if (is(Fault::code_of_timeout) && e.code() == Code::timeout) throw Error(Code::internal, e.what());
      if (is(Fault::peer_waited_for) && e.code() == Code::peer_failed) std::this_thread::sleep_for(std::chrono::seconds(3));
      throw;
    }
  }
  std::unique_ptr<Communicator> split(int color, int key) override {
    auto part = inner_->split(color, is(Fault::key_ignored) ? 0 : key);
    if (!part || (is(Fault::single_is_none) && part->size() == 1 && inner_->size() > 1)) return nullptr;
    return std::make_unique<Around>(std::move(part), fault_);
  }
  void abort(std::string_view reason) override { inner_->abort(is(Fault::abort_without_reason) ? "it was aborted" : reason); }

 private:
  bool is(Fault fault) const { return fault_ == fault; }

  Request* sum_backwards(const Tensor& in, Tensor& out, const Call& call) {
    const size_t count = static_cast<size_t>(in.shape[0]), bytes = count * sizeof(float);
    std::vector<float> all(count * static_cast<size_t>(size()));
    std::vector<Part> parts;
    for (int rank = 0; rank < size(); ++rank)
      parts.push_back({static_cast<int64_t>(static_cast<size_t>(rank) * bytes), static_cast<int64_t>(bytes)});
    inner_->wait(inner_->all_gather(in.data, all.data(), parts.data(), call), -1);
    auto* const sums = static_cast<float*>(out.data);
    for (size_t i = 0; i < count; ++i) {
      sums[i] = 0;
      for (size_t rank = parts.size(); rank-- > 0;) sums[i] += all[rank * count + i];
    }
    return nothing_more();
  }
  // A request for what is done already.
  Request* nothing_more() {
    nothing_.assign(static_cast<size_t>(size()), {0, 0});
    return inner_->all_gather(nullptr, nullptr, nothing_.data(), Call());
  }

  const std::unique_ptr<Communicator> inner_;
  const Fault fault_;
  std::vector<Part> nothing_, mended_;
  int under_way_ = 0, waits_ = 0;
};

// A barrier and sums, by values that each rank puts into the store and the others wait for.
class ByStore final : public Communicator {
 public:
  enum class Fault { none, waits_for_ever, sums_without_it, dies_with_it };
  ByStore(const onebit_rendezvous& rendezvous, Fault fault) : meeting_(&rendezvous), fault_(fault) {}

  int rank() const override { return meeting_.rank(); }
  int size() const override { return meeting_.size(); }
  Request* all_reduce(const Tensor& in, Tensor& out, ReduceOp, const Call& call) override {
    const auto count = static_cast<size_t>(in.shape[0]);
    std::vector<float> sum(count), other(count);
    put(in.data, count * sizeof(float));
    for (int from = 0; from < size(); ++from) {
      if (!get(from, other.data(), count * sizeof(float), call)) continue;
      for (size_t i = 0; i < count; ++i) sum[i] += other[i];
    }
    std::memcpy(out.data, sum.data(), count * sizeof(float));
    ++collectives_;
    return nullptr;
  }
  void barrier(const Call& call) override {
    put("", 1);
    char any;
    for (int from = 0; from < size(); ++from) meeting_.get(key(from), &any, 1, call.timeout_ns);
    ++collectives_;
  }
  void wait(Request*, int64_t) override {}
  bool test(Request*) override { return true; }
  void abort(std::string_view) override {}
  Request* all_gather(const void*, void*, const Part*, const Call&) override { return none(); }
  Request* all_to_all(const void*, const Part*, void*, const Part*, const Call&) override { return none(); }
  Request* broadcast(Tensor&, int, const Call&) override { return none(); }
  std::unique_ptr<Communicator> split(int, int) override { throw Error(Code::unsupported, "not in this test"); }

 private:
  [[noreturn]] static Request* none() { throw Error(Code::unsupported, "not in this test"); }
  std::string key(int from) const { return std::to_string(collectives_) + "." + std::to_string(from); }
  void put(const void* data, size_t size) const { meeting_.put(key(rank()), data, size); }
  bool get(int from, void* data, size_t size, const Call& call) const {
    try {
      meeting_.get(key(from), data, size,
                   fault_ == Fault::waits_for_ever ? 0 : std::min<int64_t>(call.timeout_ns, 200'000'000));
    } catch (const Error&) {
      if (fault_ == Fault::dies_with_it) std::_Exit(1);
      if (fault_ != Fault::sums_without_it) throw;
      return false;
    }
    return true;
  }

  const Rendezvous meeting_;
  const Fault fault_;
  int collectives_ = 0;
};

}  // namespace onebit::test
