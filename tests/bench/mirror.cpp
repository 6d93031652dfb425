// SPDX-License-Identifier: Apache-2.0
// Communicator `mirror`, for benchmarks: two ranks, of which the other is a mirror image of this one, with no time spent on
// moving bytes. What a session then takes is the local work of one rank alone.
#include <cstring>

#include "onebit/plugin.hpp"

namespace {

using namespace onebit;

class Mirror final : public Communicator {
 public:
  Mirror(const Services&, const Options&, const Rendezvous&) {}
  static Slice<const onebit_schema> options() { return {}; }

  int rank() const override { return 0; }
  int size() const override { return 2; }
  Request* all_reduce(const Tensor&, Tensor&, ReduceOp, const Call&) override {
    throw Error(Code::unsupported, "mirror has no all-reduce");
  }
  Request* all_gather(const void* in, void* out, const Part* parts, const Call&) override {
    auto* to = static_cast<std::byte*>(out);
    if (to + parts[0].offset != in) std::memcpy(to + parts[0].offset, in, static_cast<size_t>(parts[0].bytes));
    std::memcpy(to + parts[1].offset, in, static_cast<size_t>(std::min(parts[0].bytes, parts[1].bytes)));
    return &done_;
  }
  Request* all_to_all(const void* in, const Part* in_parts, void* out, const Part* out_parts, const Call&) override {
    const auto* own = static_cast<const std::byte*>(in) + in_parts[0].offset;
    for (int from = 0; from < 2; ++from)
      std::memcpy(static_cast<std::byte*>(out) + out_parts[from].offset, own, static_cast<size_t>(in_parts[0].bytes));
    return &done_;
  }
  Request* broadcast(Tensor&, int, const Call&) override { return &done_; }
  void barrier(const Call&) override {}
  bool test(Request*) override { return true; }
  void wait(Request*, int64_t) override {}
  std::unique_ptr<Communicator> split(int, int) override { throw Error(Code::unsupported, "mirror does not split"); }
  void abort(std::string_view) override {}

 private:
  struct Done final : Request {
  } done_;
};

}  // namespace

ONEBIT_PLUGIN("mirror", "1.0.0", onebit::component<Mirror>("mirror"))
