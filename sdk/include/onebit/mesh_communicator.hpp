// SPDX-License-Identifier: Apache-2.0
// MeshCommunicator: a whole communicator made of a Mesh, which is all that the author of a new transport writes. A plugin:
//
//   class Tcp final : public onebit::MeshCommunicator {
//    public:
//     Tcp(const Services& services, const Options& options, const Rendezvous& rendezvous)
//         : MeshCommunicator("tcp", services, Limits::of(options), std::make_unique<TcpMesh>(options, rendezvous)) {}
//     static Slice<const onebit_schema> options() { ... }  // timeout_option(), stall_option(), and its own
//   };
//   ONEBIT_PLUGIN("tcp", "1.0.0", onebit::component<Tcp>("tcp"))
//
// It moves host memory. Transfers go on while ranks compute; payload is copied by nobody but the Mesh; sums are taken in the
// order of ranks. What is refused, does not match, comes late, aborts or is gone is told to every rank, with the name of the
// rank that it is about.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "onebit/collectives/collective_arguments.hpp"
#include "onebit/collectives/limits.hpp"
#include "onebit/communicator.hpp"
#include "onebit/mesh.hpp"
#include "onebit/mesh/calls.hpp"
#include "onebit/mesh/drive.hpp"
#include "onebit/mesh/engine.hpp"
#include "onebit/mesh/protocol.hpp"

namespace onebit {

class MeshCommunicator : public Communicator {
 public:
  // name: the component's, for words. limits: of the waits of calls that name none of their own. A thread of this class sends
  // heartbeats while the rank computes, unless limits.timeout_ns is 0.
  MeshCommunicator(std::string name, const Services& services, const Limits& limits, std::unique_ptr<Mesh> mesh)
      : name_(std::move(name)), engine_(std::make_shared<mesh::Engine>(std::move(mesh), services, limits)) {
    std::vector<int> ranks;
    for (int rank = 0; rank < engine_->mesh().size(); ++rank) ranks.push_back(rank);
    context_ = &engine_->open(kAllRanks, engine_->mesh().rank(), std::move(ranks));
  }
  // With a timeout in seconds alone, and a stall of 1800 s; 0: neither.
  MeshCommunicator(std::string name, const Services& services, double timeout_s, std::unique_ptr<Mesh> mesh)
      : MeshCommunicator(std::move(name), services, timeout_s > 0 ? Limits{Limits::nanoseconds(timeout_s)} : Limits{0, 0},
                         std::move(mesh)) {}
  ~MeshCommunicator() override { engine_->close(*context_); }

  int rank() const override { return context_->rank; }
  int size() const override { return context_->size(); }

  Request* all_reduce(const Tensor& in, Tensor& out, ReduceOp op, const Call& call) override {
    return &start(Collective::all_reduce, call, [&](mesh::Offer& offer) {
      check_reduction(name_.c_str(), op, in.dtype);
      const Elements source = check_tensor(name_.c_str(), "in", in);
      bring(offer, in, source);
      offer.reduce = op;
      offer.in = source.data;
      offer.out = check_same_shape(name_.c_str(), in, source, out).data;
    });
  }

  Request* all_gather(const void* in, void* out, const Part* out_parts, const Call& call) override {
    return &start(Collective::all_gather, call, [&](mesh::Offer& offer) {
      check_parts("out_parts", out, out_parts, size());
      check_gather_input(in, out, out_parts, rank(), size());
      offer.in = static_cast<const char*>(in);
      offer.out = static_cast<char*>(out);
      offer.out_parts = out_parts;
    });
  }

  Request* all_to_all(const void* in, const Part* in_parts, void* out, const Part* out_parts, const Call& call) override {
    return &start(Collective::all_to_all, call, [&](mesh::Offer& offer) {
      check_parts("in_parts", in, in_parts, size());
      check_parts("out_parts", out, out_parts, size());
      check_apart(in, in_parts, out, out_parts, size());
      offer.in = static_cast<const char*>(in);
      offer.in_parts = in_parts;
      offer.out = static_cast<char*>(out);
      offer.out_parts = out_parts;
    });
  }

  Request* broadcast(Tensor& io, int root, const Call& call) override {
    return &start(Collective::broadcast, call, [&](mesh::Offer& offer) {
      check_root(root, size());
      const Elements elements = check_tensor(name_.c_str(), "io", io);
      bring(offer, io, elements);
      offer.root = root;
      offer.in = offer.out = elements.data;
    });
  }

  void barrier(const Call& call) override {
    engine_->wait(start(Collective::barrier, call, [](mesh::Offer&) {}), -1);
  }
  bool test(Request* request) override { return engine_->test(own(request)); }
  void wait(Request* request, int64_t timeout_ns = -1) override { engine_->wait(own(request), timeout_ns); }
  void abort(std::string_view reason) override { engine_->abort(*context_, reason); }
  uint64_t machine() const override { return engine_->mesh().machine(); }

  std::unique_ptr<Communicator> split(int color, int key) override {
    uint64_t number = 0;
    const std::vector<Seat> seats = gather_seats({color, key}, number);
    if (color < 0) return nullptr;
    std::vector<int> members;
    for (int r = 0; r < size(); ++r)
      if (seats[static_cast<size_t>(r)].color == color) members.push_back(r);
    std::stable_sort(members.begin(), members.end(),
                     [&](int a, int b) { return seats[static_cast<size_t>(a)].key < seats[static_cast<size_t>(b)].key; });
    const auto own_rank = std::find(members.begin(), members.end(), rank()) - members.begin();
    for (int& member : members) member = context_->peer(member);
    mesh::Context& child = engine_->open(mixed(number, color), static_cast<int>(own_rank), std::move(members));
    return std::unique_ptr<Communicator>(new MeshCommunicator(*this, child));
  }

 private:
  static constexpr uint64_t kAllRanks = 1;
  struct Seat {
    int32_t color, key;
  };

  MeshCommunicator(const MeshCommunicator& parent, mesh::Context& context)
      : name_(parent.name_), engine_(parent.engine_), context_(&context) {}

  // A call that this rank can't make counts as its part in the operation, or the other ranks would wait for it.
  template <class F>
  mesh::Operation& start(Collective kind, const Call& call, F&& fill) {
    mesh::Offer offer;
    offer.kind = kind;
    offer.tag = call.tag;
    offer.timeout_ns = call.timeout_ns;
    try {
      check_call(name_.c_str(), call);
      fill(offer);
    } catch (const Error& why) {
      engine_->refuse(*context_, kind, why);
      throw;
    }
    return engine_->post(*context_, offer);
  }
  static void bring(mesh::Offer& offer, const Tensor& tensor, const Elements& elements) {
    offer.dtype = tensor.dtype;
    offer.count = elements.count;
    offer.bytes = elements.bytes;
  }
  mesh::Operation& own(Request* request) const {
    auto* operation = static_cast<mesh::Operation*>(request);
    if (operation == nullptr || operation->context != context_)
      throw Error(Code::invalid_argument, "the request is not one of this communicator");
    return *operation;
  }

  // What every rank asks of a split; number: one that only this split has, the same on every rank.
  std::vector<Seat> gather_seats(Seat seat, uint64_t& number) {
    std::vector<Seat> seats(static_cast<size_t>(size()));
    std::vector<Part> parts;
    for (const Seat& s : seats)
      parts.push_back({static_cast<int64_t>(reinterpret_cast<const char*>(&s) - reinterpret_cast<const char*>(seats.data())),
                       static_cast<int64_t>(sizeof(Seat))});
    seats[static_cast<size_t>(rank())] = seat;
    mesh::Operation& operation = start(Collective::split, Call(), [&](mesh::Offer& offer) {
      offer.out = reinterpret_cast<char*>(seats.data());
      offer.in = offer.out + parts[static_cast<size_t>(rank())].offset;
      offer.out_parts = parts.data();
    });
    number = mixed(context_->id, static_cast<int64_t>(operation.sequence));
    engine_->wait(operation, -1);
    return seats;
  }
  // splitmix64's steps
  static uint64_t mixed(uint64_t a, int64_t b) {
    uint64_t hash = (a ^ (static_cast<uint64_t>(b) + 1)) * 0x9e3779b97f4a7c15U;
    hash = (hash ^ (hash >> 30U)) * 0xbf58476d1ce4e5b9U;
    hash = (hash ^ (hash >> 27U)) * 0x94d049bb133111ebU;
    return hash ^ (hash >> 31U);
  }

  const std::string name_;
  const std::shared_ptr<mesh::Engine> engine_;
  mesh::Context* context_ = nullptr;
};

}  // namespace onebit
