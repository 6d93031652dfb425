// SPDX-License-Identifier: Apache-2.0
// Session: construction, the order of a step, and what it can tell. The arithmetic is the optimizer's, the rounds are the
// exchange's.
#include "onebit/session.hpp"

#include <cfloat>
#include <cmath>
#include <utility>

#include "onebit/number_text.hpp"
#include "process/float_environment.hpp"
#include "session/session_impl.hpp"

namespace onebit {

Session::Session(const Registry& registry, const Configuration& configuration, const onebit_rendezvous& rendezvous,
                 std::vector<Parameter> parameters)
    : impl_([&] {
        const FloatEnvironment environment;
        return std::make_unique<Impl>(registry, configuration, rendezvous, std::move(parameters));
      }()) {
  impl_->guarded([&] { impl_->start(); });
}
// In a fork nothing of it can be freed: threads are not there, and peers, streams and files are the first process's.
Session::~Session() {
  // Reachable, so no leak to a leak checker. A fork without memory may end here.
  static auto& left_alone = *new std::vector<Impl*>;  // NOLINT(bugprone-unhandled-exception-at-new)
  if (impl_ && impl_->process != ::getpid()) left_alone.push_back(impl_.release());
}
Session::Session(Session&&) noexcept = default;

StepReport Session::step(const std::vector<const float*>& gradients, void* stream) {
  impl_->require_not_begun("step() with gradients");
  return impl_->guarded([&] { return impl_->step(gradients, stream); });
}
StepReport Session::step(const ModelGradients& gradients, void* stream) {
  impl_->require_not_begun("step() with gradients");
  return impl_->guarded([&] { return impl_->step(impl_->follow(gradients, stream), stream); });
}
void Session::begin(void* stream) {
  impl_->require_not_begun("begin()");
  impl_->guarded([&] { impl_->begin(stream); });
}
void Session::begin(const ModelGradients& parameters, void* stream) {
  impl_->require_not_begun("begin()");
  impl_->guarded([&] {
    (void)impl_->follow(parameters, stream);
    impl_->begin(stream);
  });
}
void Session::ready(size_t parameter, const float* gradient, std::shared_ptr<const void> memory, void* stream) {
  impl_->ready(parameter, gradient, std::move(memory), stream);
}
bool Session::begun() const { return impl_->begun; }
void Session::on_step(std::function<void*()> announce) {
  if (announce && impl_->announce)
    throw Error(Code::invalid_argument, "the gradients of this session are announced by somebody else already (on_step())");
  impl_->announce = std::move(announce);
}
StepReport Session::step() {
  return impl_->guarded([&] { return impl_->finish(); });
}
StepReport Session::settle() {
  impl_->require_not_begun("settle()");
  return impl_->guarded([&] {
    impl_->settle();
    return impl_->report;
  });
}

int Session::rank() const { return impl_->communicator.rank(); }
int Session::size() const { return impl_->communicator.size(); }
int64_t Session::next_step() const {
  impl_->settled();
  return impl_->next_step;
}
double Session::learning_rate() const { return impl_->groups.front().learning_rate; }
// Does not settle: another thread may want it, to abort what is under way.
Communicator& Session::communicator() {
  impl_->require_own_process();
  return impl_->host_side();
}
Traffic Session::traffic() const {
  impl_->settled();
  return impl_->traffic();
}
Timings Session::timings() const {
  impl_->require_not_begun("timings()");
  return impl_->all_timings();
}
Footprint Session::footprint() const {
  impl_->require_not_begun("footprint()");
  return impl_->footprint();
}
uint64_t Session::parameter_hash() const {
  impl_->settled();
  return impl_->replicas.hash();
}

void Session::set_next_step(int64_t number) {
  if (number < 1)
    throw Error(Code::invalid_argument, "steps are numbered from 1, but the next was set to " + std::to_string(number));
  impl_->settled();
  const FloatEnvironment environment;
  impl_->require_before_freeze(number);
  impl_->next_step = number;
}
void Session::set_learning_rate_factor(double value) {
  const FloatEnvironment environment;
  impl_->require_not_begun("set_learning_rate_factor()");
  impl_->set_learning_rate_factor(value);
}
void Session::Impl::set_learning_rate_factor(double value) {
  if (!std::isfinite(value)) throw Error(Code::invalid_argument, "the factor of the learning rates must be finite");
  for (const Group& group : configured)
    if (!(std::fabs(group.learning_rate * value) <= FLT_MAX))
      throw Error(Code::invalid_argument, "a learning rate of " + number_text(group.learning_rate) + " times the factor " +
                                              number_text(value) + " is beyond fp32");
  learning_rate_factor = value;
  for (size_t g = 0; g < groups.size(); ++g) groups[g].learning_rate = configured[g].learning_rate * value;
}
std::vector<double> Session::learning_rates() const {
  std::vector<double> rates;
  for (const Group& group : impl_->groups) rates.push_back(group.learning_rate);
  return rates;
}
void Session::set_learning_rates(const std::vector<double>& rates) {
  const FloatEnvironment environment;
  impl_->require_not_begun("set_learning_rates()");
  std::vector<Group>& groups = impl_->groups;
  if (rates.size() != groups.size())
    throw Error(Code::invalid_argument, "there are " + std::to_string(rates.size()) + " learning rates; expected " +
                                            std::to_string(groups.size()) +
                                            ": the optimizer's own, and one for each [[optimizer.group]]");
  for (const double rate : rates)
    if (!(std::fabs(rate) <= FLT_MAX))
      throw Error(Code::invalid_argument, "a learning rate of " + number_text(rate) + " is not finite, or beyond fp32");
  for (size_t g = 0; g < groups.size(); ++g) groups[g].learning_rate = rates[g];
}
void Session::request_sync() {
  impl_->settled();  // else the commit of a step that is still open would take it for its own
  impl_->sync_requested = true;
}
void Session::set_gradient_scale(double value) {
  const FloatEnvironment environment;
  impl_->require_not_begun("set_gradient_scale()");
  if (!(std::fabs(value) <= FLT_MAX) || (value != 0 && std::fabs(value) < FLT_MIN))
    throw Error(Code::invalid_argument, "the gradient scale must be finite, and within fp32's range");
  impl_->gradient_scale = value;
}

Session::AtAnchor::AtAnchor(Session& session)
    : impl_((session.impl_->settled(), session.impl_->apart && !session.impl_->at_anchor ? session.impl_.get() : nullptr)) {
  if (impl_ == nullptr) return;
  impl_->swap_anchor();
  impl_->at_anchor = true;
}
Session::AtAnchor::~AtAnchor() {
  if (impl_ == nullptr) return;
  impl_->at_anchor = false;
  impl_->swap_anchor();
}

uint64_t Footprint::held() const {
  uint64_t total = masters + worker_error + server_error + retained;
  for (const StateBytes& s : state) total += s.bytes;
  return total;
}

}  // namespace onebit
