// SPDX-License-Identifier: Apache-2.0
// A sound communicator of processes that has nothing but its rendezvous: every collective goes through the store, rank by rank,
// and is done when it returns. Slow, and good for any ranks that a host can start.
#include <algorithm>
#include <cstring>
#include <iterator>
#include <utility>
#include <vector>

#include "onebit/collectives/reduction.hpp"
#include "onebit/plugin.hpp"

namespace {

using onebit::Call;
using onebit::Part;
using onebit::Request;
using onebit::Tensor;

constexpr int64_t kTimeout = 30'000'000'000;  // ns

size_t bytes_of(const Tensor& tensor) {
  size_t bytes = tensor.dtype.bits / 8U;
  for (int32_t d = 0; d < tensor.ndim; ++d) bytes *= static_cast<size_t>(tensor.shape[d]);
  return bytes;
}
char* data_of(const Tensor& tensor) { return static_cast<char*>(tensor.data) + tensor.byte_offset; }

class Meeting final : public onebit::Communicator {
 public:
  static onebit::Slice<const onebit_schema> options() { return {}; }
  Meeting(const onebit::Services&, const onebit::Options&, const onebit::Rendezvous& rendezvous)
      : rendezvous_(rendezvous), name_("meeting"), rank_(rendezvous.rank()) {
    for (int rank = 0; rank < rendezvous.size(); ++rank) members_.push_back(rank);
  }
  // members: by their ranks at the rendezvous.
  Meeting(const onebit::Rendezvous& rendezvous, std::string name, std::vector<int> members, int rank)
      : rendezvous_(rendezvous), name_(std::move(name)), members_(std::move(members)), rank_(rank) {}

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(members_.size()); }

  Request* all_reduce(const Tensor& in, Tensor& out, onebit::ReduceOp op, const Call&) override {
    const size_t bytes = bytes_of(in);
    begin();
    put(-1, data_of(in), bytes);
    std::vector<std::vector<char>> ins(members_.size(), std::vector<char>(bytes + 1));
    std::vector<const void*> pointers;
    for (int from = 0; from < size(); ++from) {
      char* place = ins[static_cast<size_t>(from)].data();
      get(from, -1, place, bytes);
      pointers.push_back(place);
    }
    void* result = data_of(out);
    const auto count = static_cast<int64_t>(bytes / (in.dtype.bits / 8U));
    onebit::reduce({op, in.dtype, pointers.data(), size(), &result, 1}, 0, count);
    return &done_;
  }
  Request* all_gather(const void* in, void* out, const Part* out_parts, const Call&) override {
    begin();
    put(-1, in, static_cast<size_t>(out_parts[rank_].bytes));
    for (int from = 0; from < size(); ++from) receive(from, -1, out, out_parts[from]);
    return &done_;
  }
  Request* all_to_all(const void* in, const Part* in_parts, void* out, const Part* out_parts, const Call&) override {
    begin();
    for (int to = 0; to < size(); ++to)
      put(to, static_cast<const char*>(in) + in_parts[to].offset, static_cast<size_t>(in_parts[to].bytes));
    for (int from = 0; from < size(); ++from) receive(from, rank_, out, out_parts[from]);
    return &done_;
  }
  Request* broadcast(Tensor& io, int root, const Call&) override {
    begin();
    const auto bytes = [&](int rank) { return rank == root ? bytes_of(io) : 0; };
    put(-1, data_of(io), bytes(rank_));
    for (int from = 0; from < size(); ++from) get(from, -1, data_of(io), bytes(from));
    return &done_;
  }
  void barrier(const Call&) override {
    begin();
    put(-1, nullptr, 0);
    for (int from = 0; from < size(); ++from) get(from, -1, nullptr, 0);
  }

  bool test(Request*) override { return true; }
  void wait(Request*, int64_t) override {}
  std::unique_ptr<Communicator> split(int color, int key) override {
    const std::pair<int, int> mine = {color, key};
    begin();
    put(-1, &mine, sizeof mine);
    std::vector<std::pair<int, int>> chosen;  // key and rank here
    for (int from = 0; from < size(); ++from) {
      std::pair<int, int> other;
      get(from, -1, &other, sizeof other);
      if (other.first == color) chosen.emplace_back(other.second, from);
    }
    if (color < 0) return nullptr;
    std::stable_sort(chosen.begin(), chosen.end());
    std::vector<int> members;
    int place = 0;
    for (const auto& [unused, member] : chosen) {
      if (member == rank_) place = static_cast<int>(members.size());
      members.push_back(members_[static_cast<size_t>(member)]);
    }
    const std::string name = name_ + "/" + std::to_string(number_) + "." + std::to_string(color);
    return std::make_unique<Meeting>(rendezvous_, name, std::move(members), place);
  }
  void abort(std::string_view) override {}  // the others find out by kTimeout, or when rank 0 has left

 private:
  // Each operation hears of every rank: when a rank begins one, all have begun the last, and ended the one before that.
  void begin() {
    for (const std::string& key : before_) rendezvous_.put(key, nullptr, 0);
    before_ = std::exchange(now_, {});
    ++number_;
  }
  std::string key_of(int from, int to) const {
    return name_ + "/" + std::to_string(number_) + "/" + std::to_string(from) + ">" + std::to_string(to);
  }
  // to: -1 for all.
  void put(int to, const void* bytes, size_t count) {
    now_.push_back(key_of(rank_, to));
    rendezvous_.put(now_.back(), bytes, count);
  }
  void get(int from, int to, void* bytes, size_t count) const { rendezvous_.get(key_of(from, to), bytes, count, kTimeout); }
  void receive(int from, int to, void* out, const Part& part) const {
    get(from, to, static_cast<char*>(out) + part.offset, static_cast<size_t>(part.bytes));
  }

  struct Done final : Request {};

  const onebit::Rendezvous rendezvous_;
  const std::string name_;
  std::vector<int> members_;
  const int rank_;
  int64_t number_ = 0;
  std::vector<std::string> before_, now_;  // keys that this rank put, in the last operation and in this one
  Done done_;
};

}  // namespace

ONEBIT_PLUGIN("meeting", "1.0", onebit::component<Meeting>("meeting"))
