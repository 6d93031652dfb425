// SPDX-License-Identifier: Apache-2.0
// Communicator: moves bytes between ranks. Collectives are asynchronous; every rank issues the same ones in the same order, and
// the buffers and part arrays of each stay alive and untouched until wait takes its request back.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>

#include "onebit/abi.h"
#include "onebit/error.hpp"
#include "onebit/options.hpp"
#include "onebit/services.hpp"

namespace onebit {

using Part = onebit_part;
using Tensor = onebit_tensor;

enum class ReduceOp : int32_t { sum = ONEBIT_SUM, avg = ONEBIT_AVG, min = ONEBIT_MIN, max = ONEBIT_MAX };

// Besides the data: tag is the same on every rank (a mismatch is an error); timeout < 0 is the communicator's default, 0 none.
struct Call : onebit_call {
  explicit Call(uint64_t tag = 0, int64_t timeout_ns = -1) : onebit_call{sizeof(onebit_call), tag, timeout_ns, nullptr} {}
};

// Where ranks meet before they have a communicator: a key/value store that the host gives.
class Rendezvous {
 public:
  explicit Rendezvous(const onebit_rendezvous* rv) : rv_(rv) {}
  int rank() const { return rv_->rank; }
  int size() const { return rv_->size; }

  void put(std::string_view key, const void* value, size_t size) const {
    onebit_error err = empty_error();
    check(rv_->put(rv_->ctx, str(key), value, size, &err), err);
  }
  // Waits for the key; its value must have exactly `size` bytes. timeout < 0: the host's default; 0: no limit.
  void get(std::string_view key, void* value, size_t size, int64_t timeout_ns = -1) const {
    onebit_error err = empty_error();
    size_t found = 0;
    check(rv_->get(rv_->ctx, str(key), value, size, &found, timeout_ns, &err), err);
    if (found != size) throw Error(Code::state_mismatch, "rendezvous key '" + std::string(key) + "' has another size");
  }

 private:
  static onebit_error empty_error() {
    onebit_error err = {sizeof(onebit_error), 0, ""};
    return err;
  }
  static void check(onebit_code code, const onebit_error& err) {
    if (code != ONEBIT_OK) throw Error(code_of(code), err.message, err.native);
  }
  const onebit_rendezvous* rv_;
};

// A collective under way, owned by its communicator. A communicator derives its own from this.
class Request {
 public:
  Request() = default;
  Request(const Request&) = delete;
  Request& operator=(const Request&) = delete;

 protected:
  ~Request() = default;
};

class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;

  // Adds over ranks 0 to n-1 in this order, so every rank gets the same bits. in and out may be the same tensor.
  virtual Request* all_reduce(const Tensor& in, Tensor& out, ReduceOp op, const Call& call) = 0;
  // Sends out_parts[rank].bytes from in to all; in may be its own place in out.
  virtual Request* all_gather(const void* in, void* out, const Part* out_parts, const Call& call) = 0;
  // in_parts[j] of rank i arrives in out_parts[i] of rank j.
  virtual Request* all_to_all(const void* in, const Part* in_parts, void* out, const Part* out_parts, const Call& call) = 0;
  virtual Request* broadcast(Tensor& io, int root, const Call& call) = 0;
  virtual void barrier(const Call& call) = 0;

  virtual bool test(Request* request) = 0;
  // Takes the request back, unless it throws Code::timeout. timeout as in Call.
  virtual void wait(Request* request, int64_t timeout_ns = -1) = 0;
  // Ranks of one color, ordered by key, become a communicator of their own; a negative color gets none.
  virtual std::unique_ptr<Communicator> split(int color, int key) = 0;
  // Ends all waits on all ranks with Code::aborted and this reason. The one call allowed from any thread.
  virtual void abort(std::string_view reason) = 0;
  // The same number on ranks of one machine, another on others; local.
  virtual uint64_t machine() const { return 0; }
};

}  // namespace onebit
