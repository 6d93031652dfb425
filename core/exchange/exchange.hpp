// SPDX-License-Identifier: Apache-2.0
// Exchange: the rounds of a step. The only place that knows the two-phase mean, error feedback and pipelining, and so
// everything that could deadlock.
//
// A round is a mean over ranks, bucket by bucket:
//   send     tile by tile: the optimizer's message (or the gradient) + worker error -> payload;   all-to-all: chunk j to rank j
//   serve    own chunk: mean of all ranks' payloads + server error -> payload;                    all-gather of all chunks
//   receive  tile by tile: payload -> mean -> the optimizer's consume
// A dense round is the same with a codec that leaves values as they are, or rounds them to 16 bits (exchange.dense_dtype), and
// no errors: sums are taken in fp32 over ranks 0 to n-1 on every communicator, divided, and rounded once. Compressed rounds
// carry small tensors (dense_below) in fp32 always. A single rank sends nothing, and its means are exact.
//
// Machines (exchange.topology = "hierarchical"; M machines with L ranks each): dense inside, compressed between. The chunks
// that the l-th ranks of all machines serve are neighbours, the shard l. Inside a machine
//   share    tile by tile: the message in fp32;   all-to-all: shard l to the l-th rank
// before, the rank then sends and serves the mean of what arrived, over the l-th ranks of all machines and with the worker
// error of its shard only; and after:
//   pass on  all-gather inside the machine of all shards' payloads
// So each machine sends what one rank sends in flat, and all its ranks share that. What equals what, to the bit: L = 1 is flat;
// with scale = block, where all ranks of a machine have the same gradients and L is a power of two, it is flat on M ranks; on
// one machine nothing is compressed: every round is a flat dense mean in fp32. Otherwise it is another mean than flat's: the
// mean of M means is compressed, and not n gradients one by one, so there is less to compress away.
//
// Absent tensors, of which no rank has a gradient in a step: their blocks travel, for sizes are fixed, but mean nothing. Their
// errors stay, their part of a retained mean is kept by whoever serves it, and consume and apply do not see them, except where
// the plan freezes. On the CPU a tile is cut into runs of blocks that are present, and absent; on a device, where the host does
// not know which are, by kernels (Device::take_errors and its neighbours).
//
// Pipeline: while one bucket is received, the next is served and the one after that is sent, so transfers overlap with work.
// The last tensors come first, for their gradients do, until it is known in which order these come (set_order). Collectives are
// issued by one thread in one fixed order, the same on every rank: all-to-all(b), all-gather(the one before), ... (1-bit Adam,
// arXiv 2102.02888, section 4 and figure 3.)
//
// Ahead: a step may begin before its gradients are all there (Arrivals). Buckets are sent and served as they come, and their
// means wait; once all have come ranks agree, and only then is anything received. Until then nothing that lasts has changed:
// new errors are in memory of their own and change places at the commit. A tensor that turns out to be absent has travelled as
// zeros: its errors and its part of a retained mean are put back. Means that wait as fp32 or 16 bits take memory: where
// exchange.ahead_bytes is reached, the other buckets are sent after the agreement.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "device/buffer.hpp"
#include "device/device.hpp"
#include "device/gradient_scanner.hpp"
#include "device/mirror.hpp"
#include "exchange/carried.hpp"
#include "exchange/layout.hpp"
#include "exchange/masters.hpp"
#include "exchange/metered_communicator.hpp"
#include "exchange/retained.hpp"
#include "exchange/state_store.hpp"
#include "exchange/workers.hpp"
#include "onebit/compressor.hpp"
#include "onebit/optimizer.hpp"
#include "onebit/timings.hpp"
#include "telemetry/lap.hpp"

namespace onebit {

// What an exchange works on; all owned by the session. compressor: NULL when none is configured.
struct ExchangeParts {
  const Layout& layout;
  StateStore& state;
  Optimizer& optimizer;
  const Compressor* compressor;
  MeteredCommunicator& communicator;  // that rounds run over: all ranks, or one of each machine
  Workers& workers;
  MemoryMeter& meter;
  MeteredCommunicator* inside = nullptr;  // the ranks of this machine, when the layout has shards
  Trace* trace = nullptr;
  Device* device = nullptr;                     // NULL: the CPU
  const onebit_block* device_blocks = nullptr;  // the layout's, in its memory
  GradientScanner* scanner = nullptr;           // looks at gradients of steps that begin ahead, as they are encoded
  int64_t ahead_bytes = 0;                      // most bytes of dense means that wait
  WireType error_type = WireType::fp32;         // fp32 or bf16: what errors are kept as
  const Masters* masters = nullptr;             // whose halves a step rounds, block by block, on the CPU; NULL: there are none
};

// What a step begins with, where the tensors are: on a device the agreement is still under way when the host goes on.
struct Opening {
  const float* gradient_scale;    // multiplies every gradient
  const int32_t* skip = nullptr;  // on a device: when it is set nothing is written
  // A bit a tensor, in the host's memory: absent in this step; on a device: perhaps, for this rank has no gradient of it. NULL:
  // none is.
  const uint64_t* absent = nullptr;
  const onebit_block* present_blocks = nullptr;  // on a device: the blocks, absent ones without elements
  const void* scanned = nullptr;                 // on a device, before the agreement: what the scan has found so far
};

// The gradients of a step that begins ahead. Called on the thread that runs the exchange.
class Arrivals {
 public:
  // Until its gradients have come, or no more will; on a device they have been scanned then.
  virtual void wait_for(size_t bucket) = 0;
  // Collective, once, when all gradients have come. scanned: how many turns' buckets have been scanned.
  // NULL: the step is skipped; on a device, kernels learn that.
  virtual const Opening* agree(size_t scanned) = 0;

 protected:
  ~Arrivals() = default;
};

class Exchange {
 public:
  explicit Exchange(const ExchangeParts& parts);
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;

  // All rounds of a step, up to the last consume.
  void run(const Step& step, const Plan& plan, const Opening& opening);
  // The same, ahead of the agreement, for steps with rounds (can_begin_ahead). False: the step is skipped, nothing has changed.
  bool run_ahead(const Step& step, const Plan& plan, const Opening& opening, Arrivals& arrivals);
  bool can_begin_ahead(const Plan& plan) const;
  // Why no step can; "": some can.
  static std::string why_never_ahead(const Layout& layout);
  std::string why_never_ahead() const { return why_never_ahead(layout_); }
  // The second pass.
  void apply(const Plan& plan);
  // After combine and apply: retained means become the previous ones. absent: a bit a tensor that no rank had a gradient of;
  // NULL: there is none.
  void commit(const Plan& plan, const uint64_t* absent = nullptr);

  // The order in which buckets are sent, the same on every rank: at first the last tensors' first, as in backward their
  // gradients come. It changes no bits, for every bucket's rounds are its own.
  size_t bucket_at(size_t turn) const { return order_[turn]; }
  // Between steps, once. plan: of the last one, which ran ahead: what the next one like it needs is allocated here.
  void set_order(const std::vector<uint32_t>& order, const Plan& plan);

  // The bucket that is worked on, or whose work failed; -1: none.
  int64_t current_bucket() const { return current_bucket_; }

  uint64_t worker_error_bytes() const { return worker_error_.size() + next_worker_error_.size(); }
  uint64_t server_error_bytes() const { return server_error_.size() + next_server_error_.size(); }
  uint64_t retained_bytes() const { return retained_.bytes() + carried_.values().size(); }
  uint64_t buffer_bytes() const;
  // How many elements, of all rounds so far, were not zero and are zero in the type of dense rounds. Where the tensors are.
  const uint64_t* vanished() const { return vanished_.as<uint64_t>(); }
  const Timings& timings() const { return timings_; }

  // What goes from step to step, for whoever saves it, and, between steps, overwrites it. Errors are empty until the first
  // compressed round is planned, or somebody prepares them: then they are zeros.
  WireType error_type() const { return error_type_; }
  const Buffer& worker_error() const { return worker_error_; }
  const Buffer& server_error() const { return server_error_; }
  void prepare_errors();
  std::pair<size_t, size_t> error_sizes() const;  // in bytes, of the worker's and the server's, prepared or not
  Retained& retained() { return retained_; }
  const Buffer& carried() const { return carried_.values(); }
  float* begin_carried() { return carried_.begin(); }
  // All of it is as it was before the first step.
  void begin_anew();

 private:
  static constexpr size_t depth = 4;  // buckets under way at once; one less where there is no machine's part
  // One round of one bucket under way.
  struct Flight {
    Buffer payload;   // sent, then (unless it is retained or waits) gathered into
    Buffer incoming;  // the own chunk from every rank
    Request* pending = nullptr;
  };
  // One round of one bucket whose mean arrives: it may wait there for the agreement.
  struct Arrival {
    Buffer payload;  // of means that wait and are not retained
    Request* pending = nullptr;
  };
  // Of a tile, the first element's, as they are kept. now: NULL where there are none. next: what they become; the same, but for
  // steps ahead.
  struct Errors {
    std::byte *now = nullptr, *next = nullptr;
  };
  // One bucket's messages under way inside a machine.
  struct Passage {
    Buffer messages;
    Buffer arrivals;  // the own shard from every rank of the machine
    Request* pending = nullptr;
  };
  // What one worker writes on; fits the first-level cache with a block of state.
  struct Scratch {
    Buffer memory;
    float* message = nullptr;
    float* mean = nullptr;
    float* previous = nullptr;  // once the message is made: errors, where they are not worked on in place
    double* statistics = nullptr;
  };
  // A round of this step, resolved.
  struct Round {
    RoundKind kind;
    Of of;
    bool retain;
    int index;
  };

  // f(run, absent) for each run of a tile's pieces that are alike.
  template <class F>
  void for_runs(const std::vector<onebit_piece>& pieces, const TileRange& tile, F&& f) const;
  bool may_be_absent(const onebit_piece& piece) const;
  bool may_be_absent(const std::vector<onebit_piece>& pieces, const TileRange& tile) const;
  // The first mean that is kept of this kind: there is none yet that could stay, so absent tensors take part.
  bool begins(const Round& round) const { return round.retain && retained_.kind() != round.kind; }
  MarkedPieces marked(const std::vector<onebit_piece>& pieces, const TileRange& tile) const;
  const std::byte* kept(const Round& round, size_t bucket) const;
  void fill(const Round& round, const std::vector<onebit_piece>& pieces, const TileRange& run, const std::byte* kept,
            std::byte* payload) const;
  void keep_on_device(const std::vector<onebit_piece>& pieces, const TileRange& tile, int64_t bytes, const std::byte* kept,
                      std::byte* payload) const;
  void encode(const Round& round, const std::vector<onebit_piece>& pieces, const TileRange& run, const float* values,
              const Errors& errors, const Scratch& scratch, std::byte* payload) const;
  const float* seen_errors(const std::vector<onebit_piece>& pieces, const TileRange& run, const Errors& errors,
                           const Scratch& scratch) const;
  void read_errors(const std::vector<onebit_piece>& pieces, const TileRange& run, const std::byte* from, float* to) const;
  void keep_errors(const std::vector<onebit_piece>& pieces, const TileRange& run, bool marks, const float* from,
                   std::byte* to) const;
  void put_back(size_t bucket);
  void put_back(const std::vector<onebit_piece>& pieces, const TileRange& tile, const Errors& errors) const;
  void put_back_payload(const Round& round, size_t bucket, const TileRange& tile, const std::byte* before);
  void clear_statistics(const std::vector<onebit_piece>& pieces, const TileRange& run, double* statistics) const;
  void divide(const std::vector<onebit_piece>& pieces, const TileRange& run, float* values, int by) const;
  void mirror_layout();
  void prepare(const Plan& plan);
  void prepare_ahead();
  size_t buckets_ahead(const Plan& plan) const;
  void run_from(size_t turn);
  void drain();
  void prepare_flights(const Round& round);
  void prepare_passages(const Round& round);
  void prepare_spans();
  Errors worker_errors(const TileRange& coded) const;
  Errors server_errors(const TileRange& coded) const;
  const Wire& wire(const Round& round, const Bucket& bucket) const;
  const Compressor& codec(const Round& round, const TileRange& tile) const;
  bool wide(const Round& round) const { return round.kind == RoundKind::compressed && layout_.wide_spans(); }
  size_t under_way() const { return inside_ == nullptr ? depth - 1 : depth; }
  bool goes_ahead(size_t bucket) const { return turns_[bucket] < early_; }
  Arrival& arrival(const Round& round, size_t bucket) { return arrivals_[static_cast<size_t>(round.index)][bucket]; }
  Flight& flight(const Round& round, size_t bucket) {
    return flights_[static_cast<size_t>(round.index)][turns_[bucket] % under_way()];
  }
  Passage& passage(const Round& round, size_t bucket) {
    return passages_[static_cast<size_t>(round.index)][turns_[bucket] % 2];
  }
  std::byte* gathered(const Round& round, size_t bucket);
  // The own machine's chunks of a bucket, or all of them.
  const onebit_part* chunks(const Wire& on_wire) const { return on_wire.parts.data() + layout_.local() * layout_.machines(); }
  onebit_batch batch(const std::vector<onebit_piece>& pieces, const TileRange& tile) const;
  onebit_tile tile_of(const Bucket& bucket, const TileRange& tile, bool with_absent) const;

  void share(size_t bucket);
  void average_inside(const Round& round, size_t bucket, const TileRange& tile, float* mean);
  void pass_on(size_t bucket);
  void send(size_t bucket);
  void encode_messages(const Round& round, size_t bucket, std::byte* payload);
  void encode_tile(const Round& round, size_t bucket, const TileRange& tile, std::byte* payload, int worker);
  void scan_tile(size_t bucket, const TileRange& tile, int worker);
  void scan_bucket(size_t bucket);
  void measure_spans(const Round& round, size_t bucket);
  void add_carried(const Round& round, size_t bucket, const TileRange& tile, float* message) const;
  void write_message(const Round& round, size_t bucket, const TileRange& tile, const Scratch& scratch);
  void produce(const Round& round, size_t bucket, const TileRange& tile, const Scratch& scratch);
  void serve(size_t bucket);
  void serve_chunk(const Round& round, size_t bucket);
  void serve_tile(const Round& round, size_t bucket, const TileRange& tile, std::byte* out, const Scratch& scratch);
  void average(const Round& round, size_t bucket, const TileRange& tile, float* mean);
  void measure_served_spans(const Round& round, size_t bucket);
  void fold(const Spans& spans);
  void spread(const Spans& spans, const TileRange& tile, double* statistics) const;
  void receive(size_t bucket);
  void receive_tile(size_t bucket, const TileRange& tile, const Scratch& scratch);
  const float* decode_previous(size_t bucket, const TileRange& tile, const Scratch& scratch);
  void apply_tile(size_t bucket, const TileRange& tile, const Round* kept, const Scratch& scratch);
  void round_masters(const onebit_tile& tile) const;
  void local_step();
  void wait(MeteredCommunicator& communicator, Request*& pending, size_t bucket);
  Call call(size_t bucket) const;
  Mark mark(const char* name, size_t bucket) const { return {trace_, name, static_cast<int64_t>(bucket)}; }

  const Layout& layout_;
  StateStore& state_;
  Optimizer& optimizer_;
  const Compressor* compressor_;
  MeteredCommunicator& communicator_;
  MeteredCommunicator* inside_;
  Trace* trace_;
  Workers& workers_;
  MemoryMeter& meter_;
  Device* const device_;
  const onebit_block* const device_blocks_;
  GradientScanner* const scanner_;
  const int64_t ahead_bytes_;
  const WireType error_type_;
  const Masters* const masters_;
  Buffer vanished_;                                      // see DenseCodec
  std::unique_ptr<Compressor> dense_codec_, raw_codec_;  // of dense rounds; of raw tensors in compressed ones
  std::vector<uint32_t> order_, turns_;                  // the bucket of a turn, and the turn of a bucket
  Mirror mirror_;
  Codec description_{};
  Retained retained_;
  Carried carried_;
  std::vector<Scratch> scratch_;
  std::array<std::array<Flight, depth>, 2> flights_;  // by round
  std::array<std::array<Passage, 2>, 2> passages_;    // by round
  std::array<std::vector<Arrival>, 2> arrivals_;      // by round, by bucket
  Buffer worker_error_, server_error_;
  Buffer next_worker_error_, next_server_error_;  // of a step that begins ahead
  Buffer block_statistics_, span_statistics_;     // of one bucket, for spans wider than a block

  Timings timings_;

  // of the step that runs
  const Step* step_ = nullptr;
  std::array<Round, 2> rounds_{};
  size_t round_count_ = 0;
  Stage stage_ = Stage::dense;  // whose bytes this step's are: compressed where a round is
  Opening opening_{};
  uint64_t counted_ = 0;              // bytes of its stage before it
  size_t early_ = 0;                  // buckets that are sent before ranks agree: those of the first turns
  bool ahead_ = false;                // it has begun ahead: errors go to the next ones
  bool scanning_ = false;             // gradients are looked at as they are encoded; on a device, before
  std::atomic<bool> spoilt_ = false;  // and one of them can't be used
  bool previous_in_consume_ = false;
  bool rounds_in_consume_ = false;  // no second pass comes, which would change parameters
  bool freezes_ = false;
  int64_t current_bucket_ = -1;
};

}  // namespace onebit
