// SPDX-License-Identifier: Apache-2.0
// Session: one rank's part of a training run. The embedder keeps the model, the data and the loop; the session broadcasts the
// parameters from rank 0 at the start, and each step() turns this rank's gradients into the same update on all ranks.
//
//   onebit::Registry registry(logger);
//   registry.load(manifest);
//   onebit::Configuration configuration(registry, manifest);
//   onebit::Session session(registry, configuration, rendezvous.at(rank), parameters);
//   for (...) { compute gradients; session.step(gradients); }
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "onebit/abi.h"
#include "onebit/checkpoint.hpp"
#include "onebit/communicator.hpp"
#include "onebit/configuration.hpp"
#include "onebit/cost.hpp"
#include "onebit/parameter.hpp"
#include "onebit/registry.hpp"
#include "onebit/timings.hpp"

namespace onebit {

struct StepReport {
  int64_t number = 0;         // this step's; a skipped step's number is used again
  bool skipped = false;       // a gradient on some rank can't be used (not finite, or above 2^55): nothing was changed
  bool compressed = false;    // this step had a compressed round, and the model has tensors that are compressed in it
  bool local = false;         // this step had no round: this rank went on by itself
  double gradient_norm = 0;   // sqrt(mean over ranks of the squared local norms); 0 unless session.clip_norm is set
  double gradient_scale = 1;  // what this rank's gradients were multiplied by
  int64_t absent = 0;         // tensors that no rank had a gradient of: left as they were (in a local step: this rank had none)
  int64_t frozen_at = 0;      // the step after which the optimizer keeps its variance, but for refreshes; 0: not yet
  int64_t unseen = 0;         // elements without a variance then: they had had no gradient, or one whose square is 0
  // Which share of this rank's preconditioned gradients was cut at optimizer.clamp: of a sample, of the last 64 steps or so.
  double clamped_share = 0;
};

// Bytes this rank handed to the communicator for other ranks, and the steps they belong to. All bytes of a step that has a
// compressed round are compressed_bytes, also those of a dense round beside it (optimizer.refresh). What was sent of a step
// before ranks found that they must skip it (session.overlap) is other_bytes; on CUDA, where a skipped step is sent whole, it
// counts as if it had not been skipped.
struct Traffic {
  uint64_t dense_bytes = 0, compressed_bytes = 0, agreement_bytes = 0, other_bytes = 0;
  int sharers = 1;           // ranks of a machine, which share what it sends, with "hierarchical"; 1 with "flat"
  uint64_t local_bytes = 0;  // of rounds, inside a machine: counted apart where exchange.topology is "hierarchical"
  int64_t dense_steps = 0, compressed_steps = 0, local_steps = 0, skipped_steps = 0;
  // Elements that compressed rounds compress; the others travel as fp32: tensors that are exempt (optimizer.dense), have fewer
  // elements than exchange.dense_below, or would be larger compressed. Where there are none, such rounds count as dense.
  int64_t compressed_parameters = 0;
  // Over the network.
  uint64_t total() const { return dense_bytes + compressed_bytes + agreement_bytes + other_bytes; }
};

// Bytes of memory that the host holds for this session on this rank.
struct StateBytes {
  std::string name;
  uint64_t bytes = 0;
};
struct Footprint {
  std::vector<StateBytes> state;  // declared by the optimizer, by name; released state is gone from the list
  uint64_t masters = 0;           // of parameters of 16 bits
  uint64_t worker_error = 0, server_error = 0, retained = 0;
  uint64_t exchange_buffers = 0;  // payloads under way, tile scratch
  uint64_t snapshot = 0;          // of the CPU, for saves that do not wait; in neither of the sums below
  uint64_t peak = 0;              // the most that was held at once, all of the above
  uint64_t held() const;          // state + masters + errors + retained
};

class Session {
  struct Impl;

 public:
  // Collective: returns when every rank of the rendezvous has called it with the same configuration and tensors. With
  // session.device = "cuda", what the embedder has given other streams than the legacy default one is done before: it reads
  // the parameters. Throws
  // Error(invalid_argument) by both names where two parameters share memory, in this session or with another that lives.
  // The configuration is used during the call only. The session keeps what it needs of the registry, which may go first; so may
  // the rendezvous, unless the communicator is one that uses it later (no built-in one does), and MPI and CUDA. It may be
  // static. In a fork of the process it can't be used, and is not freed.
  Session(const Registry& registry, const Configuration& configuration, const onebit_rendezvous& rendezvous,
          std::vector<Parameter> parameters);
  ~Session();
  Session(Session&&) noexcept;

  // Collective. gradients[i] belongs to parameters[i]: fp32 in the order of its memory, read-only, or NULL: this rank has no
  // gradient of it. Where other ranks have one it counts as zeros; what no rank has one of is left as it is, as torch leaves a
  // parameter whose grad is None: no weight decay, no change of momentum or variance, and its bias correction does not count
  // the step. In a local step a rank goes by its own gradients.
  // Throws Error; after that the session is unusable on every rank, its communicator has been aborted. One reason is that
  // session.max_skipped steps in a row were skipped: the error names the rank, the tensor and the first of these steps.
  //
  // With session.device = "cuda" the host does not wait for the device, except once, in the first step that begins before its
  // gradients are there. stream: the embedder's cudaStream_t, in which gradients
  // have been computed and parameters will be used, NULL the legacy default stream; work that it is given after step() waits
  // for the step. What depends on other ranks (skipped, gradient_norm, gradient_scale) is not known yet when step() returns;
  // settle() waits for the last step and answers its full report, and throws what went wrong in it. Whatever asks a session for
  // its state settles first, and so does the next step. On the CPU, settle() answers what step() did.
  StepReport step(const std::vector<const float*>& gradients, void* stream = nullptr);
  // The same, and first every parameter is compared with what the session knows: name, shape, order in memory, device, address.
  // One that is elsewhere now is followed; its new values must be the same on all ranks, or the step ends with an error that
  // names it. Another name, shape, type, order or device is an error that names it, and so is another object at another
  // address.
  StepReport step(const ModelGradients& gradients, void* stream = nullptr);
  StepReport settle();

  // A step in parts, by which gradients travel while others are still being computed (session.overlap):
  //
  //   session.begin();
  //   for each parameter, in any order, from any thread:  session.ready(index, gradient);
  //   session.step();
  //
  // gradient: as for step(gradients); it stays as it is until step() returns, on CUDA as seen from the stream of the step, and
  // the session keeps `memory` as long (until settle(), where the gradient came in another stream). What is not announced, this
  // rank has no gradient of. step() waits for the rest of the exchange, and then the step is the same, to the bit, as by
  // step(gradients). Between begin() and step() a thread of the session runs the exchange: nothing else may be asked of the
  // session, and no collective run on its communicator; what is asked all the same throws Error(invalid_argument), and the step
  // goes on. Where that cannot be (clip_norm, one rank, one bucket, hierarchical topology, scales of whole buckets), the
  // exchange begins in step(), and with several ranks the log says so once. Collective as step(gradients) is: all ranks begin a
  // step, or none. Errors are step()'s. An exception thrown between begin() and step() that is not from here leaves the step
  // begun: end the session then, which ends it on all ranks.
  void begin(void* stream = nullptr);
  // Compares the parameters with what the session knows, as step(ModelGradients) does; gradients in it are not looked at.
  void begin(const ModelGradients& parameters, void* stream = nullptr);
  // Throws Error(invalid_argument) that names the parameter where it was announced before in this step: the step can't be
  // finished then.
  // stream: with session.device = "cuda", the one in which the gradient is being computed; NULL: that of begin(), so the legacy
  // default stream beside another is cudaStreamLegacy here.
  void ready(size_t parameter, const float* gradient, std::shared_ptr<const void> memory = nullptr, void* stream = nullptr);
  StepReport step();
  bool begun() const;  // between begin() and step(); any thread
  // From now on step() calls this first, which may begin the step, announces what has not been, and answers the stream of
  // step(gradients, stream), where begin() had that of a gradient; NULL: nothing. For whoever is told of gradients by hooks.
  // Throws Error(invalid_argument) where somebody else's is there.
  void on_step(std::function<void*()> announce);

  int rank() const;
  int size() const;
  // The number of the next step, 1 at first. Every rank must set the same; the next step with a round compares it. Throws
  // Error(invalid_argument) beyond a step at which the options have the optimizer freeze, where this session has not frozen,
  // nor loaded what had: what it would freeze is no average of the steps before.
  int64_t next_step() const;
  void set_next_step(int64_t number);
  // Of the first group, now.
  double learning_rate() const;
  // From the next step on every group's learning rate is the configured one times this; 1 at first. Every rank must set the
  // same; a step with a round compares it, that of local steps since the last one, too.
  void set_learning_rate_factor(double value);
  // Of each group: the optimizer's own, which is for tensors of no group, then those of [[optimizer.group]] in their order.
  std::vector<double> learning_rates() const;
  // From the next step on, instead of the configured ones times a factor: one for each group. Every rank must set the same; a
  // step with a round compares them. Checkpoints do not have them: set them again after load().
  void set_learning_rates(const std::vector<double>& rates);
  // The next step brings all ranks together, where the optimizer would go on locally (0/1 Adam). Every rank must ask for it,
  // before the same step; the next step that they take together compares it.
  void request_sync();

  // While it lives, between steps, the parameters are those that all ranks share; without it, after a local step, they are this
  // rank's own. What is evaluated and saved. The steps that follow go on as if it had not been; a step while it lives is
  // refused.
  class AtAnchor {
   public:
    explicit AtAnchor(Session& session);
    ~AtAnchor();
    AtAnchor(const AtAnchor&) = delete;
    AtAnchor& operator=(const AtAnchor&) = delete;

   private:
    Impl* impl_;  // NULL: there is nothing to change
  };
  // This rank's gradients are multiplied by this, besides clipping: 1/k when k batches were accumulated. 1 at first. Ranks may
  // differ, for they may have accumulated different numbers of batches: what is averaged and clipped is what each makes of its
  // own.
  void set_gradient_scale(double value);

  // Collective, between steps. Saves everything that decides the next steps into a folder below root, which all ranks see:
  // parameters, the optimizer's state, errors, the step number. Throws the same Error(unavailable) on every rank, naming rank
  // and file, where the system refuses to write: checkpoints that were there stay, and the session goes on.
  SaveReport save(const std::filesystem::path& root, const SaveOptions& options = {});
  // Collective. Waits for a save that did not wait, and commits it; throws what went wrong in it, as save() does.
  SaveReport finish_save();
  // Collective, between steps. folder: one checkpoint, or a root, of which it takes what `latest` names or, where that is
  // damaged, the newest that is whole. With as many ranks as saved it, the steps that follow are bit for bit those that would
  // have followed then. Throws Error(unavailable) where there is none at all, Error(invalid_argument) where none is whole, or
  // the one that is does not fit: another model, optimizer or codec. Until then nothing has been changed.
  LoadReport load(const std::filesystem::path& folder, const LoadOptions& options = {});

  // For the embedder's own collectives, between steps, on memory of the CPU. Counted as other_bytes.
  Communicator& communicator();
  Traffic traffic() const;
  Timings timings() const;
  Footprint footprint() const;
  // A hash of every parameter, where the last step found it: equal on all ranks after every step but a local one, and under
  // AtAnchor.
  uint64_t parameter_hash() const;

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace onebit
