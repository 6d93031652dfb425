// SPDX-License-Identifier: Apache-2.0
// Each collective: check what this rank brings, and post it.
#include "communicator.hpp"

#include "meeting.hpp"
#include "onebit/collectives/collective_arguments.hpp"
#include "onebit/cuda.hpp"

namespace onebit::nccl {
namespace {

constexpr const char* kName = "nccl";

void bring(Operation& operation, const Tensor& tensor, const Elements& elements) {
  operation.signature.dtype = tensor.dtype;
  operation.signature.count = elements.count;
  operation.bytes = elements.bytes;
}

}  // namespace

Slice<const onebit_schema> NcclCommunicator::options() {
  static const onebit_schema schema[] = {
      timeout_option(), stall_option(),
      text_option("library", "\"\"", "", "file of the NCCL library; \"\": the one that is loaded already, else libnccl.so.2"),
      text_option("address", "\"\"", "",
                  "IP address at which the other ranks reach rank 0, to agree on collectives; \"\": any of its machine's")};
  return {schema, std::size(schema)};
}

void NcclCommunicator::probe() {
  cuda::probe();
  (void)nccl::library("");
}

NcclCommunicator::NcclCommunicator(const Services& services, const Options& options, const Rendezvous& rendezvous)
    : limits_(Limits::of(options)),
      address_(options.text("address")),
      library_(nccl::library(std::string(options.text("library")))),
      engine_(std::make_unique<Engine>(library_, meet(rendezvous, address_, limits_.timeout_ns), limits_)) {
  services.log(LogLevel::info, kName,
               "NCCL " + version_text(library_.version) + " (" + library_.file + "), rank " + std::to_string(rank()) + " of " +
                   std::to_string(size()) + " on CUDA device " + std::to_string(engine_->device()));
}

NcclCommunicator::NcclCommunicator(const Library& library, Connection connection, std::string address, const Limits& limits)
    : limits_(limits),
      address_(std::move(address)),
      library_(library),
      engine_(std::make_unique<Engine>(library, std::move(connection), limits)) {}

template <class F>
Request* NcclCommunicator::start(Collective kind, const Call& call, F&& fill) {
  return &engine_->post(kind, call, [&](Operation& operation) {
    if (call.stream != nullptr &&
        (call.stream->device.type != ONEBIT_DEVICE_CUDA || call.stream->device.id != engine_->device()))
      throw Error(Code::invalid_argument, "the call's stream is not one of CUDA device " + std::to_string(engine_->device()) +
                                              ", where this communicator was made");
    fill(operation);
  });
}

// The tensor in words that checks of host memory understand: they look at its shape alone.
Tensor NcclCommunicator::as_host(const char* name, const Tensor& tensor) const {
  if (tensor.device.type != ONEBIT_DEVICE_CUDA || tensor.device.id != engine_->device())
    throw Error(Code::unsupported, std::string(name) + " is not in memory of CUDA device " + std::to_string(engine_->device()) +
                                       ", where this communicator was made");
  Tensor view = tensor;
  view.device = {ONEBIT_DEVICE_CPU, 0};
  return view;
}

Request* NcclCommunicator::all_reduce(const Tensor& in, Tensor& out, ReduceOp op, const Call& call) {
  return start(Collective::all_reduce, call, [&](Operation& operation) {
    check_reduction(kName, op, in.dtype);
    const Tensor from = as_host("in", in), to = as_host("out", out);
    const Elements source = check_tensor(kName, "in", from);
    bring(operation, in, source);
    operation.signature.reduce = op;
    operation.in = source.data;
    operation.out = check_same_shape(kName, from, source, to).data;
  });
}

Request* NcclCommunicator::all_gather(const void* in, void* out, const Part* out_parts, const Call& call) {
  return start(Collective::all_gather, call, [&](Operation& operation) {
    check_parts("out_parts", out, out_parts, size());
    check_gather_input(in, out, out_parts, rank(), size());
    operation.in = static_cast<const char*>(in);
    operation.out = static_cast<char*>(out);
    operation.out_parts.assign(out_parts, out_parts + size());
  });
}

Request* NcclCommunicator::all_to_all(const void* in, const Part* in_parts, void* out, const Part* out_parts,
                                      const Call& call) {
  return start(Collective::all_to_all, call, [&](Operation& operation) {
    check_parts("in_parts", in, in_parts, size());
    check_parts("out_parts", out, out_parts, size());
    check_apart(in, in_parts, out, out_parts, size());
    operation.in = static_cast<const char*>(in);
    operation.in_parts.assign(in_parts, in_parts + size());
    operation.out = static_cast<char*>(out);
    operation.out_parts.assign(out_parts, out_parts + size());
  });
}

Request* NcclCommunicator::broadcast(Tensor& io, int root, const Call& call) {
  return start(Collective::broadcast, call, [&](Operation& operation) {
    check_root(root, size());
    const Tensor view = as_host("io", io);
    const Elements elements = check_tensor(kName, "io", view);
    bring(operation, io, elements);
    operation.signature.root = root;
    operation.in = operation.out = elements.data;
  });
}

void NcclCommunicator::barrier(const Call& call) { engine_->exchange(Collective::barrier, call); }

std::unique_ptr<Communicator> NcclCommunicator::split(int color, int key) {
  const OnDevice on(engine_->device());
  Connection part = divide(*engine_, color, key, address_, limits_.timeout_ns);
  if (part.size == 0) return nullptr;
  return std::make_unique<NcclCommunicator>(library_, std::move(part), address_, limits_);
}

Operation& NcclCommunicator::own(Request* request) const {
  auto* operation = static_cast<Operation*>(request);
  if (operation == nullptr || operation->engine != engine_.get())
    throw Error(Code::invalid_argument, "the request is not one of this communicator");
  return *operation;
}

bool NcclCommunicator::test(Request* request) { return engine_->test(own(request)); }
void NcclCommunicator::wait(Request* request, int64_t timeout_ns) { engine_->wait(own(request), timeout_ns); }
void NcclCommunicator::abort(std::string_view reason) { engine_->abort(reason); }

}  // namespace onebit::nccl
