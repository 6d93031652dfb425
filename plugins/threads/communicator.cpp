// SPDX-License-Identifier: Apache-2.0
// Each collective: check what this rank brings, and post it.
#include "communicator.hpp"

#include "meeting.hpp"
#include "onebit/collectives/collective_arguments.hpp"
#include "onebit/collectives/limits.hpp"
#include "world.hpp"

namespace onebit::threads {
namespace {

constexpr const char* kName = "threads";

void bring(Offer& offer, const Tensor& tensor, const Elements& elements) {
  offer.dtype = tensor.dtype;
  offer.count = elements.count;
  offer.bytes = elements.bytes;
}

}  // namespace

Slice<const onebit_schema> ThreadsCommunicator::options() {
  static const onebit_schema schema[] = {
      timeout_option(), stall_option(),
      integer_option("machines", "1", 1, 1e6,
                     "number of machines to simulate, to try exchange.topology = \"hierarchical\" in one process")};
  return {schema, std::size(schema)};
}

ThreadsCommunicator::ThreadsCommunicator(const Services&, const Options& options, const Rendezvous& rendezvous)
    : stall_ns_(Limits::of(options).stall_ns), seat_(meet(rendezvous, Limits::of(options).timeout_ns)) {
  machine_ = static_cast<uint64_t>(rank() * options.integer("machines") / size());
}

ThreadsCommunicator::ThreadsCommunicator(Seat seat, int64_t stall_ns, uint64_t machine)
    : stall_ns_(stall_ns), machine_(machine), seat_(std::move(seat)) {}

int ThreadsCommunicator::size() const { return seat_.world().size(); }

// A call that this rank can't make counts as its part in the operation, or the other ranks would wait for it.
template <class F>
Post* ThreadsCommunicator::start(Kind kind, const Call& call, F&& fill) {
  Offer offer;
  offer.kind = kind;
  offer.tag = call.tag;
  offer.by_stall = call.timeout_ns < 0;
  offer.timeout_ns = offer.by_stall ? stall_ns_ : call.timeout_ns;
  try {
    check_call(kName, call);
    fill(offer);
  } catch (const Error& why) {
    seat_.world().refuse(rank(), kind, why);
    throw;
  }
  return seat_.world().post(rank(), offer);
}

Request* ThreadsCommunicator::all_reduce(const Tensor& in, Tensor& out, ReduceOp op, const Call& call) {
  return start(Kind::all_reduce, call, [&](Offer& offer) {
    check_reduction(kName, op, in.dtype);
    const Elements source = check_tensor(kName, "in", in);
    bring(offer, in, source);
    offer.reduce = op;
    offer.in = source.data;
    offer.out = check_same_shape(kName, in, source, out).data;
  });
}

Request* ThreadsCommunicator::all_gather(const void* in, void* out, const Part* out_parts, const Call& call) {
  return start(Kind::all_gather, call, [&](Offer& offer) {
    check_parts("out_parts", out, out_parts, size());
    check_gather_input(in, out, out_parts, rank(), size());
    offer.in = static_cast<const char*>(in);
    offer.out = static_cast<char*>(out);
    offer.out_parts = out_parts;
  });
}

Request* ThreadsCommunicator::all_to_all(const void* in, const Part* in_parts, void* out, const Part* out_parts,
                                         const Call& call) {
  return start(Kind::all_to_all, call, [&](Offer& offer) {
    check_parts("in_parts", in, in_parts, size());
    check_parts("out_parts", out, out_parts, size());
    check_apart(in, in_parts, out, out_parts, size());
    offer.in = static_cast<const char*>(in);
    offer.in_parts = in_parts;
    offer.out = static_cast<char*>(out);
    offer.out_parts = out_parts;
  });
}

Request* ThreadsCommunicator::broadcast(Tensor& io, int root, const Call& call) {
  return start(Kind::broadcast, call, [&](Offer& offer) {
    check_root(root, size());
    const Elements elements = check_tensor(kName, "io", io);
    bring(offer, io, elements);
    offer.root = root;
    offer.in = offer.out = elements.data;
  });
}

void ThreadsCommunicator::barrier(const Call& call) {
  seat_.world().wait(*start(Kind::barrier, call, [](Offer&) {}), -1);
}

std::unique_ptr<Communicator> ThreadsCommunicator::split(int color, int key) {
  Post* post = start(Kind::split, Call(), [&](Offer& offer) {
    offer.color = color;
    offer.key = key;
  });
  Seat seat = seat_.world().wait(*post, -1);
  if (!seat) return nullptr;
  return std::make_unique<ThreadsCommunicator>(std::move(seat), stall_ns_, machine_);
}

Post& ThreadsCommunicator::own(Request* request) const {
  Post* post = static_cast<Post*>(request);
  if (post == nullptr || post->operation->world != &seat_.world() || post->rank != rank())
    throw Error(Code::invalid_argument, "the request is not one of this communicator");
  return *post;
}

bool ThreadsCommunicator::test(Request* request) { return seat_.world().test(own(request)); }
void ThreadsCommunicator::wait(Request* request, int64_t timeout_ns) { seat_.world().wait(own(request), timeout_ns); }
void ThreadsCommunicator::abort(std::string_view reason) { seat_.world().abort(rank(), reason); }

}  // namespace onebit::threads
