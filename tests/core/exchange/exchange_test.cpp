// SPDX-License-Identifier: Apache-2.0
// The exchange by itself: the compressed mean against recorded calls of the reference, the identity of error feedback at every
// encode, and dense means in rank order.
#include <doctest/doctest.h>

#include <atomic>
#include <bit>
#include <cmath>
#include <map>
#include <memory>
#include <random>

#include "dtypes/dense_codec.hpp"
#include "dtypes/half_conversion.hpp"
#include "exchange/exchange.hpp"
#include "support/sessions.hpp"
#include "support/trace.hpp"

using namespace onebit;
using namespace onebit::test;

namespace {

// The gradient is the message, and the mean is the parameter: this step's, and the one before.
class MeanOptimizer final : public Optimizer {
 public:
  MeanOptimizer(RoundKind kind, Of of, bool with_previous) : kind_(kind), of_(of), with_previous_(with_previous) {}
  void declare(Slice<const TensorInfo* const>, StateDeclarer&) override {}
  void plan(const Step&, const Totals&, Plan& plan) override {
    plan.add_round(kind_, of_, true);
    plan.previous_in_consume = with_previous_;
  }
  void produce(const Step&, int, const Tile& tile) const override {
    for (size_t k = 0; k < tile.block_count; ++k)
      std::copy_n(tile.blocks[k].gradient, tile.blocks[k].count, tile.message + tile.blocks[k].packed);
  }
  void consume(const Step&, int, const Tile& tile) const override {
    for (size_t k = 0; k < tile.block_count; ++k) {
      const onebit_block& block = tile.blocks[k];
      std::copy_n(tile.mean + block.packed, block.count, block.parameter);
      for (int64_t i = 0; with_previous_ && tile.previous != nullptr && i < block.count; ++i)
        block.parameter[i] += tile.previous[block.packed + i];
    }
  }

 private:
  RoundKind kind_;
  Of of_;
  bool with_previous_;
};

// Passes everything on to a real compressor, and checks at every encode that decoded + new error = value + error, and that the
// error is what the last encode of the block left, in the type that errors are kept in.
class CheckedCompressor final : public Compressor {
 public:
  CheckedCompressor(std::unique_ptr<Compressor> inner, WireType kept_as) : inner_(std::move(inner)), kept_as_(kept_as) {}
  Codec describe() const override { return inner_->describe(); }
  size_t payload_size(int64_t count) const override { return inner_->payload_size(count); }
  void measure(const Batch& b, const float* v, const float* e, double* s) const override { inner_->measure(b, v, e, s); }
  void fold(const Folding& folding, const double* blocks, double* spans) const override {
    inner_->fold(folding, blocks, spans);
  }
  void decode(const Batch& b, const void* p, float w, bool add, float* out) const override {
    inner_->decode(b, p, w, add, out);
  }
  void encode(const Batch& batch, const float* values, const float* errors, float* new_errors, const double* statistics,
              void* payload) const override {
    std::vector<double> wanted;
    for (size_t k = 0; k < batch.piece_count; ++k) check_kept(batch.pieces[k], errors);
    for (size_t k = 0; k < batch.piece_count; ++k)
      for (int64_t i = 0; i < batch.pieces[k].count; ++i) {
        const auto at = static_cast<size_t>(batch.pieces[k].first + i);
        wanted.push_back(static_cast<double>(values[at] + errors[at]));
      }
    inner_->encode(batch, values, errors, new_errors, statistics, payload);
    size_t next = 0;
    for (size_t k = 0; k < batch.piece_count; ++k) {
      const onebit_piece& piece = batch.pieces[k];
      std::vector<float> decoded(static_cast<size_t>(piece.first + piece.count));
      onebit_batch one = batch;
      one.piece_count = 1;
      one.pieces = &piece;
      inner_->decode(one, payload, 1.0F, false, decoded.data());
      for (int64_t i = piece.first; i < piece.first + piece.count; ++i, ++next) {
        const double scale = std::fabs(static_cast<double>(decoded[static_cast<size_t>(i)]));
        const double off =
            std::fabs(static_cast<double>(decoded[static_cast<size_t>(i)]) + static_cast<double>(new_errors[i]) - wanted[next]);
        if (!(off <= std::ldexp(std::fabs(wanted[next]) + scale, -23))) ++violations;
        ++checked;
      }
      left_[piece.key].assign(new_errors + piece.first, new_errors + piece.first + piece.count);
    }
  }
  mutable std::atomic<int64_t> violations{0}, checked{0}, kept{0};

 private:
  void check_kept(const onebit_piece& piece, const float* errors) const {
    std::vector<float>& left = left_[piece.key];
    if (left.empty()) return;
    if (kept_as_ != WireType::fp32) {
      std::vector<uint16_t> halves(left.size());
      to_half(kept_as_, left.data(), 1.0F, piece.count, halves.data());
      from_half(kept_as_, halves.data(), piece.count, 1.0F, false, left.data());
    }
    for (size_t i = 0; i < left.size(); ++i, ++kept)
      if (std::bit_cast<uint32_t>(left[i]) != std::bit_cast<uint32_t>(errors[static_cast<size_t>(piece.first) + i]))
        ++violations;
  }

  mutable std::map<uint64_t, std::vector<float>> left_;  // by key: a rank's own block, or one that it serves
  std::unique_ptr<Compressor> inner_;
  WireType kept_as_;
};

struct Wanted {
  RoundKind kind = RoundKind::dense;
  Of of = Of::message;
  WireType type = WireType::fp32;
  bool with_previous = false;
  WireType errors = WireType::fp32;
};

// One rank's exchange over one or more tensors.
struct Bench {
  Bench(const Wanted& wanted, const std::string& compressor, const onebit_rendezvous& rendezvous, Tensors& tensors,
        int64_t bucket_bytes)
      : configuration(configure("[optimizer]\nplugin = \"adam\"\n[compressor]\nplugin = \"onebit\"\n" + compressor +
                                "\n[communicator]\nplugin = \"threads\"\n")),
        optimizer(wanted.kind, wanted.of, wanted.with_previous),
        codec(plugins().make_compressor(*configuration.compressor.component, configuration.compressor.options), wanted.errors),
        communicator(
            plugins().make_communicator(*configuration.communicator.component, configuration.communicator.options, rendezvous)),
        layout(sizes(tensors), options(bucket_bytes, wanted.type)),
        state(optimizer, {}),
        workers(1),
        exchange(parts(wanted.errors)) {
    for (onebit_block& block : layout.blocks) block.parameter = tensors[static_cast<size_t>(block.tensor)].data() + block.first;
    state.allocate(layout, meter);
  }
  static std::vector<int64_t> sizes(const Tensors& tensors) {
    std::vector<int64_t> result;
    for (const auto& t : tensors) result.push_back(static_cast<int64_t>(t.size()));
    return result;
  }
  ExchangeParts parts(WireType errors) {
    ExchangeParts made = {layout, state, optimizer, &codec, communicator, workers, meter};
    made.error_type = errors;
    return made;
  }
  LayoutOptions options(int64_t bucket_bytes, WireType type) {
    LayoutOptions o;
    o.dense_type = type;
    o.rank = communicator.rank();
    o.ranks = communicator.size();
    o.bucket_bytes = bucket_bytes;
    o.block = codec.describe().block;
    o.span = codec.describe().span;
    o.payload_size = [this](int64_t count) { return codec.payload_size(count); };
    return o;
  }
  void mean(int64_t number, const Tensors& gradients) {
    for (onebit_block& block : layout.blocks)
      block.gradient = gradients[static_cast<size_t>(block.tensor)].data() + block.first;
    const Step step = {sizeof(Step), number, communicator.rank(), communicator.size(), 0, nullptr, 0, nullptr,
                       nullptr,      nullptr};
    const Totals totals = {};
    Plan plan;
    optimizer.plan(step, totals, plan);
    const float one = 1;
    exchange.run(step, plan, {&one});
    exchange.commit(plan);
  }

  MemoryMeter meter;
  Configuration configuration;
  MeanOptimizer optimizer;
  CheckedCompressor codec;
  MeteredCommunicator communicator;
  Layout layout;
  StateStore state;
  Workers workers;
  Exchange exchange;
};

}  // namespace

TEST_CASE("the compressed mean reproduces the reference's recorded calls") {
  const nlohmann::json traces = golden("compressed_mean.json")["cases"];
  REQUIRE(traces.size() == 3);
  for (const nlohmann::json& trace : traces) {
    const int ranks = trace["workers"];
    CAPTURE(ranks);
    const size_t size = trace["numel"];
    LocalRendezvous rendezvous(ranks);
    std::vector<double> worst(static_cast<size_t>(ranks));
    host::run_ranks(ranks, [&](int rank) {
      Tensors tensors = {std::vector<float>(size)};
      Bench bench({RoundKind::compressed}, "scale = \"tensor\"", rendezvous.at(rank), tensors, 25'000'000);
      for (size_t call = 0; call < trace["outputs"].size(); ++call) {
        bench.mean(static_cast<int64_t>(call) + 1, {trace_gradient(static_cast<int>(call) + 1, rank, 0, size)});
        for (size_t i = 0; i < size; ++i) {
          double& own = worst[static_cast<size_t>(rank)];
          own = std::max(own, std::fabs(static_cast<double>(tensors[0][i]) - trace["outputs"][call][i].get<double>()));
        }
      }
    });
    for (const double off : worst) CHECK(off < 1e-6);
  }
}

#ifdef ONEBIT_SANITIZED
constexpr size_t kSeveralBuckets = (1 << 18) + 3;
#else
constexpr size_t kSeveralBuckets = (1 << 20) + 3;
#endif

TEST_CASE("decoded + new error = value + error at every encode, on both sides, and is kept for the next, in fp32 and bf16") {
  for (const WireType errors : {WireType::fp32, WireType::bf16})
    for (const std::string compressor : {"scale = \"block\"", "scale = \"tensor\"", "scale = \"bucket\"", "norm = \"l1\""})
      for (const size_t size : {size_t{1}, size_t{7}, size_t{64}, size_t{1000}, kSeveralBuckets})
        for (const int ranks : {2, 3, 5, 8}) {
          if (size > 1000 && (ranks == 5 || compressor != "scale = \"block\"")) continue;  // the large case once or twice
          CAPTURE(compressor);
          CAPTURE(size);
          CAPTURE(ranks);
          LocalRendezvous rendezvous(ranks);
          std::vector<Tensors> means(static_cast<size_t>(ranks), Tensors{std::vector<float>(size), std::vector<float>(3)});
          std::atomic<int64_t> violations{0}, checked{0}, kept{0}, coded{0};
          host::run_ranks(ranks, [&](int rank) {
            std::mt19937 random(static_cast<unsigned>(rank));
            std::normal_distribution<float> normal(0, 1);
            Bench bench({RoundKind::compressed, Of::message, WireType::fp32, false, errors}, compressor, rendezvous.at(rank),
                        means[static_cast<size_t>(rank)], 300'000);
            for (int64_t step = 1; step <= 3; ++step) {
              Tensors gradients = {std::vector<float>(size), std::vector<float>(3)};
              for (auto& tensor : gradients)
                for (float& g : tensor) g = normal(random) * std::pow(10.0F, 3 * normal(random));
              bench.mean(step, gradients);
            }
            violations += bench.codec.violations;
            checked += bench.codec.checked;
            kept += bench.codec.kept;
            coded = bench.layout.coded;  // small tensors travel as they are where their codes would be larger
          });
          CHECK(violations == 0);
          CHECK(kept == 2 * coded * (ranks + 1));     // all but the first
          CHECK(checked == 3 * coded * (ranks + 1));  // every element: by each worker, and by its server
          CHECK((coded > 0 || size < 64));
          for (const Tensors& mean : means) CHECK(mean == means[0]);
        }
}

TEST_CASE("a dense mean is the sum over ranks in order, divided once, on every rank") {
  for (const int ranks : {1, 2, 3, 7}) {
    const size_t size = 10'001;
    LocalRendezvous rendezvous(ranks);
    std::vector<Tensors> means(static_cast<size_t>(ranks), Tensors{std::vector<float>(size)});
    Tensors inputs;
    std::mt19937 random(5);
    std::normal_distribution<float> normal;
    for (int rank = 0; rank < ranks; ++rank) {
      inputs.emplace_back(size);
      for (float& g : inputs.back()) g = normal(random);
    }
    host::run_ranks(ranks, [&](int rank) {
      Bench bench({RoundKind::dense}, "", rendezvous.at(rank), means[static_cast<size_t>(rank)], 8192);
      bench.mean(1, {inputs[static_cast<size_t>(rank)]});
    });
    for (size_t i = 0; i < size; ++i) {
      float sum = inputs[0][i];
      for (size_t rank = 1; rank < inputs.size(); ++rank) sum += inputs[rank][i];
      if (ranks > 1) sum /= static_cast<float>(ranks);
      for (const Tensors& mean : means) REQUIRE(mean[0][i] == sum);
    }
  }
}

namespace {

// As it will be on the wire, a block at a time.
std::vector<float> rounded(WireType type, std::vector<float> values) {
  constexpr size_t block = 4096;
  const DenseCodec codec(type);
  std::vector<std::byte> payload(codec.payload_size(block));
  for (size_t first = 0; first < values.size(); first += block) {
    const auto count = static_cast<int64_t>(std::min(block, values.size() - first));
    codec.encode_block(values.data() + first, nullptr, nullptr, count, nullptr, payload.data());
    codec.decode_block(payload.data(), count, 1.0F, false, values.data() + first);
  }
  return values;
}

}  // namespace

TEST_CASE("a dense mean in 16 bits: each value rounded, summed in fp32 in rank order, divided, and rounded once") {
  for (const WireType type : {WireType::fp16, WireType::bf16})
    for (const int ranks : {1, 2, 3, 5}) {
      const size_t size = 10'001;  // odd, so that blocks end in two bytes of zeros
      LocalRendezvous rendezvous(ranks);
      std::vector<Tensors> means(static_cast<size_t>(ranks), Tensors{std::vector<float>(size), std::vector<float>(3)});
      std::vector<Tensors> inputs;
      std::mt19937 random(6);
      std::normal_distribution<float> normal;
      for (int rank = 0; rank < ranks; ++rank) {
        inputs.push_back({std::vector<float>(size), std::vector<float>(3)});
        for (auto& tensor : inputs.back())
          for (float& g : tensor) g = normal(random) * std::pow(10.0F, normal(random));
      }
      host::run_ranks(ranks, [&](int rank) {
        Bench bench({RoundKind::dense, Of::gradient, type}, "", rendezvous.at(rank), means[static_cast<size_t>(rank)], 8192);
        bench.mean(1, inputs[static_cast<size_t>(rank)]);
        if (ranks > 1) CHECK(bench.layout.buckets[0].dense.bytes == 2 * 4096 + (type == WireType::fp16 ? 4 : 0));
      });
      for (size_t t = 0; t < 2; ++t) {
        std::vector<float> expected = rounded(type, inputs[0][t]);
        for (size_t rank = 1; rank < inputs.size(); ++rank) {
          const std::vector<float> own = rounded(type, inputs[rank][t]);
          for (size_t i = 0; i < own.size(); ++i) expected[i] += own[i];
        }
        for (float& sum : expected) sum /= static_cast<float>(ranks);
        expected = ranks == 1 ? inputs[0][t] : rounded(type, expected);
        for (size_t i = 0; i < expected.size(); ++i)
          for (const Tensors& mean : means)
            REQUIRE(std::bit_cast<uint32_t>(mean[t][i]) == std::bit_cast<uint32_t>(expected[i]));
      }
    }
}

TEST_CASE("a retained dense mean comes back as it was on the wire, whatever its type") {
  for (const WireType type : {WireType::fp32, WireType::fp16, WireType::bf16}) {
    const Tensors first = {{1.001F, -3.0F, 1e-3F}, std::vector<float>(5001, 0.3333F)}, second = {{2.0F, 5.0F, 7.0F}, first[1]};
    std::vector<Tensors> means(2, first);
    LocalRendezvous rendezvous(2);
    host::run_ranks(2, [&](int rank) {
      Bench bench({RoundKind::dense, Of::message, type, true}, "", rendezvous.at(rank), means[static_cast<size_t>(rank)], 8192);
      bench.mean(1, first);
      bench.mean(2, second);
    });
    for (const Tensors& mean : means)
      for (size_t t = 0; t < 2; ++t) {
        const std::vector<float> now = rounded(type, second[t]), before = rounded(type, first[t]);
        for (size_t i = 0; i < first[t].size(); ++i) REQUIRE(mean[t][i] == now[i] + before[i]);
      }
  }
}

TEST_CASE("messages of any size travel as fp16 in dense rounds") {
  const Tensors message = {{1e6F, -3e8F, 7.5F}, {2e-30F, -1e-30F}};
  std::vector<Tensors> means(2, Tensors{std::vector<float>(3), std::vector<float>(2)});
  LocalRendezvous rendezvous(2);
  host::run_ranks(2, [&](int rank) {
    Bench bench({RoundKind::dense, Of::message, WireType::fp16}, "", rendezvous.at(rank), means[static_cast<size_t>(rank)],
                8192);
    bench.mean(1, message);
  });
  for (const Tensors& mean : means)
    for (size_t t = 0; t < 2; ++t)
      for (size_t i = 0; i < mean[t].size(); ++i) CHECK(mean[t][i] == doctest::Approx(message[t][i]).epsilon(0x1p-10).scale(0));
}
