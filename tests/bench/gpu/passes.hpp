// SPDX-License-Identifier: Apache-2.0
// An optimizer for CUDA and one tensor, with all that a session would have for it on the device, called as the exchange calls
// it, pass by pass. A step's mean is its own message.
#pragma once

#include <memory>
#include <string>

#include "bench.hpp"
#include "cut.hpp"
#include "exchange/metered_communicator.hpp"
#include "exchange/state_store.hpp"
#include "onebit/optimizer.hpp"
#include "session/device_step.hpp"

namespace onebit::gpu_bench {

class Passes {
 public:
  // After so many whole steps the next one begins: what is timed are its passes.
  Passes(Bench& bench, int64_t elements, const std::string& name, const std::string& options, Calls calls, int steps);

  // Seconds.
  double open();  // the pass over the gradients, and the agreement
  double produce();
  double consume();
  double combine();
  double apply();

 private:
  void begin();
  void finish();
  void write(const TileRange& range, onebit_tile tile) const;
  onebit_tile tile_of(const Bucket& bucket, const TileRange& range) const;
  template <class F>
  void each_tile(F&& f) const;

  Bench& bench_;
  std::unique_ptr<Compressor> compressor_;
  std::unique_ptr<Optimizer> optimizer_;
  MeteredCommunicator communicator_;
  Cut cut_;
  Buffer parameters_, gradients_, messages_, previous_;
  int64_t shape_, stride_ = 1;
  onebit_tensor tensor_;
  onebit_tensor_info info_;
  StateStore state_;
  std::unique_ptr<DeviceStep> on_device_;
  const std::vector<Group> groups_ = {{1e-6, 0.01}};
  Stopwatch stopwatch_;
  // of the step that has begun
  int64_t number_ = 0;
  Step now_{};
  Plan plan_;
  Opening opening_{};
};

}  // namespace onebit::gpu_bench
