// SPDX-License-Identifier: Apache-2.0
// A mean over two ranks that are threads of this process, against the triad of two threads: the exchange by itself, with an
// optimizer whose message is the gradient and whose parameter is the mean.
#include <memory>
#include <thread>
#include <vector>

#include "clock.hpp"
#include "components.hpp"
#include "exchange/exchange.hpp"
#include "onebit/rendezvous.hpp"
#include "row.hpp"

namespace onebit::bench {
namespace {

constexpr int ranks = 2;
constexpr int64_t elements = 16 * mega;

class MeanOptimizer final : public Optimizer {
 public:
  explicit MeanOptimizer(RoundKind kind) : kind_(kind) {}
  void declare(Slice<const TensorInfo* const>, StateDeclarer&) override {}
  void plan(const Step&, const Totals&, Plan& plan) override { plan.add_round(kind_, Of::gradient); }
  void consume(const Step&, int, const Tile& tile) const override {
    for (size_t k = 0; k < tile.block_count; ++k)
      std::copy_n(tile.mean + tile.blocks[k].packed, tile.blocks[k].count, tile.blocks[k].parameter);
  }

 private:
  RoundKind kind_;
};

// One rank.
class Rank {
 public:
  Rank(RoundKind kind, WireType type, const onebit_rendezvous& rendezvous)
      : optimizer_(kind),
        codec_(make_onebit()),
        communicator_(make_threads(rendezvous)),
        gradient_(meter_, elements * sizeof(float)),
        mean_(meter_, elements * sizeof(float)),
        layout_({elements}, options(type)),
        state_(optimizer_, {}),
        workers_(1),
        exchange_({layout_, state_, optimizer_, codec_.get(), communicator_, workers_, meter_}) {
    for (int64_t i = 0; i < elements; ++i)
      gradient_.as<float>()[i] = static_cast<float>((i * 2654435761U >> 8U) % 2000U) / 1000.0F - 0.9995F;
    for (onebit_block& block : layout_.blocks) {
      block.parameter = mean_.as<float>() + block.first;
      block.gradient = gradient_.as<float>() + block.first;
    }
  }
  void mean() {
    const Step step = {sizeof(Step), ++number_, communicator_.rank(), ranks, 0, nullptr, 0, nullptr, nullptr, nullptr};
    Plan plan;
    optimizer_.plan(step, {}, plan);
    const float one = 1;
    exchange_.run(step, plan, {&one});
  }

 private:
  LayoutOptions options(WireType type) {
    LayoutOptions result;
    result.dense_type = type;
    result.rank = communicator_.rank();
    result.ranks = ranks;
    result.payload_size = [this](int64_t count) { return codec_->payload_size(count); };
    return result;
  }

  MemoryMeter meter_;
  MeanOptimizer optimizer_;
  std::unique_ptr<Compressor> codec_;
  MeteredCommunicator communicator_;
  Buffer gradient_, mean_;
  Layout layout_;
  StateStore state_;
  Workers workers_;
  Exchange exchange_;
  int64_t number_ = 0;
};

struct Group {
  Group(RoundKind kind, WireType type) : rendezvous(ranks) {
    std::vector<std::jthread> threads;
    for (int rank = 0; rank < ranks; ++rank)
      threads.emplace_back([this, kind, type, rank] {
        members[rank] = std::make_unique<Rank>(kind, type, rendezvous.at(rank));
        members[rank]->mean();  // touches every page
      });
  }
  LocalRendezvous rendezvous;
  std::unique_ptr<Rank> members[ranks];
};

Maker mean_of(RoundKind kind, WireType type = WireType::fp32) {
  return [kind, type]() -> Work {
    auto group = std::make_shared<Group>(kind, type);
    return [group] { return seconds_on(ranks, [&](int rank) { group->members[rank]->mean(); }); };
  };
}

}  // namespace

void add_mean_rows() {
  add_row({"compressed mean, 2 ranks", ranks * elements, 20,
           "an element and rank: value 4, worker error 4+4, server error (4+4)/2, mean 4", ranks, 0.6},
          mean_of(RoundKind::compressed));
  add_row({"dense mean, 2 ranks", ranks * elements, 28,
           "an element and rank: value 4, payload 4+4, own half of both 4, mean of the half (4+4)/2, gathered half 2+2, mean 4",
           ranks, 0},
          mean_of(RoundKind::dense));
  add_row({"dense mean in fp16, 2 ranks", ranks * elements, 18,
           "an element and rank: value 4, payload 2+2, own half of both 2, mean of the half (2+2)/2, gathered half 1+1, mean 4",
           ranks, 0},
          mean_of(RoundKind::dense, WireType::fp16));
}

}  // namespace onebit::bench
