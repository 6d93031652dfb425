// SPDX-License-Identifier: Apache-2.0
// Two ranks that are threads, and every collective of a communicator between them.
#pragma once

#include <array>

#include "driving.hpp"

namespace onebit::abi {

class DrivenRank {
 public:
  DrivenRank(const Registry& registry, const std::string& name, const onebit_rendezvous& rendezvous) {
    const ComponentInfo& component = registry.find(Kind::communicator, name);
    communicator_ = registry.make_communicator(component, options_of(component), rendezvous);
    rank_ = communicator_->rank();
  }
  // Answers what was wrong; checks of doctest are for one thread.
  std::string run() {
    std::string wrong = communicator_->size() == 2 ? "" : "size ";
    if (all_reduce() != std::array{12.0F, 4.0F}) wrong += "all_reduce ";
    if (all_gather() != std::array{10, 11}) wrong += "all_gather ";
    if (all_to_all() != std::array{rank_, 100 + rank_}) wrong += "all_to_all ";
    if (broadcast() != 6) wrong += "broadcast ";
    communicator_->barrier(Call());
    if (!splits()) wrong += "split ";
    (void)communicator_->machine();
    communicator_->barrier(Call());
    return wrong;
  }

 private:
  struct Line {  // a tensor of one dimension
    Line(float* data, int64_t elements) : count(elements) {
      tensor = {data, {ONEBIT_DEVICE_CPU, 0}, 1, {ONEBIT_DTYPE_FLOAT, 32, 1}, &count, &one, 0};
    }
    int64_t count, one = 1;
    Tensor tensor{};
  };

  std::array<float, 2> all_reduce() {
    std::array<float, 2> mine = {rank_ == 0 ? 2.0F : 10.0F, 2}, sum{};
    Line in(mine.data(), 2), out(sum.data(), 2);
    communicator_->wait(communicator_->all_reduce(in.tensor, out.tensor, ReduceOp::sum, Call(1)));
    return sum;
  }
  std::array<int, 2> all_gather() {
    const int mine = 10 + rank_;
    std::array<int, 2> all{};
    communicator_->wait(communicator_->all_gather(&mine, all.data(), parts, Call(2)));
    return all;
  }
  std::array<int, 2> all_to_all() {
    const std::array<int, 2> mine = {100 * rank_, 100 * rank_ + 1};
    std::array<int, 2> theirs{};
    Request* const request = communicator_->all_to_all(mine.data(), parts, theirs.data(), parts, Call(3));
    while (!communicator_->test(request)) std::this_thread::yield();
    communicator_->wait(request);
    return theirs;
  }
  float broadcast() {
    float value = rank_ == 1 ? 6.0F : 0.0F;
    Line io(&value, 1);
    communicator_->wait(communicator_->broadcast(io.tensor, 1, Call(4)));
    return value;
  }
  bool splits() {
    const auto turned = communicator_->split(7, -rank_);
    const bool right = turned != nullptr && turned->size() == 2 && turned->rank() == 1 - rank_;
    return communicator_->split(rank_ == 0 ? -1 : 0, 0) == nullptr ? right && rank_ == 0 : right && rank_ == 1;
  }

  static constexpr Part parts[] = {{0, sizeof(int)}, {sizeof(int), sizeof(int)}};
  std::unique_ptr<Communicator> communicator_;
  int rank_ = 0;
};

inline void drive_ranks(const Registry& registry, const std::string& name) {
  LocalRendezvous rendezvous(2);
  std::array<std::string, 2> wrong;
  std::vector<std::thread> ranks;
  for (size_t rank = 0; rank < 2; ++rank)
    ranks.emplace_back([&, rank] {
      try {
        wrong[rank] = DrivenRank(registry, name, rendezvous.at(static_cast<int>(rank))).run();
      } catch (const std::exception& e) {
        wrong[rank] = e.what();
      }
    });
  for (std::thread& rank : ranks) rank.join();
  CHECK(wrong[0] == "");
  CHECK(wrong[1] == "");
}

}  // namespace onebit::abi
