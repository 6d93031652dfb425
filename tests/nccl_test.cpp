// The communicator `nccl`, loaded as the plugin that it is, over the emulated CUDA runtime and a library that stands in for NCCL:
// the cases of every communicator, and what is its own - which NCCL it takes, streams, limits, errors that come later.
#include <doctest/doctest.h>

#include <atomic>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <thread>

#include "communicator_conformance.hpp"
#include "control.hpp"
#include "cuda_on_cpu/control.hpp"
#include "device_rank.hpp"
#include "onebit/manifest.hpp"
#include "onebit/registry.hpp"
#include "onebit/rendezvous.hpp"
#include "place.hpp"
#include "stranger.hpp"

namespace {

using namespace onebit;
using conformance::Rank;
using conformance::require;
using conformance::require_text;
using conformance::Vector;
using test::DeviceRank;
using namespace std::chrono_literals;

std::string plugin_file(const std::string& folder, const std::string& name) {
  return std::string(ONEBIT_BINARY_DIR) + "/lib/onebit/" + folder + "/onebit_plugin_" + name + ".so";
}

const Registry& registry() {
  static Registry loaded;
  static const PluginInfo* plugins[] = {
      &loaded.load(plugin_file("plugins_on_cpu", "nccl")), &loaded.load(plugin_file("plugins", "threads"))};
  (void)plugins;
  return loaded;
}

Rank make(const char* name, const onebit_rendezvous& rendezvous, const std::string& options) {
  const ComponentInfo& found =
      registry().find(Kind::communicator, name, std::string(name) == "nccl" ? ONEBIT_DEVICE_CUDA : ONEBIT_DEVICE_CPU);
  const Manifest manifest =
      Manifest::parse("[communicator]\nplugin = \"" + std::string(name) + "\"\n" + options, "test.toml", ".");
  return registry().make_communicator(found, ResolvedTable(manifest, "communicator", found.options, true), rendezvous);
}
Rank make(const onebit_rendezvous& rendezvous, const std::string& options = "timeout = 20") {
  return std::make_unique<DeviceRank>(make("nccl", rendezvous, options));
}

// Runs f(rank) in a thread for each rank; answers what each threw, "" where none did.
std::vector<std::string> outcomes(int ranks, const std::function<void(int)>& f) {
  registry();
  std::vector<std::string> texts(static_cast<size_t>(ranks));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank)
    threads.emplace_back([&, rank] {
      try {
        f(rank);
      } catch (const std::exception& e) {
        texts[static_cast<size_t>(rank)] = e.what();
      }
    });
  for (std::thread& thread : threads) thread.join();
  return texts;
}

// Runs one case on so many ranks of one new group.
void run(int ranks, const std::function<void(Rank&)>& f) {
  LocalRendezvous rendezvous(ranks);
  const std::vector<std::string> texts = outcomes(ranks, [&](int rank) {
    Rank self = make(rendezvous.at(rank));
    f(self);
  });
  for (int rank = 0; rank < ranks; ++rank) {
    INFO("rank ", rank, " of ", ranks);
    CHECK(texts[static_cast<size_t>(rank)] == "");
  }
}

// What f throws; code internal and no text where it does not.
Error error_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    return e;
  }
  return {Code::internal, ""};
}
std::string text_of(const std::function<void()>& f) { return error_of(f).what(); }

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

DeviceRank& device(Rank& self) { return static_cast<DeviceRank&>(*self); }

// A sum over all ranks of a value of each, in device memory: to be posted and waited for on its own.
struct Sum {
  Sum(Rank& self, int64_t count) : extent(count), rank(device(self)), memory(count * 4, rank.stream_of()) {
    const std::vector<float> values(static_cast<size_t>(count), static_cast<float>(rank.rank() + 1));
    rank.own_stream().copy(memory.data(), values.data(), count * 4);
    rank.own_stream().finish();
    tensor = {memory.data(), rank.stream().device, 1, conformance::dtype_of<float>(), &extent, &stride, 0};
  }
  Request* post(Communicator& on, int64_t timeout_ns = -1) {
    Call call(0, timeout_ns);
    call.stream = &rank.stream();
    return on.all_reduce(tensor, tensor, ReduceOp::sum, call);
  }
  Request* post(int64_t timeout_ns = -1) { return post(rank.inner(), timeout_ns); }
  bool is(float value) {
    std::vector<float> found(static_cast<size_t>(extent));
    rank.own_stream().copy(found.data(), memory.data(), extent * 4);
    rank.own_stream().finish();
    return std::all_of(found.begin(), found.end(), [value](float v) { return v == value; });
  }
  int64_t extent, stride = 1;
  DeviceRank& rank;
  test::DeviceMemory memory;
  Tensor tensor{};
};

// Asks test until the request is done; throws what it throws.
void follow(Communicator& on, Request* request) {
  while (!on.test(request)) std::this_thread::sleep_for(100us);
}

// Holds a stream up until it is let go.
class Gate {
 public:
  explicit Gate(cudaStream_t stream) {
    cuda_on_cpu::enqueue(stream, [open = open_] {
      while (!*open) std::this_thread::sleep_for(50us);
    });
  }
  ~Gate() { open(); }
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;
  void open() { *open_ = true; }

 private:
  std::shared_ptr<std::atomic<bool>> open_ = std::make_shared<std::atomic<bool>>(false);
};

}  // namespace

#define ONEBIT_RUN(name)                                                          \
  TEST_CASE("nccl: " #name) {                                                     \
    for (int ranks : {1, 2, 3, 5, 8}) run(ranks, onebit::conformance::name);      \
    CHECK(nccl_on_cpu_alive() == 0);                                              \
  }
ONEBIT_COMMUNICATOR_CASES(ONEBIT_RUN)

TEST_CASE("nccl: a machine without a driver or a device loads it, with the reason") {
  const auto reason = [] { return Registry().load(plugin_file("plugins_on_cpu", "nccl")).unavailable; };
  CHECK(reason() == "");
  cuda_on_cpu::set_devices(0);
  CHECK(has(reason(), "no CUDA"));
  cuda_on_cpu::set_devices(1);
  cuda_on_cpu::set_driver(11000);
  CHECK(has(reason(), "driver"));
  cuda_on_cpu::set_driver(13000);
}

TEST_CASE("nccl: which library it takes") {
  LocalRendezvous rendezvous(1);
  const auto with = [&](const std::string& file) {
    return error_of([&] { make(rendezvous.at(0), "library = \"" + file + "\""); });
  };
  const std::string folder = std::string(ONEBIT_BINARY_DIR) + "/lib/nccl_on_cpu/";
  CHECK(with(folder + "libnccl.so.2").code() == Code::internal);  // no error
  const Error old = with(folder + "libnccl_old.so.2");
  CHECK(old.code() == Code::unavailable);
  CHECK(has(old.what(), "libnccl_old.so.2 is NCCL 2.7.8; 2.8.3 or later is needed"));
  const Error nowhere = with("/nowhere/libnccl.so.2");
  CHECK(nowhere.code() == Code::unavailable);
  CHECK(has(nowhere.what(), "/nowhere/libnccl.so.2"));
  const Error another = with("libm.so.6");
  CHECK(another.code() == Code::unavailable);
  CHECK(has(another.what(), "has no function ncclGetVersion"));
}

TEST_CASE("nccl: all_reduce has the bits of the threads communicator") {
  constexpr int kRanks = 4;
  constexpr int64_t kCount = 10'007;
  LocalRendezvous on_device(kRanks), on_host(kRanks);
  const auto texts = outcomes(kRanks, [&](int rank) {
    Rank self = make(on_device.at(rank)), threads = make("threads", on_host.at(rank), "timeout = 20");
    for (ReduceOp op : {ReduceOp::sum, ReduceOp::avg, ReduceOp::min, ReduceOp::max}) {
      std::mt19937 random(static_cast<unsigned>(rank) + 1);
      std::vector<float> values(kCount);
      for (float& v : values) v = std::ldexp(static_cast<float>(random()) - 2e9f, static_cast<int>(random() % 60) - 60);
      Vector<float> there(values), here(values);
      self->wait(self->all_reduce(there.tensor, there.tensor, op, Call()));
      threads->wait(threads->all_reduce(here.tensor, here.tensor, op, Call()));
      require(std::memcmp(there.values.data(), here.values.data(), kCount * sizeof(float)) == 0, "other bits");
    }
  });
  for (const std::string& text : texts) CHECK(text == "");
}

TEST_CASE("nccl: wait holds up the stream, and not the host") {
  run(2, [](Rank& self) {
    Sum sum(self, 1000);
    Communicator& inner = device(self).inner();
    inner.wait(sum.post());  // now all know the signature
    Gate gate(device(self).stream_of());
    Request* request = sum.post();
    require(!inner.test(request), "done before its stream came to it");
    inner.wait(request);
    Request* next = sum.post();
    inner.wait(next);
    require(cudaStreamQuery(device(self).stream_of()) == cudaErrorNotReady, "the stream went on");
    gate.open();
    require(sum.is(12), "a sum came too early, or not at all");  // 1 + 2; 3 + 3; 6 + 6
  });
}

TEST_CASE("nccl: what was waited for is finished when the communicator goes") {
  LocalRendezvous rendezvous(3);
  const auto texts = outcomes(3, [&](int rank) {
    Rank self = make(rendezvous.at(rank));
    Sum sum(self, 100'000);
    Rank part = self->split(0, 0);
    DeviceRank& on = device(part);
    on.inner().wait(sum.post(on.inner()));
    if (rank == 1) std::this_thread::sleep_for(3ms);
    part.reset();
    require(sum.is(6), "bytes are missing");
  });
  for (const std::string& text : texts) CHECK(text == "");
}

TEST_CASE("nccl: a rank that runs far ahead is waited for, and nothing is lost") {
  constexpr int kAhead = 300;
  std::atomic<bool> posted{false};
  run(2, [&](Rank& self) {
    Sum sum(self, 10);
    Communicator& inner = device(self).inner();
    inner.wait(sum.post());
    while (self->rank() == 1 && !posted) std::this_thread::sleep_for(100us);
    std::vector<Request*> requests;
    for (int i = 0; i < kAhead; ++i) requests.push_back(sum.post());
    posted = true;
    for (Request* request : requests) follow(inner, request), inner.wait(request);
    require(sum.is(std::numeric_limits<float>::infinity()), "a sum is missing");
  });
}

TEST_CASE("nccl: a step makes no memory, stream or event of the device's") {
  LocalRendezvous rendezvous(3);
  std::atomic<int64_t> events{0}, streams{0}, blocks{0};
  const auto texts = outcomes(3, [&](int rank) {
    Rank self = make(rendezvous.at(rank));
    Sum sum(self, 10'000), small(self, 7);
    const auto step = [&] {
      Communicator& inner = device(self).inner();
      Request* requests[] = {sum.post(), small.post(), sum.post()};
      for (Request* request : requests) inner.wait(request);
      device(self).own_stream().finish();
      self->barrier(Call());
    };
    for (int i = 0; i < 5; ++i) step();
    const auto note = [&](int sign) {
      if (rank != 0) return;
      const cuda_on_cpu::Counters now = cuda_on_cpu::counters();
      events += sign * now.events, streams += sign * now.streams, blocks += sign * now.device_allocations;
    };
    note(-1);
    self->barrier(Call());
    for (int i = 0; i < 20; ++i) step();
    note(1);
    self->barrier(Call());
  });
  for (const std::string& text : texts) CHECK(text == "");
  CHECK(events == 0);
  CHECK(streams == 0);
  CHECK(blocks == 0);
}

TEST_CASE("nccl: equal parts are gathered by NCCL's own, others by sends") {
  run(3, [](Rank& self) {
    const int gathers = nccl_on_cpu_gathers(), sends = nccl_on_cpu_sends();
    conformance::check_gather(
        self, [](int) { return 64; }, false);
    self->barrier(Call());
    require(nccl_on_cpu_gathers() > gathers && nccl_on_cpu_sends() == sends, "equal parts were sent one by one");
    self->barrier(Call());
    conformance::check_gather(
        self, [](int rank) { return 64 + rank; }, false);
    self->barrier(Call());
    require(nccl_on_cpu_sends() > sends, "other parts were not sent one by one");
  });
}

TEST_CASE("nccl: calls without a stream, or of another device, are refused") {
  run(1, [](Rank& self) {
    DeviceRank& on = device(self);
    Sum sum(self, 4);
    const auto refused = [&](const onebit_stream* stream, int device_id) {
      Rank part = self->split(0, 0);
      Call call;
      call.stream = stream;
      Tensor tensor = sum.tensor;
      tensor.device.id = device_id;
      return text_of([&] { device(part).inner().all_reduce(tensor, tensor, ReduceOp::sum, call); });
    };
    onebit_stream other = on.stream();
    other.device.id = 5;
    require(has(refused(nullptr, 0), "names no stream"), "no stream was taken");
    require(has(refused(&other, 0), "is not one of CUDA device 0"), "another device's stream was taken");
    require(has(refused(&on.stream(), 5), "is not in memory of CUDA device 0"), "another device's tensor was taken");
  });
}

TEST_CASE("nccl: sizes that all know, but not of the same collective, end in an error on every rank") {
  run(2, [](Rank& self) {
    Rank part = self->split(0, 0);
    DeviceRank& on = device(part);
    const auto gather = [&](int64_t bytes) {
      conformance::Parts out(2, [bytes](int) { return bytes; });
      std::vector<uint8_t> in(64);
      part->wait(part->all_gather(in.data(), out.bytes.data(), out.parts.data(), Call()));
    };
    gather(16);
    gather(32);
    require(on.rank() == self->rank(), "another rank");
    const std::string text = text_of([&] { gather(self->rank() == 0 ? 16 : 32); });
    require(has(text, "all_gather (operation 3)") && has(text, "bytes for the part of rank 0"), "another error: " + text);
    self->barrier(Call());
  });
}

TEST_CASE("nccl: an error that NCCL finds later ends the communicator on every rank") {
  run(3, [](Rank& self) {
    Rank part = self->split(0, 0);
    Communicator& inner = device(part).inner();
    Sum sum(self, 100);
    inner.wait(sum.post(inner));
    self->barrier(Call());
    Gate gate(device(self).stream_of());
    Request* request = sum.post(inner);
    if (self->rank() == 1) nccl_on_cpu_set_async_error(1, 6);
    const Error error = error_of([&] { follow(inner, request); });
    self->barrier(Call());
    nccl_on_cpu_set_async_error(1, 0);
    require(error.code() == Code::peer_failed, std::string("another code: ") + error.what());
    require_text(error, "all_reduce (operation 2)");
    require_text(error, "rank 1");
    require_text(error, "remote process exited");
    require(error_of([&] { sum.post(inner); }).code() == Code::peer_failed, "the next call did not tell");
    self->barrier(Call());
  });
}

TEST_CASE("nccl: a call that NCCL refuses ends the communicator on every rank") {
  run(2, [](Rank& self) {
    Rank part = self->split(0, 0);
    Communicator& inner = device(part).inner();
    Sum sum(self, 100);
    if (self->rank() == 1) nccl_on_cpu_fail_next_group(1, 2);
    self->barrier(Call());
    const Error error = error_of([&] { follow(inner, sum.post(inner)); });
    require(error.code() == Code::peer_failed, std::string("another code: ") + error.what());
    require_text(error, "ncclGroupEnd failed");
    require_text(error, "rank 1");
    self->barrier(Call());
  });
}

TEST_CASE("nccl: a collective that hangs though all came is given up in time") {
  nccl_on_cpu_hang(1);
  run(2, [](Rank& self) {
    Rank part = self->split(0, 0);
    Communicator& inner = device(part).inner();
    Sum sum(self, 100);
    Request* request = sum.post(inner, 50'000'000);
    inner.wait(request);  // the stream waits; what comes of it the next call tells
    device(self).own_stream().finish();
    const Error error = error_of([&] {
      for (;;) inner.barrier(Call());
    });
    require(error.code() == Code::timeout, std::string("another code: ") + error.what());
    require_text(error, "0.05 s in all_reduce (operation 1): all ranks came");
    self->barrier(Call());
  });
  nccl_on_cpu_hang(-1);
  CHECK(nccl_on_cpu_alive() == 0);
}

TEST_CASE("nccl: who does not come to create is named") {
  LocalRendezvous rendezvous(4);
  const auto texts = outcomes(4, [&](int rank) {
    if (rank < 2) make(rendezvous.at(rank), "timeout = 0.2");
  });
  for (int rank = 0; rank < 2; ++rank) {
    CHECK(has(texts[static_cast<size_t>(rank)], "waited 0.2 s in create for ranks 2, 3, which did not arrive"));
    CHECK(has(texts[static_cast<size_t>(rank)], "create on rank " + std::to_string(rank) + " of 4"));
  }
  LocalRendezvous other(2);
  CHECK(has(text_of([&] { make(other.at(1), "timeout = 0.1"); }), "for rank 0, which did not arrive"));
}

TEST_CASE("nccl: a rank that NCCL can't connect tells the others") {
  nccl_on_cpu_fail_next_init(1, 3);
  LocalRendezvous rendezvous(3);
  for (const std::string& text : outcomes(3, [&](int rank) { make(rendezvous.at(rank)); })) {
    CHECK(has(text, "rank 1"));
    CHECK(has(text, "ncclCommInitRank failed"));
  }
}

TEST_CASE("nccl: ranks that expect another number of ranks are told") {
  LocalRendezvous rendezvous(2);
  onebit_rendezvous wrong = rendezvous.at(1);
  wrong.size = 3;
  const auto texts = outcomes(2, [&](int rank) { make(rank == 0 ? rendezvous.at(0) : wrong, "timeout = 1"); });
  CHECK(has(texts[1], "rank 0 expects 2 ranks, rank 1 expects 3"));
  CHECK(has(texts[0], "rank 1, which did not arrive"));
}

TEST_CASE("nccl: a rendezvous may be met at again, while the first communicator lives") {
  LocalRendezvous rendezvous(2);
  const auto texts = outcomes(2, [&](int rank) {
    Rank first = make(rendezvous.at(rank)), second = make(rendezvous.at(rank)), third = make(rendezvous.at(rank));
    first.reset();
    conformance::all_to_all_uneven(second);
    conformance::all_to_all_uneven(third);
  });
  for (const std::string& text : texts) CHECK(text == "");
}

TEST_CASE("nccl: strangers who call at rank 0 change nothing") {
  LocalRendezvous rendezvous(2);
  const auto texts = outcomes(2, [&](int rank) {
    if (rank == 1) {
      nccl::Place place;
      Rendezvous(&rendezvous.at(1)).get("nccl.place", &place, sizeof place);
      test::call_with(place.port, std::string(3000, 'x'));
      test::call_with(place.port, "");
      nccl::Message hello;
      test::call_with(place.port, {reinterpret_cast<const char*>(&hello), sizeof hello});
    }
    Rank self = make(rendezvous.at(rank));
    conformance::all_to_all_uneven(self);
  });
  for (const std::string& text : texts) CHECK(text == "");
}
