// SPDX-License-Identifier: Apache-2.0
// How operations come to NCCL: in the order of their numbers, by the caller's thread or by the issuer.
#include "engine.hpp"
#include "operation_title.hpp"

namespace onebit::nccl {

// The oldest that NCCL has not seen; one between hosts keeps those behind it waiting, too.
Operation* Engine::next_to_issue() {
  for (Operation* operation : current_)
    if (operation->state == State::waiting) return operation;
  return nullptr;
}

bool Engine::can_issue() {
  const Operation* next = next_to_issue();
  return !issuing_ && next != nullptr && next->on_device && next->cleared && failure_of(*next) == nullptr;
}

void Engine::run_issuer() {
  Lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return stopping_ || can_issue(); });
    if (stopping_) return;
    issue(lock, *next_to_issue());
  }
}

void Engine::issue(Lock& lock, Operation& operation) {
  issuing_ = true;
  lock.unlock();
  std::optional<Error> wrong;
  try {
    const OnDevice on(device());
    mover_.issue(operation);
  } catch (const Error& e) {
    wrong = e;
  } catch (const std::exception& e) {
    wrong = Error(Code::internal, e.what());
  }
  lock.lock();
  issuing_ = false;
  if (wrong) {
    fail_here(wrong->code(),
              title(operation.signature.kind, operation.sequence) + " on rank " + std::to_string(rank_) + ": " + wrong->what());
  } else {
    operation.state = State::issued;
  }
  changed_.notify_all();
  if (asleep_) wake();
}

}  // namespace onebit::nccl
