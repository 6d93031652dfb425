// SPDX-License-Identifier: Apache-2.0
// The parts of a session, and the order of a step.
#pragma once

#include <unistd.h>

#include <atomic>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "device/buffer.hpp"
#include "device/device.hpp"
#include "device/gradient_presence.hpp"
#include "device/gradient_scanner.hpp"
#include "exchange/exchange.hpp"
#include "exchange/host_communicator.hpp"
#include "exchange/layout.hpp"
#include "exchange/machines.hpp"
#include "exchange/metered_communicator.hpp"
#include "exchange/state_store.hpp"
#include "exchange/unseen_elements.hpp"
#include "exchange/workers.hpp"
#include "onebit/session.hpp"
#include "process/float_environment.hpp"
#include "saving/parts.hpp"
#include "saving/saver.hpp"
#include "session/agreement.hpp"
#include "session/device_step.hpp"
#include "session/replicas.hpp"
#include "session/step_thread.hpp"
#include "telemetry/lap.hpp"
#include "telemetry/trace.hpp"

namespace onebit {

struct Session::Impl final : private Arrivals {
  Impl(const Registry& registry, const Configuration& configuration, const onebit_rendezvous& rendezvous,
       std::vector<Parameter> parameters);

  ~Impl() {                      // before the exchange frees buffers that other ranks may still be reading
    if (runner) runner->stop();  // which looks at `runner` until then
    if (device) device->abandon();
    machines.close();
    communicator.close();
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  void start();
  // Answers which parameters have moved; then goes on where they are now, and answers the bare gradients.
  const std::vector<size_t>& compare(const ModelGradients& gradients);
  const std::vector<const float*>& follow(const ModelGradients& gradients, void* stream);
  void follow_tensor(size_t tensor);
  void compare_moved();
  StepReport step(const std::vector<const float*>& gradients, void* stream);
  // A step in parts: it begins, its gradients come, it is finished.
  void begin(void* stream);
  void ready(size_t tensor, const float* gradient, std::shared_ptr<const void> memory, void* stream);
  StepReport finish();
  template <class F>
  StepReport timed(F&& rest);  // and its metrics
  void open_step(void* stream);
  void take_step(const std::vector<const float*>& gradients);
  void step_on_cpu();
  void step_on_device();
  void leave_device(const int32_t* skip);
  // On the thread of a step that began ahead.
  void start_ahead();
  void tell_why_not();
  Ballots vote_begun();
  void run_ahead();
  void order_buckets();
  void wait_for(size_t bucket) override;
  void take_in(const Bucket& bucket);
  [[noreturn]] void tell_begun_apart();
  // Of a device, behind those of the gradients.
  size_t event_of_begin() const { return layout.elements.size(); }
  size_t event_of_step() const { return layout.elements.size() + 1; }
  const Opening* agree(size_t scanned) override;
  // Runs f in the default floating-point mode; when it throws, the communicator is aborted, so that no other rank waits for
  // this one, and the session ends.
  template <class F>
  auto guarded(F&& f);
  // Throws Error(unavailable) in a fork of the process that made the session.
  void require_own_process() const;

  // The steps of a step, in order.
  void check(const std::vector<const float*>& gradients);
  void point_at(const std::vector<const float*>& gradients);
  void point_at(size_t tensor, const float* gradient);
  void require_not_begun(const char* what) const;
  void end_begun();
  Ballot said() const;
  Terms terms() const;
  Step step_now();
  void scan(int64_t first, int64_t count);
  Ballot scanned();
  Ballots vote(const Ballot& own);
  Verdict agreed();
  void work(const Opening& with, const Totals& whole, bool tiles);
  void second_pass(const Totals& whole, bool tiles);
  // What the ballots come to, for the host: errors, warnings, the report, the commit.
  void conclude();
  void settle();   // concludes the last step, where that was left open
  void settled();  // the same, guarded: for whoever asks for a state
  // Tensors that no rank has a gradient of.
  void find_absent();
  void show_absent(const uint64_t* absent);  // NULL: none is
  void tell_absent();
  void freeze();
  void tell_missed() const;
  void tell_vanished(uint64_t now);
  void tell_skipped(const Verdict& verdict);
  std::string fault_of(const Verdict& verdict) const;
  // Compressed rounds in which no tensor is compressed are dense ones, and told as such.
  bool compresses() const { return layout.coded > 0 || !layout.codes(); }
  void commit();
  uint64_t plan_hash() const;
  std::vector<Fact> facts_of_step() const;
  [[noreturn]] void tell_apart();
  // An error of a collective as the step tells it: with the step, and the bucket that was waited for, if one was.
  Error in_step(const Error& e) const;
  void swap_anchor();  // the parameters change places with the anchor

  SessionParts parts();
  Progress progress() const;
  void go_on(const Progress& from);
  Agreed<SaveReport> save(const std::filesystem::path& root, const SaveOptions& options);
  void note_saved();  // whether all ranks have written what is being saved
  Agreed<LoadReport> load(const std::filesystem::path& folder, const LoadOptions& options);
  void require_before_freeze(int64_t number) const;
  void set_learning_rate_factor(double value);

  Communicator& host_side() { return staged ? static_cast<Communicator&>(*staged) : communicator; }
  Totals totals() const;
  Traffic traffic() const;
  Timings all_timings() const;
  Footprint footprint() const;

  const pid_t process = ::getpid();
  const Registry registry;  // the host's, which may be gone before the session is
  // Of all sessions of the process; see metrics.hpp.
  struct {
    int32_t steps, skipped, vanished, step_seconds, wait_seconds;
  } const metrics;
  const bool overlap;
  const double clip_norm;
  const int64_t verify_every, max_skipped;
  const uint64_t configuration_hash;
  const std::vector<TensorRole> roles;  // by tensor

  std::unique_ptr<Device> device;  // NULL: the CPU
  MemoryMeter meter;
  std::unique_ptr<Optimizer> optimizer;
  std::unique_ptr<Compressor> compressor;
  MeteredCommunicator communicator;
  std::unique_ptr<HostCommunicator> staged;  // over it, for memory of the host; NULL: it takes that itself
  std::unique_ptr<Trace> trace;              // NULL: none
  Agreement agreement;
  Machines machines;
  Replicas replicas;
  StateStore state;
  Layout layout;
  Workers workers;
  std::unique_ptr<DeviceStep> on_device;  // NULL: the CPU
  GradientScanner scanner;
  std::unique_ptr<Exchange> exchange;
  std::unique_ptr<StepThread> runner;  // NULL until a step has begun ahead
  GradientPresence given;              // which tensors have one

  const std::vector<Group> configured;
  std::vector<Group> groups;  // as configured, times the factor that was set last
  double learning_rate_factor = 1, gradient_scale = 1;
  int64_t next_step = 1;
  int64_t frozen_at = 0;                                         // as in StepReport
  UnseenElements unseen{layout};                                 // without a variance then
  const int clamped_slot = state.model_number("clamped_share");  // the optimizer tells of it there; -1: it does not
  RunFacts facts;                                                // for checkpoints
  Saver saver;
  // of the last step
  bool open = false;                // not concluded yet
  std::atomic<bool> begun = false;  // and its gradients are still to come ...
  bool is_ahead = false;            // ... while it ran, or runs
  std::mutex arriving;              // guards what ready() writes
  std::vector<char> came;           // by tensor, of a step that is begun
  std::vector<const float*> announced;
  std::vector<std::shared_ptr<const void>> kept;  // until the step is done
  std::vector<void*> made_in;                     // by tensor, the stream of its gradient
  std::function<void*()> announce;                // what is left; empty: nobody does
  std::string fault;                              // of an announcement; "": none
  bool closed = false;                            // step() has been called: nothing more is announced
  bool ordered = false;                           // buckets have the order in which gradients come
  bool told_why_not = false;                      // steps do not run ahead
  void* embedder = nullptr;                       // the stream
  Step now{};
  float scale_of_step = 1;
  Opening opening{};
  double blocked = 0;           // in step(), seconds, until a step that ran ahead was done
  double between = 0;           // begin() and step(), seconds so far
  std::optional<Lap> backward;  // which is what the embedder does there
  Terms terms_of_step;
  std::vector<Group> groups_of_step;
  bool sync_of_step = false;
  Ballots ballots;
  // of local steps since the last round: how many, and a hash of what ranks must have in common
  int64_t local_steps = 0;
  uint64_t local_hash = 0;
  StepReport report;
  bool missed_local = false;
  bool sync_requested = false;
  bool apart = false;      // the last step was a local one: ranks have parameters of their own
  bool at_anchor = false;  // and for now the parameters are those that all share
  bool moved = false;      // parameters have other memory than at the last agreement: are they the same on all ranks?
  int64_t skipped_in_a_row = 0;
  std::string first_skipped;          // of these, the first, and what was wrong
  int64_t steps_without = 0;          // any gradient, in a row
  uint64_t vanished = 0;              // elements, so far, that dense rounds have rounded to zero
  Plan plan;                          // of the last step
  Timings timings;                    // of scans, agreements and checks; the rest is the exchange's
  Traffic counts;                     // of steps; bytes are the communicator's
  Buffer no_gradient;                 // zeros, where the model gives none
  std::vector<const float*> bare;     // the gradients of a step that were handed over with their parameters
  std::vector<const float*> pointed;  // the gradients that the blocks point at
  std::string ended;                  // why the session can't go on; "" while it can; written under `arriving`
};

// What checkpoints say of a run. Both live as long as the answer.
RunFacts facts_of_run(const Registry& registry, const Configuration& configuration, const Layout& layout);

template <class F>
auto Session::Impl::guarded(F&& f) {
  require_own_process();
  if (!ended.empty()) throw Error(Code::aborted, "this session ended with an earlier error: " + ended);
  const FloatEnvironment environment;
  try {
    return f();
  } catch (const std::exception& e) {
    {
      const std::lock_guard lock(arriving);
      ended = e.what();
    }
    try {
      communicator.abort(ended);
    } catch (const Error&) {
      // the first error is the one to tell; the peers' own timeouts end their waits
    }
    end_begun();  // nobody reads gradients any more, or writes
    replicas.give_up();
    throw;
  }
}

template <class F>
StepReport Session::Impl::timed(F&& rest) {
  const double waited = begun && is_ahead ? 0 : all_timings().wait;
  double seconds = 0;
  blocked = 0;
  {
    const Lap lap(seconds, {trace.get(), "step"});
    try {
      rest();
    } catch (const Error& e) {
      throw in_step(e);
    }
  }
  registry.metrics().record(metrics.step_seconds, seconds);
  registry.metrics().record(metrics.wait_seconds, is_ahead ? blocked : all_timings().wait - waited);
  return report;
}

inline void Session::Impl::settled() {
  require_not_begun("a call that needs the step's outcome");
  if (open && device) guarded([&] { settle(); });
}

}  // namespace onebit
