// SPDX-License-Identifier: Apache-2.0
// A session and its steps.
#include "onebit/session.hpp"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "c_api/handles.hpp"
#include "launch/ranks.hpp"
#include "onebit/rendezvous.hpp"

namespace onebit::c_api {
namespace {

void require_count(const onebit_session& session, size_t count, const char* of) {
  if (count != session.parameters)
    refuse(std::string(of) + ": " + std::to_string(count) + " were given; expected " + std::to_string(session.parameters) +
           ", one for each parameter");
}

const float* gradient_at(const void* const* gradients, size_t i) {
  const void* const gradient = gradients[i];
  if (reinterpret_cast<uintptr_t>(gradient) % alignof(float) != 0)
    refuse("gradient " + std::to_string(i) + " is not aligned to its elements, of fp32");
  return static_cast<const float*>(gradient);
}

// Parameters as they are now, and their gradients, where there are any.
ModelGradients model_of(const onebit_parameter* const* parameters, const void* const* gradients, size_t count) {
  std::vector<Gradient> model;
  std::vector<Parameter> own = parameters_of(parameters, count);
  for (size_t i = 0; i < count; ++i)
    model.push_back({gradients == nullptr ? nullptr : gradient_at(gradients, i), std::move(own[i]), {}});
  return ModelGradients(std::move(model));
}

void conclude(const SessionCall& session, const StepReport& report, onebit_step_report* out) {
  session.handle().last = report;
  tell(report, out);
}

// Where a caller has none: the communicator finds the ranks, or there is one.
onebit_rendezvous no_rendezvous_for(const Configuration& configuration, std::unique_ptr<LocalRendezvous>& alone) {
  if ((configuration.communicator.component->capabilities & ONEBIT_CAPABILITY_PROCESSES) != 0) return host::no_rendezvous();
  alone = std::make_unique<LocalRendezvous>(1);
  return alone->at(0);
}

// The thread of a step that has begun runs collectives of its own.
void require_not_begun(const SessionCall& session, const char* what) {
  if (session->begun())
    refuse(std::string(what) + " came between onebit_session_begin and onebit_session_finish: finish the step first");
}

ReduceOp operation(int32_t op) {
  if (op < ONEBIT_SUM || op > ONEBIT_MAX)
    refuse("there is no operation " + std::to_string(op) + "; expected ONEBIT_SUM, ONEBIT_AVG, ONEBIT_MIN or ONEBIT_MAX");
  return static_cast<ReduceOp>(op);
}

Tensor bytes_of(void* bytes, int64_t& count, int64_t& stride, onebit_dtype type) {
  return {bytes, {ONEBIT_DEVICE_CPU, 0}, 1, type, &count, &stride, 0};
}

}  // namespace
}  // namespace onebit::c_api

using namespace onebit;
using namespace onebit::c_api;

extern "C" {

onebit_code onebit_session_create(const onebit_registry* registry, const onebit_configuration* configuration,
                                  const onebit_rendezvous* rendezvous, const onebit_parameter* const* parameters, size_t count,
                                  onebit_session** out, onebit_error* err) {
  return call(err, [&] {
    onebit_session*& made = result(out);
    std::vector<Parameter> own = parameters_of(parameters, count);
    const auto& plugins = required(registry, "registry").registry;
    const Configuration& chosen = required(configuration, "configuration").configuration;
    std::unique_ptr<LocalRendezvous> alone;
    const onebit_rendezvous place = rendezvous == nullptr ? no_rendezvous_for(chosen, alone) : *rendezvous;
    Session session(*plugins, chosen, place, std::move(own));
    Communicator& communicator = session.communicator();
    made = new onebit_session{plugins, std::move(session), count, communicator, ::getpid(), {}, {}, {}, {}};
  });
}
void onebit_session_free(onebit_session* session) {
  if (session == nullptr) return;
  if (session->process != ::getpid()) return;
  session->calls.lock();
  session->calls.unlock();
  delete session;
}
onebit_code onebit_session_abort(onebit_session* session, const char* reason, onebit_error* err) {
  return call(err, [&] {
    onebit_session& of = required(session, "session");
    const std::string why = text(reason, "reason");
    if (of.process != ::getpid()) refuse("the session is that of the process that this one was forked from");
    of.communicator.abort(why);
  });
}
onebit_code onebit_session_ranks(onebit_session* session, int32_t* rank, int32_t* size, onebit_error* err) {
  return call(err, [&] {
    const Session& of = required(session, "session").session;
    required(rank, "rank") = of.rank();
    required(size, "size") = of.size();
  });
}

onebit_code onebit_session_step(onebit_session* session, const onebit_parameter* const* parameters,
                                const void* const* gradients, size_t count, void* stream, onebit_step_report* report,
                                onebit_error* err) {
  return call(err, [&] {
    const SessionCall one(session);
    require_count(one.handle(), count, "gradients");
    check_report(report);
    if (count > 0) required(gradients, "gradients");
    if (parameters != nullptr) return conclude(one, one->step(model_of(parameters, gradients, count), stream), report);
    std::vector<const float*> places(count);
    for (size_t i = 0; i < count; ++i) places[i] = gradient_at(gradients, i);
    conclude(one, one->step(places, stream), report);
  });
}
onebit_code onebit_session_begin(onebit_session* session, const onebit_parameter* const* parameters, size_t count, void* stream,
                                 onebit_error* err) {
  return call(err, [&] {
    const SessionCall one(session);
    if (parameters == nullptr) return one->begin(stream);
    require_count(one.handle(), count, "parameters");
    one->begin(model_of(parameters, nullptr, count), stream);
  });
}
onebit_code onebit_session_ready(onebit_session* session, const int64_t* which, const void* const* gradients, size_t count,
                                 void* stream, onebit_error* err) {
  return call(err, [&] {
    onebit_session& of = required(session, "session");
    if (count == 0) return;
    required(which, "which");
    required(gradients, "gradients");
    for (size_t i = 0; i < count; ++i) gradient_at(gradients, i);  // all of them, before the first is announced
    for (size_t i = 0; i < count; ++i)
      if (which[i] < 0 || static_cast<size_t>(which[i]) >= of.parameters)
        refuse("which[" + std::to_string(i) + "] is " + std::to_string(which[i]) + "; expected 0 to " +
               std::to_string(static_cast<int64_t>(of.parameters) - 1));
    for (size_t i = 0; i < count; ++i)
      of.session.ready(static_cast<size_t>(which[i]), gradient_at(gradients, i), nullptr, stream);
  });
}
onebit_code onebit_session_finish(onebit_session* session, onebit_step_report* report, onebit_error* err) {
  return call(err, [&] {
    const SessionCall one(session);
    check_report(report);
    if (!one->begun()) refuse("there is no step to finish: onebit_session_begin was not called before");
    conclude(one, one->step(), report);
  });
}
onebit_code onebit_session_settle(onebit_session* session, onebit_step_report* report, onebit_error* err) {
  return call(err, [&] {
    const SessionCall one(session);
    check_report(report);
    conclude(one, one->settle(), report);
  });
}

onebit_code onebit_session_next_step(onebit_session* session, int64_t* number, onebit_error* err) {
  return call(err, [&] { required(number, "number") = SessionCall(session)->next_step(); });
}
onebit_code onebit_session_set_next_step(onebit_session* session, int64_t number, onebit_error* err) {
  return call(err, [&] { SessionCall(session)->set_next_step(number); });
}
onebit_code onebit_session_learning_rates(onebit_session* session, double* rates, size_t* count, onebit_error* err) {
  return call(err, [&] {
    const std::vector<double> all = SessionCall(session)->learning_rates();
    const size_t room = std::exchange(required(count, "count"), all.size());
    if (room > 0) required(rates, "rates");
    std::copy_n(all.begin(), std::min(room, all.size()), rates);
  });
}
onebit_code onebit_session_set_learning_rates(onebit_session* session, const double* rates, size_t count, onebit_error* err) {
  return call(err, [&] {
    const SessionCall one(session);
    if (count > 0) required(rates, "rates");
    one->set_learning_rates({rates, rates + count});
  });
}
onebit_code onebit_session_set_gradient_scale(onebit_session* session, double scale, onebit_error* err) {
  return call(err, [&] { SessionCall(session)->set_gradient_scale(scale); });
}
onebit_code onebit_session_request_sync(onebit_session* session, onebit_error* err) {
  return call(err, [&] { SessionCall(session)->request_sync(); });
}
onebit_code onebit_session_at_anchor(onebit_session* session, int32_t on, onebit_error* err) {
  return call(err, [&] {
    const SessionCall one(session);
    auto& anchor = one.handle().anchor;
    if (on != 0 && anchor) refuse("the session is at its anchor already");
    if (on == 0 && !anchor) refuse("the session is not at its anchor");
    if (on != 0)
      anchor.emplace(one.handle().session);
    else
      anchor.reset();
  });
}
onebit_code onebit_session_parameter_hash(onebit_session* session, uint64_t* hash, onebit_error* err) {
  return call(err, [&] { required(hash, "hash") = SessionCall(session)->parameter_hash(); });
}

onebit_code onebit_session_broadcast(onebit_session* session, void* bytes, size_t size, int32_t root, onebit_error* err) {
  return call(err, [&] {
    const SessionCall one(session);
    require_not_begun(one, "broadcast");
    if (root < 0 || root >= one->size())
      refuse("there is no rank " + std::to_string(root) + "; expected 0 to " + std::to_string(one->size() - 1));
    if (size == 0) return;
    auto count = static_cast<int64_t>(size);
    int64_t stride = 1;
    Tensor io = bytes_of(&required(static_cast<char*>(bytes), "bytes"), count, stride, {ONEBIT_DTYPE_UINT, 8, 1});
    Communicator& all = one->communicator();
    all.wait(all.broadcast(io, root, Call()));
  });
}
onebit_code onebit_session_all_reduce(onebit_session* session, double* values, size_t count, int32_t op, onebit_error* err) {
  return call(err, [&] {
    const SessionCall one(session);
    require_not_begun(one, "all_reduce");
    const ReduceOp what = operation(op);
    if (count == 0) return;
    auto length = static_cast<int64_t>(count);
    int64_t stride = 1;
    Tensor io = bytes_of(&required(values, "values"), length, stride, {ONEBIT_DTYPE_FLOAT, 64, 1});
    Communicator& all = one->communicator();
    all.wait(all.all_reduce(io, io, what, Call()));
  });
}
}
