// SPDX-License-Identifier: Apache-2.0
// Components that throw what and where their options say: none of it may cross the boundary as an exception.
#include <stdexcept>
#include <string>

#include "onebit/plugin.hpp"

namespace {

struct OwnType {};

// options(): `where`, the call that throws, and `what` is thrown.
class Thrower {
 public:
  explicit Thrower(const onebit::Options& options) : where_(options.text("where")), what_(options.text("what")) {}
  void at(const char* call) const {
    if (where_ != call) return;
    if (what_ == "error") throw onebit::Error(onebit::Code::device_error, "thrown on purpose", 5);
    if (what_ == "exception") throw std::runtime_error("thrown on purpose");
    if (what_ == "memory") throw std::bad_alloc();
    if (what_ == "own") throw OwnType();
    if (what_ == "int") throw 3;
    if (what_ == "long") throw std::runtime_error(std::string(10240, 'x'));
    if (what_ == "letters") {  // three bytes each: the end of the buffer falls inside of one
      std::string text;
      while (text.size() < 1000) text += "\u20ac";
      throw std::runtime_error(text);
    }
    throw std::runtime_error("");
  }
  static onebit::Slice<const onebit_schema> options() {
    static const onebit_schema schemas[] = {onebit::text_option("where", "\"nowhere\"", "", "the call that throws"),
                                            onebit::text_option("what", "\"error\"", "", "what it throws")};
    return {schemas, 2};
  }

 private:
  std::string where_, what_;
};

class ThrowingOptimizer : public onebit::Optimizer {
 public:
  ThrowingOptimizer(const onebit::Services&, const onebit::Options& options) : thrower_(options) { thrower_.at("create"); }
  static onebit::Slice<const onebit_schema> options() { return Thrower::options(); }
  void declare(onebit::Slice<const onebit::TensorInfo* const>, onebit::StateDeclarer&) override { thrower_.at("declare"); }
  void plan(const onebit::Step&, const onebit::Totals&, onebit::Plan&) override { thrower_.at("plan"); }
  void consume(const onebit::Step&, int, const onebit::Tile&) const override { thrower_.at("consume"); }
  void combine(const onebit::Step&, const onebit::Totals&) override { thrower_.at("combine"); }
  void apply(const onebit::Step&, const onebit::Tile&) const override { thrower_.at("apply"); }

 private:
  Thrower thrower_;
};

class ThrowingCompressor : public onebit::Compressor {
 public:
  ThrowingCompressor(const onebit::Services&, const onebit::Options& options) : thrower_(options) { thrower_.at("create"); }
  static onebit::Slice<const onebit_schema> options() { return Thrower::options(); }
  onebit::Codec describe() const override {
    thrower_.at("describe");
    return {sizeof(onebit::Codec), 32, 1, ONEBIT_SPAN_BUCKET, 1};
  }
  size_t payload_size(int64_t) const override {
    thrower_.at("payload_size");
    return 4;
  }
  void measure(const onebit::Batch&, const float*, const float*, double*) const override { thrower_.at("measure"); }
  void encode(const onebit::Batch&, const float*, const float*, float*, const double*, void*) const override {
    thrower_.at("encode");
  }
  void decode(const onebit::Batch&, const void*, float, bool, float*) const override { thrower_.at("decode"); }

 private:
  Thrower thrower_;
};

// A world of one rank, or whatever rank and size the options say.
class ThrowingCommunicator : public onebit::Communicator {
 public:
  ThrowingCommunicator(const onebit::Services&, const onebit::Options& options, const onebit::Rendezvous&) : thrower_(options) {
    thrower_.at("create");
  }
  static onebit::Slice<const onebit_schema> options() { return Thrower::options(); }
  int rank() const override {
    thrower_.at("rank");
    return 0;
  }
  int size() const override { return 1; }
  onebit::Request* all_reduce(const onebit::Tensor&, onebit::Tensor&, onebit::ReduceOp, const onebit::Call&) override {
    return started("all_reduce");
  }
  onebit::Request* all_gather(const void*, void*, const onebit::Part*, const onebit::Call&) override {
    return nullptr;  // OK, and yet no request
  }
  onebit::Request* all_to_all(const void*, const onebit::Part*, void*, const onebit::Part*, const onebit::Call&) override {
    return started("all_to_all");
  }
  onebit::Request* broadcast(onebit::Tensor&, int, const onebit::Call&) override { return started("broadcast"); }
  void barrier(const onebit::Call&) override { thrower_.at("barrier"); }
  bool test(onebit::Request* request) override {
    thrower_.at("test");
    return request == &request_;
  }
  void wait(onebit::Request*, int64_t) override { thrower_.at("wait"); }
  std::unique_ptr<onebit::Communicator> split(int, int) override {
    thrower_.at("split");
    return nullptr;
  }
  void abort(std::string_view) override { thrower_.at("abort"); }

 private:
  struct Done : onebit::Request {};
  onebit::Request* started(const char* call) {
    thrower_.at(call);
    return &request_;
  }
  Thrower thrower_;
  Done request_;
};

}  // namespace

ONEBIT_PLUGIN("throwing", "1.0.0", onebit::component<ThrowingOptimizer>("throwing"),
              onebit::component<ThrowingCompressor>("throwing"), onebit::component<ThrowingCommunicator>("throwing"))
