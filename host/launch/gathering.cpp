// SPDX-License-Identifier: Apache-2.0
// Ranks telling each other.
#include "launch/gathering.hpp"

#include <sstream>

namespace onebit::host {
namespace {

// Rank r's bytes lie at r's place in out.
void gather_bytes(Communicator& communicator, const void* own, void* out, const std::vector<Part>& parts) {
  communicator.wait(communicator.all_gather(own, out, parts.data(), Call()));
}

}  // namespace

void sum_over_ranks(Communicator& communicator, std::vector<double>& values) {
  auto count = static_cast<int64_t>(values.size());
  int64_t stride = 1;
  Tensor tensor = {values.data(), {ONEBIT_DEVICE_CPU, 0}, 1, {ONEBIT_DTYPE_FLOAT, 64, 1}, &count, &stride, 0};
  communicator.wait(communicator.all_reduce(tensor, tensor, ReduceOp::sum, Call()));
}

std::vector<uint64_t> numbers_of_ranks(Communicator& communicator, uint64_t own) {
  std::vector<uint64_t> numbers(static_cast<size_t>(communicator.size()));
  constexpr int64_t bytes = sizeof(uint64_t);
  std::vector<Part> parts;
  for (int rank = 0; rank < communicator.size(); ++rank) parts.push_back({rank * bytes, bytes});
  gather_bytes(communicator, &own, numbers.data(), parts);
  return numbers;
}

std::string text_of_first(Communicator& communicator, const std::string& own) {
  std::string text(numbers_of_ranks(communicator, own.size()).front(), '\0');
  std::vector<Part> parts(static_cast<size_t>(communicator.size()), Part{0, 0});
  parts.front().bytes = static_cast<int64_t>(text.size());
  gather_bytes(communicator, own.data(), text.data(), parts);
  return text;
}

void require_same_lines(Communicator& communicator, const std::string& own, const std::string& what) {
  std::istringstream first(text_of_first(communicator, own)), mine(own);
  const std::string rank = "rank " + std::to_string(communicator.rank());
  for (std::string expected, found;;) {
    const bool more = static_cast<bool>(std::getline(first, expected)), own_more = static_cast<bool>(std::getline(mine, found));
    if (!more && !own_more) return;
    if (more != own_more || expected != found)
      throw Error(Code::state_mismatch, rank + " has another " + what + " than rank 0: '" + (own_more ? found : "") +
                                            "' where rank 0 has '" + (more ? expected : "") + "'");
  }
}

void send_to_first(Communicator& communicator, int from, std::vector<float>& values) {
  const auto ranks = static_cast<size_t>(communicator.size());
  const Part whole = {0, static_cast<int64_t>(values.size() * sizeof(float))};
  std::vector<Part> sent(ranks, Part{0, 0}), received(ranks, Part{0, 0});
  if (communicator.rank() == from) sent.front() = whole;
  if (communicator.rank() == 0) received[static_cast<size_t>(from)] = whole;
  float nothing[2] = {};  // what is not sent or not received still has an address
  const void* in = communicator.rank() == from ? values.data() : &nothing[0];
  void* out = communicator.rank() == 0 ? values.data() : &nothing[1];
  communicator.wait(communicator.all_to_all(in, sent.data(), out, received.data(), Call()));
}

}  // namespace onebit::host
