// The communicator `nccl`, loaded as the plugin that it is, over the emulated CUDA runtime and a library that stands in for NCCL:
// the cases of every communicator, and what is its own - which NCCL it takes, streams, limits, errors that come later.
#include <doctest/doctest.h>

#include <atomic>
#include <functional>
#include <thread>

#include "communicator_conformance.hpp"
#include "control.hpp"
#include "cuda_on_cpu/control.hpp"
#include "device_rank.hpp"
#include "onebit/manifest.hpp"
#include "onebit/registry.hpp"
#include "onebit/rendezvous.hpp"

namespace {

using namespace onebit;
using conformance::Rank;
using conformance::require;
using conformance::require_text;
using conformance::Vector;
using test::DeviceRank;
using namespace std::chrono_literals;

const Registry& registry() {
  static Registry loaded;
  static const PluginInfo* plugins[] = {
      &loaded.load(std::string(ONEBIT_BINARY_DIR) + "/lib/onebit/plugins_on_cpu/onebit_plugin_nccl.so"),
      &loaded.load(std::string(ONEBIT_BINARY_DIR) + "/lib/onebit/plugins/onebit_plugin_threads.so")};
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

std::string error_text(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

#define ONEBIT_RUN(name)                                                          \
  TEST_CASE("nccl: " #name) {                                                     \
    for (int ranks : {1, 2, 3, 5, 8}) run(ranks, onebit::conformance::name);      \
    CHECK(nccl_on_cpu_alive() == 0);                                              \
  }
ONEBIT_COMMUNICATOR_CASES(ONEBIT_RUN)

TEST_CASE("nccl: of one machine, and known by its NCCL") {
  run(2, [](Rank& self) { require(self->machine() != 0 && error_text([&] { (void)has("", ""); }).empty(), "no machine"); });
}
