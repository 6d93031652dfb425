// SPDX-License-Identifier: Apache-2.0
// Cases of ranks that do not mean the same collective: every rank gets an error, and none hangs.
#pragma once

#include "onebit/conformance/communicator/data.hpp"

namespace onebit::conformance {

// What f throws; Unmet when it does not.
template <class F>
Error error_of(const char* what, F&& f) {
  try {
    f();
  } catch (const Error& e) {
    return e;
  }
  throw Unmet(std::string(what) + ": an error was expected, but there was none");
}
inline void require_text(const Error& error, const std::string& part) {
  require(std::string(error.what()).find(part) != std::string::npos, "'" + part + "' is missing in the error: " + error.what());
}
inline std::string rank_text(int rank) { return "rank " + std::to_string(rank); }

// The last rank does something else than the others: each gets an error that names the operation and the last rank.
template <class F>
void check_mismatch(Rank& self, const char* what, const char* operation, F&& issue) {
  Rank part = self->split(0, self->rank());
  const bool odd = part->rank() == part->size() - 1;
  if (part->size() > 1) {
    const Error error = error_of(what, [&] { issue(*part, odd); });
    require(error.code() == Code::state_mismatch || error.code() == Code::invalid_argument,
            std::string(what) + ": another code: " + error.what());
    require_text(error, operation);
    require_text(error, rank_text(part->size() - 1));
  }
  self->barrier(Call());
}

inline void mismatched_operation(Rank& self) {
  check_mismatch(self, "another operation", "all_reduce", [](Communicator& part, bool odd) {
    Vector<float> io(std::vector<float>(8, 1));
    part.wait(odd ? part.broadcast(io.tensor, 0, Call()) : part.all_reduce(io.tensor, io.tensor, ReduceOp::sum, Call()));
  });
}
inline void mismatched_tag(Rank& self) {
  check_mismatch(self, "another tag", "barrier", [](Communicator& part, bool odd) { part.barrier(Call(odd ? 8 : 7)); });
}
inline void mismatched_root(Rank& self) {
  check_mismatch(self, "another root", "broadcast", [](Communicator& part, bool odd) {
    Vector<float> io(std::vector<float>(8, 1));
    part.wait(part.broadcast(io.tensor, odd ? 1 : 0, Call()));
  });
}
inline void mismatched_reduction(Rank& self) {
  check_mismatch(self, "another reduction", "all_reduce", [](Communicator& part, bool odd) {
    Vector<float> io(std::vector<float>(8, 1));
    part.wait(part.all_reduce(io.tensor, io.tensor, odd ? ReduceOp::max : ReduceOp::sum, Call()));
  });
  check_mismatch(self, "another element type", "all_reduce", [](Communicator& part, bool odd) {
    Vector<float> real(std::vector<float>(8, 1));
    Vector<int32_t> integer(std::vector<int32_t>(8, 1));
    Tensor& io = odd ? integer.tensor : real.tensor;
    part.wait(part.all_reduce(io, io, ReduceOp::sum, Call()));
  });
}
inline void mismatched_size(Rank& self) {
  check_mismatch(self, "another size", "all_reduce", [](Communicator& part, bool odd) {
    Vector<float> io(std::vector<float>(odd ? 9 : 8, 1));
    part.wait(part.all_reduce(io.tensor, io.tensor, ReduceOp::sum, Call()));
  });
}
inline void mismatched_parts(Rank& self) {
  check_mismatch(self, "another part to gather", "all_gather", [](Communicator& part, bool odd) {
    Parts out(part.size(), [odd](int) { return odd ? 17 : 16; });
    std::vector<uint8_t> in(20);
    part.wait(part.all_gather(in.data(), out.bytes.data(), out.parts.data(), Call()));
  });
  check_mismatch(self, "another part to exchange", "all_to_all", [](Communicator& part, bool odd) {
    Parts in(part.size(), [odd](int) { return odd ? 17 : 16; });
    Parts out(part.size(), [](int) { return 16; });
    part.wait(part.all_to_all(in.bytes.data(), in.parts.data(), out.bytes.data(), out.parts.data(), Call()));
  });
}

// One rank's arguments are wrong in themselves: it is told at once, and the others don't wait for it.
inline void refused_call(Rank& self) {
  const auto with = [&](Part wrong, const char* expected) {
    check_mismatch(self, "a wrong part", "all_gather", [&](Communicator& part, bool odd) {
      Parts out(part.size(), [](int) { return 16; });
      if (odd) out.parts[0] = wrong;
      std::vector<uint8_t> in(16);
      try {
        part.wait(part.all_gather(in.data(), out.bytes.data(), out.parts.data(), Call()));
      } catch (const Error& e) {
        require_text(e, expected);
        if (!odd) throw;
        throw Error(e.code(), std::string("all_gather of ") + rank_text(part.rank()) + ": " + e.what());
      }
    });
  };
  with({0, -4}, "negative size");
  with({-4, 16}, "negative offset");
}

inline void unsupported_reduction(Rank& self) {
  const auto issue = [&](uint8_t bits, int32_t op) {
    Rank part = self->split(0, 0);
    std::vector<float> values(8, 1);
    Vector<float> io(values);
    io.tensor.dtype.bits = bits;
    const Error error = error_of(
        "an unknown reduction", [&] { part->wait(part->all_reduce(io.tensor, io.tensor, static_cast<ReduceOp>(op), Call())); });
    require(error.code() == Code::unsupported, std::string("another code: ") + error.what());
    self->barrier(Call());
  };
  issue(32, 99);
  issue(24, ONEBIT_SUM);
}

}  // namespace onebit::conformance
