// SPDX-License-Identifier: Apache-2.0
// Each collective: check what this rank brings, and post it.
#include "communicator.hpp"

#include <algorithm>

#include "meeting.hpp"
#include "onebit/collectives/collective_arguments.hpp"
#include "onebit/collectives/limits.hpp"
#include "process.hpp"

namespace onebit::mpi {
namespace {

constexpr const char* kName = "mpi";
constexpr uint64_t kRoot = 1;  // the context of all ranks

void bring(Offer& offer, const Tensor& tensor, const Elements& elements) {
  offer.dtype = tensor.dtype;
  offer.count = elements.count;
  offer.bytes = elements.bytes;
}

// A number for the communicator that a color makes: the same on its ranks, and no other's.
uint64_t child_of(uint64_t parent, uint64_t sequence, int color) {
  uint64_t hash = parent;
  for (const uint64_t word : {sequence, static_cast<uint64_t>(color) + 1}) {
    hash = (hash ^ word) * 0x9e3779b97f4a7c15U;  // splitmix64's steps
    hash = (hash ^ (hash >> 30U)) * 0xbf58476d1ce4e5b9U;
    hash = (hash ^ (hash >> 27U)) * 0x94d049bb133111ebU;
    hash ^= hash >> 31U;
  }
  return hash;
}

struct Seat {
  int32_t color, key;
};

}  // namespace

Slice<const onebit_schema> MpiCommunicator::options() {
  static const onebit_schema schema[] = {timeout_option(), stall_option()};
  return {schema, std::size(schema)};
}

MpiCommunicator::MpiCommunicator(const Services& services, const Options& options, const Rendezvous& rendezvous)
    : engine_(std::make_shared<Engine>(meet(rendezvous, Limits::of(options).timeout_ns), services, Limits::of(options))) {
  std::vector<int> ranks;
  for (int rank = 0; rank < engine_->size(); ++rank) ranks.push_back(rank);
  context_ = &engine_->open(kRoot, engine_->rank(), std::move(ranks));
}

MpiCommunicator::MpiCommunicator(std::shared_ptr<Engine> engine, Context& context)
    : engine_(std::move(engine)), context_(&context) {}

MpiCommunicator::~MpiCommunicator() { engine_->close(*context_); }

// A call that this rank can't make counts as its part in the operation, or the other ranks would wait for it.
template <class F>
Operation& MpiCommunicator::start(Collective kind, const Call& call, F&& fill) {
  Offer offer;
  offer.kind = kind;
  offer.tag = call.tag;
  offer.timeout_ns = call.timeout_ns;
  try {
    check_call(kName, call);
    fill(offer);
  } catch (const Error& why) {
    engine_->refuse(*context_, kind, why);
    throw;
  }
  return engine_->post(*context_, offer);
}

Request* MpiCommunicator::all_reduce(const Tensor& in, Tensor& out, ReduceOp op, const Call& call) {
  return &start(Collective::all_reduce, call, [&](Offer& offer) {
    check_reduction(kName, op, in.dtype);
    const Elements source = check_tensor(kName, "in", in);
    bring(offer, in, source);
    offer.reduce = op;
    offer.in = source.data;
    offer.out = check_same_shape(kName, in, source, out).data;
  });
}

Request* MpiCommunicator::all_gather(const void* in, void* out, const Part* out_parts, const Call& call) {
  return &start(Collective::all_gather, call, [&](Offer& offer) {
    check_parts("out_parts", out, out_parts, size());
    check_gather_input(in, out, out_parts, rank(), size());
    offer.in = static_cast<const char*>(in);
    offer.out = static_cast<char*>(out);
    offer.out_parts = out_parts;
  });
}

Request* MpiCommunicator::all_to_all(const void* in, const Part* in_parts, void* out, const Part* out_parts, const Call& call) {
  return &start(Collective::all_to_all, call, [&](Offer& offer) {
    check_parts("in_parts", in, in_parts, size());
    check_parts("out_parts", out, out_parts, size());
    check_apart(in, in_parts, out, out_parts, size());
    offer.in = static_cast<const char*>(in);
    offer.in_parts = in_parts;
    offer.out = static_cast<char*>(out);
    offer.out_parts = out_parts;
  });
}

Request* MpiCommunicator::broadcast(Tensor& io, int root, const Call& call) {
  return &start(Collective::broadcast, call, [&](Offer& offer) {
    check_root(root, size());
    const Elements elements = check_tensor(kName, "io", io);
    bring(offer, io, elements);
    offer.root = root;
    offer.in = offer.out = elements.data;
  });
}

void MpiCommunicator::barrier(const Call& call) {
  engine_->wait(start(Collective::barrier, call, [](Offer&) {}), -1);
}

std::unique_ptr<Communicator> MpiCommunicator::split(int color, int key) {
  const auto ranks = static_cast<size_t>(size());
  std::vector<Seat> seats(ranks);
  std::vector<Part> parts(ranks);
  for (size_t r = 0; r < ranks; ++r) parts[r] = {static_cast<int64_t>(r * sizeof(Seat)), static_cast<int64_t>(sizeof(Seat))};
  seats[static_cast<size_t>(rank())] = {color, key};
  Operation& operation = start(Collective::split, Call(), [&](Offer& offer) {
    offer.out = reinterpret_cast<char*>(seats.data());
    offer.in = offer.out + parts[static_cast<size_t>(rank())].offset;
    offer.out_parts = parts.data();
  });
  const uint64_t sequence = operation.sequence;
  engine_->wait(operation, -1);
  if (color < 0) return nullptr;
  std::vector<int> members;
  for (int r = 0; r < size(); ++r)
    if (seats[static_cast<size_t>(r)].color == color) members.push_back(r);
  std::stable_sort(members.begin(), members.end(),
                   [&](int a, int b) { return seats[static_cast<size_t>(a)].key < seats[static_cast<size_t>(b)].key; });
  const auto own = std::find(members.begin(), members.end(), rank()) - members.begin();
  for (int& member : members) member = context_->peer(member);
  Context& child = engine_->open(child_of(context_->id, sequence, color), static_cast<int>(own), std::move(members));
  return std::unique_ptr<Communicator>(new MpiCommunicator(engine_, child));
}

Operation& MpiCommunicator::own(Request* request) const {
  auto* operation = static_cast<Operation*>(request);
  if (operation == nullptr || operation->context != context_)
    throw Error(Code::invalid_argument, "the request is not one of this communicator");
  return *operation;
}

bool MpiCommunicator::test(Request* request) { return engine_->test(own(request)); }
void MpiCommunicator::wait(Request* request, int64_t timeout_ns) { engine_->wait(own(request), timeout_ns); }
void MpiCommunicator::abort(std::string_view reason) { engine_->abort(*context_, reason); }
uint64_t MpiCommunicator::machine() const { return mpi::machine(); }

}  // namespace onebit::mpi
