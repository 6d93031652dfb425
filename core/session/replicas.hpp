// SPDX-License-Identifier: Apache-2.0
// Replicas: the parameters, which are the same on every rank: sent from rank 0 at the start, and compared when asked.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "device/buffer.hpp"
#include "device/device.hpp"
#include "device/memory_claims.hpp"
#include "exchange/masters.hpp"
#include "exchange/metered_communicator.hpp"
#include "onebit/session.hpp"
#include "session/agreement.hpp"

namespace onebit {

class Replicas {
 public:
  // host: the same ranks, for memory of the host. The meter's device: whose memory the parameters are in; NULL: the CPU's.
  Replicas(std::vector<Parameter> parameters, MeteredCommunicator& communicator, Communicator& host, MemoryMeter& meter);

  // `data` of each is fp32: of one of 16 bits, its masters.
  const std::vector<Parameter>& parameters() const { return parameters_; }
  const Masters& masters() const { return masters_; }
  const std::vector<int64_t>& elements() const { return elements_; }
  // From now on, until it ends, their memory is this session's. Throws Error(invalid_argument) where it is not on the device,
  // or another parameter's.
  void claim();
  void give_up() { claims_.release(); }
  // Answers which parameters were handed over with other memory than before; follow makes that theirs.
  const std::vector<size_t>& moved(const ModelGradients& handed);
  void follow(const ModelGradients& handed);  // on the device: settle it before their memory changes again
  // Of names, shapes, types and orders in memory: what must be equal before anything is sent.
  uint64_t model_hash() const;
  std::vector<Fact> model_facts() const;
  uint64_t hash() const;
  // Collective.
  void broadcast();
  // Collective. Throws Error(state_mismatch) that names the first tensor that differs, and on which rank. why: goes behind it.
  void verify(int64_t step, const std::string& why = "");

 private:
  uint64_t hash_of(size_t tensor, uint64_t seed) const;
  onebit_device where() const { return device_ == nullptr ? onebit_device{ONEBIT_DEVICE_CPU, 0} : device_->where(); }

  std::vector<Parameter> parameters_;
  std::vector<int64_t> elements_;
  std::vector<uint64_t> tensor_hashes_, all_hashes_;
  MeteredCommunicator& communicator_;
  Communicator& host_;
  Device* device_;
  Masters masters_;
  MemoryClaims claims_;
  std::vector<size_t> moved_;
};

}  // namespace onebit
