// SPDX-License-Identifier: Apache-2.0
// A communicator behind its table. Rank and size never change, so they are asked once.
#include <spdlog/fmt/fmt.h>

#include "loading/adapters.hpp"

namespace onebit {
namespace {

class CommunicatorAdapter final : public Communicator {
 public:
  // Takes the object over.
  CommunicatorAdapter(Boundary boundary, const onebit_communicator_api& api, onebit_communicator* self)
      : boundary_(std::move(boundary)), api_(api), self_(self, {api.destroy}) {
    boundary_.call([&](onebit_error* err) { return api_.rank_and_size(self, &rank_, &size_, err); });
    if (rank_ < 0 || rank_ >= size_) boundary_.refuse(fmt::format("claims to be rank {} of {}", rank_, size_));
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }

  Request* all_reduce(const Tensor& in, Tensor& out, ReduceOp op, const Call& call) override {
    return start([&](onebit_request** req, onebit_error* err) {
      return api_.all_reduce(self(), &in, &out, static_cast<int32_t>(op), &call, req, err);
    });
  }
  Request* all_gather(const void* in, void* out, const Part* out_parts, const Call& call) override {
    return start(
        [&](onebit_request** req, onebit_error* err) { return api_.all_gather(self(), in, out, out_parts, &call, req, err); });
  }
  Request* all_to_all(const void* in, const Part* in_parts, void* out, const Part* out_parts, const Call& call) override {
    return start([&](onebit_request** req, onebit_error* err) {
      return api_.all_to_all(self(), in, in_parts, out, out_parts, &call, req, err);
    });
  }
  Request* broadcast(Tensor& io, int root, const Call& call) override {
    return start([&](onebit_request** req, onebit_error* err) { return api_.broadcast(self(), &io, root, &call, req, err); });
  }
  void barrier(const Call& call) override {
    boundary_.call([&](onebit_error* err) { return api_.barrier(self(), &call, err); });
  }

  bool test(Request* request) override {
    int32_t done = 0;
    boundary_.call([&](onebit_error* err) { return api_.test(self(), handle(request), &done, err); });
    return done != 0;
  }
  void wait(Request* request, int64_t timeout_ns) override {
    boundary_.call([&](onebit_error* err) { return api_.wait(self(), handle(request), timeout_ns, err); });
  }
  std::unique_ptr<Communicator> split(int color, int key) override {
    onebit_communicator* made = nullptr;
    boundary_.call([&](onebit_error* err) { return api_.split(self(), color, key, &made, err); });
    if (made == nullptr && color >= 0) boundary_.refuse("split answered OK but gave no communicator");
    return made == nullptr ? nullptr : std::make_unique<CommunicatorAdapter>(boundary_, api_, made);
  }
  void abort(std::string_view reason) override {
    boundary_.call([&](onebit_error* err) { return api_.abort(self(), str(reason), err); });
  }
  uint64_t machine() const override {
    uint64_t number = 0;
    if (ONEBIT_CAN(&api_, onebit_communicator_api, machine))
      boundary_.call([&](onebit_error* err) { return api_.machine(self(), &number, err); });
    return number;
  }

 private:
  template <class F>
  Request* start(F&& collective) {
    onebit_request* request = nullptr;
    boundary_.call([&](onebit_error* err) { return collective(&request, err); });
    if (request == nullptr) [[unlikely]]
      boundary_.refuse("a collective answered OK but gave no request");
    return reinterpret_cast<Request*>(request);
  }
  // A Request of ours is nothing but the plugin's handle, which is handed back as it came.
  static onebit_request* handle(Request* request) { return reinterpret_cast<onebit_request*>(request); }
  onebit_communicator* self() const { return self_.get(); }

  Boundary boundary_;
  const onebit_communicator_api& api_;
  Owned<onebit_communicator> self_;
  int32_t rank_ = 0, size_ = 0;
};

}  // namespace

std::unique_ptr<Communicator> adapt_communicator(Boundary boundary, const onebit_communicator_api& api, const onebit_host* host,
                                                 const onebit_config* config, const onebit_rendezvous& rendezvous) {
  onebit_communicator* made = nullptr;
  boundary.configure([&](onebit_error* err) { return api.create(host, config, &rendezvous, &made, err); }, true);
  if (made == nullptr) boundary.refuse("create answered OK but gave no object");
  return std::make_unique<CommunicatorAdapter>(std::move(boundary), api, made);
}

}  // namespace onebit
