// SPDX-License-Identifier: Apache-2.0
// A step that begins before its gradients are there is the same step, to the bit: whatever the order in which they come, and
// also where a step is skipped, or a tensor has no gradient.
#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <limits>
#include <stdexcept>
#include <thread>

#include "support/gradients.hpp"
#include "support/scratch_folder.hpp"
#include "support/sessions.hpp"
#include "support/text.hpp"

using namespace onebit;
using namespace onebit::test;

namespace {

const Tensors model = {std::vector<float>(9000, 0.5F), std::vector<float>(17, -1.0F), std::vector<float>(),
                       std::vector<float>(5000, 0.25F), std::vector<float>(1200, 2.0F)};

struct Case {
  std::string name, toml;
};

// freeze: the step after which the variance is frozen.
std::vector<Case> optimizers(const std::string& message, int freeze) {
  const std::string at = std::to_string(freeze) + "\n";
  const std::string tail = "\n[compressor]\nplugin = \"onebit\"\n[communicator]\nplugin = \"threads\"\ntimeout = 60\n";
  const std::string of = "lr = 0.01\nweight_decay = 0.1\nmessage = \"" + message + "\"\n";
  return {{"adam", "[optimizer]\nplugin = \"adam\"\nlr = 0.01\n" + tail},
          {"lamb", "[optimizer]\nplugin = \"lamb\"\nlr = 0.01\n" + tail},
          {"onebit_adam", "[optimizer]\nplugin = \"onebit_adam\"\nfreeze_step = " + at + "dense = [\"t4\"]\n" + of + tail},
          {"onebit_lamb", "[optimizer]\nplugin = \"onebit_lamb\"\nfreeze_step = " + at + of + tail},
          {"zeroone_adam", "[optimizer]\nplugin = \"zeroone_adam\"\nvar_freeze_step = " + at +
                               "var_update_scaler = 2\n"
                               "local_step_scaler = 8\nlocal_step_clipper = 4\n" +
                               of + tail}};
}

#ifdef ONEBIT_SANITIZED
constexpr int64_t long_run = 200;
#else
constexpr int64_t long_run = 1000;
#endif

enum class Order { at_once, forward, backward, shuffled, from_threads };

// Of a step and rank: now and then one that can't be used; tensors without a gradient, on one rank or on all.
std::vector<const float*> gradients_of(Tensors& values, int64_t step, int rank) {
  values = noisy(model, step, rank);
  if (step % 7 == 3 && rank == static_cast<int>(step) % 2)
    values[step % 3 == 0 ? 0 : 3][11] = std::numeric_limits<float>::quiet_NaN();
  std::vector<const float*> given = pointers(values);
  if (step % 4 == 1) given[1] = nullptr;
  if (step % 5 == 2 && rank == 0) given[3] = nullptr;
  if (step % 6 == 5) given[0] = nullptr;
  return given;
}

void announce(Session& session, const std::vector<const float*>& given, Order order, uint64_t seed) {
  std::vector<size_t> tensors;
  for (size_t t = 0; t < given.size(); ++t)
    if (given[t] != nullptr) tensors.push_back(t);
  if (order == Order::backward) std::reverse(tensors.begin(), tensors.end());
  for (size_t k = tensors.size(); order == Order::shuffled && k > 1; --k)
    std::swap(tensors[k - 1], tensors[static_cast<size_t>(seed * 2654435761U >> 7U) % k]);
  for (const size_t t : tensors) session.ready(t, given[t]);
}

void announce_from_threads(Session& session, const std::vector<const float*>& given) {
  std::vector<std::thread> threads;
  for (size_t t = 0; t < given.size(); ++t)
    if (given[t] != nullptr) threads.emplace_back([&session, &given, t] { session.ready(t, given[t]); });
  for (std::thread& thread : threads) thread.join();
}

std::vector<Tensors> train(const std::string& toml, int ranks, Order order, int64_t steps, uint64_t* agreed = nullptr) {
  return run_sessions(ranks, toml, model, [&](Rank rank) {
    Tensors values;
    for (int64_t step = 1; step <= steps; ++step) {
      const std::vector<const float*> given = gradients_of(values, step, rank.number);
      if (order == Order::at_once) {
        rank.session.step(given);
        continue;
      }
      rank.session.begin();
      const auto come = [&] { announce(rank.session, given, order, static_cast<uint64_t>(step + rank.number)); };
      if (order == Order::from_threads)
        announce_from_threads(rank.session, given);
      else
        order == Order::shuffled ? std::thread(come).join() : come();
      rank.session.step();
    }
    if (agreed != nullptr && rank.number == 0) *agreed = rank.session.traffic().agreement_bytes;
  });
}

bool same_bits(const std::vector<Tensors>& a, const std::vector<Tensors>& b) {
  for (size_t r = 0; r < a.size(); ++r)
    for (size_t k = 0; k < a[r].size(); ++k)
      if (!a[r][k].empty() && std::memcmp(a[r][k].data(), b[r][k].data(), a[r][k].size() * sizeof(float)) != 0) return false;
  return true;
}

// How many blocks of other ranks have been decoded in this process.
double arrived(const Registry& registry) {
  for (const MetricSnapshot& metric : registry.metrics().snapshot())
    if (metric.name == "watched.added") return metric.value;
  return 0;
}

void wait_for_some(const Registry& registry, double before) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (arrived(registry) == before && std::chrono::steady_clock::now() < end)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  if (arrived(registry) == before) throw std::runtime_error("nothing has arrived");
}

// Two ranks that hold back their last gradient in a compressed step until `released`. forward: of the last tensor, and rank 0
// had one such step before, whose gradients came in this order.
void hold_back(bool overlap, const std::function<void(const Registry&, double before)>& released, bool forward = false) {
  Registry registry;
  registry.load_folder(Registry::default_folder());
  registry.load(ONEBIT_WATCHED_CODEC);
  const std::string toml =
      "[optimizer]\nplugin = \"onebit_adam\"\nfreeze_step = 1\n[compressor]\nplugin = \"watched\"\n"
      "[communicator]\nplugin = \"threads\"\ntimeout = 60\n[exchange]\nbucket_bytes = 4096\n[session]\noverlap = " +
      std::string(overlap ? "true" : "false");
  LocalRendezvous rendezvous(2);
  host::run_ranks(2, [&](int rank) {
    const Configuration configuration(registry, Manifest::parse(toml, "test.toml", "."));
    Tensors own = model;
    Session session(registry, configuration, rendezvous.at(rank), parameters_of(own));
    for (int64_t step = 1; step <= 2; ++step) session.step(pointers(noisy(model, step, rank)));
    const size_t count = model.size();
    if (forward) {
      const Tensors values = noisy(model, 3, rank);
      session.begin();
      for (size_t k = 0; k < count; ++k) {
        const size_t t = rank == 0 ? k : count - 1 - k;
        session.ready(t, values[t].data());
      }
      session.step();
    }
    const double before = arrived(registry);
    const uint64_t parameters = session.parameter_hash();
    const Tensors values = noisy(model, 4, rank);
    session.begin();
    for (size_t k = 0; k < count; ++k) {
      const size_t t = forward ? k : count - 1 - k;
      if (k == count - 1) released(registry, before);
      session.ready(t, values[t].data());
    }
    session.step();
    if (session.parameter_hash() == parameters) throw std::runtime_error("nothing was learnt");
  });
}

}  // namespace

TEST_CASE("overlap: the first bucket has arrived while the last gradient is still to come, and only with overlap") {
  hold_back(true, wait_for_some);
  hold_back(false, [](const Registry& registry, double before) {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    if (arrived(registry) != before) throw std::runtime_error("something was sent");
  });
}

TEST_CASE("overlap: buckets are sent in the order in which gradients came on rank 0, from the second such step on") {
  hold_back(true, wait_for_some, true);
}

TEST_CASE("overlap: the same bits, whatever the order in which gradients come") {
  for (const std::string message : {"update", "momentum"})
    for (const int freeze : {4, 5, 6, 7})  // so that the first compressed step lacks now this gradient, now that
      for (const Case& optimizer : optimizers(message, freeze))
        for (const int ranks : {1, 2, 3}) {
          if (optimizer.name.find('_') == std::string::npos && (freeze > 4 || message == "momentum")) continue;  // dense ones
          const std::vector<Tensors> expected = train(optimizer.toml, ranks, Order::at_once, 40);
          for (const std::string exchange : {"", "bucket_bytes = 4096\n", "bucket_bytes = 20000\nahead_bytes = 30000\n"}) {
            const Order order = exchange.empty() ? Order::forward : freeze % 2 == 0 ? Order::backward : Order::shuffled;
            CAPTURE(optimizer.name);
            CAPTURE(message);
            CAPTURE(freeze);
            CAPTURE(ranks);
            CAPTURE(exchange);
            CHECK(same_bits(train(optimizer.toml + "[exchange]\n" + exchange, ranks, order, 40), expected));
          }
        }
}

// It takes minutes: ONEBIT_OVERLAP_STEPS=1000 ./dev test core/overlap
TEST_CASE("overlap: the same bits over many steps, of every optimizer, on one to four ranks, in every order" *
          doctest::skip(std::getenv("ONEBIT_OVERLAP_STEPS") == nullptr)) {
  const int64_t steps = std::stoll(std::getenv("ONEBIT_OVERLAP_STEPS"));
  for (const Case& optimizer : optimizers("update", 100))
    for (const int ranks : {1, 2, 3, 4}) {
      CAPTURE(optimizer.name);
      CAPTURE(ranks);
      const std::string toml = optimizer.toml + "[exchange]\nbucket_bytes = 8192\n";
      const std::vector<Tensors> expected = train(toml, ranks, Order::at_once, steps);
      for (const Order order : {Order::forward, Order::backward, Order::shuffled, Order::from_threads})
        CHECK(same_bits(train(toml, ranks, order, steps), expected));
    }
}

TEST_CASE("overlap: many steps of four ranks with two threads each and a trace, gradients from threads") {
  const ScratchFolder folder;
  const std::string toml = optimizers("momentum", 5)[2].toml;
  const std::string tables =
      "[exchange]\nbucket_bytes = 20000\n[session]\nthreads = 2\ntrace = \"" + (folder / "t.json").string() + "\"\n";
  CHECK(same_bits(train(toml + tables, 4, Order::from_threads, long_run), train(toml, 4, Order::at_once, long_run)));
}

TEST_CASE("overlap: the same bits with other scales and settings, and whether steps begin early") {
  const std::string toml = optimizers("momentum", 5)[2].toml;
  const auto with = [&](const std::string& scale) {
    std::string made = toml;
    const std::string codec = "[compressor]\nplugin = \"onebit\"\n";
    return made.replace(made.find(codec), codec.size(), codec + "scale = \"" + scale + "\"\n");
  };
  const std::string small = "[exchange]\nbucket_bytes = 4096\nahead_bytes = 30000\n";
  const std::pair<std::string, bool> cases[] = {{toml + small, true},
                                                {toml + "[exchange]\nbucket_bytes = 20000\n", true},
                                                {with("tensor") + small, true},
                                                {with("bucket") + small, false},
                                                {toml + small + "dense_below = 1500\n", true},
                                                {toml + small + "dense_dtype = \"fp16\"\n", true},
                                                {toml + small + "dense_dtype = \"bf16\"\n", true},
                                                {toml + small + "error_dtype = \"bf16\"\n", true},
                                                {with("tensor") + small + "error_dtype = \"bf16\"\n", true},
                                                {toml + small + "[session]\nclip_norm = 1.0\n", false},
                                                {toml + small + "[session]\noverlap = false\n", false},
                                                {toml + "[exchange]\nbucket_bytes = 200000\n", false},
                                                {optimizers("update", 5)[0].toml + small, true},
                                                {optimizers("update", 5)[1].toml + small, true},
                                                {optimizers("update", 5)[3].toml + small, true},
                                                {optimizers("update", 5)[4].toml + small, true}};
  for (const auto& [tried, early] : cases) {
    const std::string manifest = tried;  // clang 14 lets no lambda, such as CAPTURE, see what was unpacked
    CAPTURE(manifest);
    uint64_t plain = 0, agreed = 0;
    CHECK(same_bits(train(manifest, 2, Order::shuffled, 40, &agreed), train(manifest, 2, Order::at_once, 40, &plain)));
    CHECK((agreed > plain + plain / 2) == early);  // a second agreement in most steps
    CHECK((agreed == plain) == !early);
  }
}
