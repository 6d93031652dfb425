// SPDX-License-Identifier: Apache-2.0
// What moves the bytes: a communicator of NCCL's, on a stream of its own. One thread at a time issues; abort may come in
// between.
#pragma once

#include <atomic>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "library.hpp"
#include "onebit/error.hpp"
#include "operation.hpp"

namespace onebit::nccl {

// Makes the device current for a scope: none is left changed.
class OnDevice {
 public:
  explicit OnDevice(int device);
  ~OnDevice();
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;

 private:
  int before_ = 0;
  bool changed_ = false;
};

class Mover {
 public:
  // On the current device. One rank alone is never connected.
  Mover(const Library& library, int rank, int size);
  ~Mover();
  Mover(const Mover&) = delete;
  Mover& operator=(const Mover&) = delete;

  int device() const { return device_; }
  UniqueId make_id() const;
  // Returns when all ranks have called it. Looks now and then whether it shall go on; `go_on` throws where not.
  void connect(const UniqueId& id, const std::function<void()>& go_on);

  // Gives the operation to the stream, in the order of the caller's.
  void issue(Operation& operation);
  // What NCCL has found out since, if it was an error.
  std::optional<Error> asynchronous_error() const;
  // Ends what is under way, so that no stream is held up. Once; nothing is issued afterwards.
  void abort() noexcept;

 private:
  void all_to_all(const Operation& operation);
  void all_gather(const Operation& operation);
  void all_gather_equal(const Operation& operation, int64_t bytes);
  void all_reduce(const Operation& operation);
  void broadcast(const Operation& operation);
  void send(const char* from, const Part& part, int to);
  void receive(char* to, const Part& part, int from);
  void copy(char* to, int64_t offset, const char* from, const Part& part);
  char* scratch(int64_t bytes);
  void free_scratch() noexcept;
  void check(Result code, const char* call) const;
  Error error_of(Result code, const std::string& call) const;
  template <class F>
  void group(F&& calls);
  template <class F>
  void for_others(F&& f);

  const Library& library_;
  const int rank_, size_;
  int device_ = 0;
  cudaStream_t stream_ = nullptr;
  std::atomic<Comm> comm_{nullptr};
  void* scratch_ = nullptr;
  int64_t scratch_bytes_ = 0;
};

}  // namespace onebit::nccl
