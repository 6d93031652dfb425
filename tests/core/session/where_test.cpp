// SPDX-License-Identifier: Apache-2.0
// Where a session was when others did not come, or gave up: the step, the tensors, the parameter.
#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "support/error_text.hpp"
#include "support/sessions.hpp"
#include "support/text.hpp"

using namespace onebit;
using namespace onebit::test;
using namespace std::chrono_literals;

namespace {

const Tensors model_of_buckets(6, std::vector<float>(5000, 1));

// Two ranks whose steps take a while; one of them aborts in the middle of its second.
std::string abort_after(std::chrono::milliseconds pause) {
  const std::string toml =
      "[optimizer]\nplugin = \"descent\"\npause = 0.02\n[exchange]\nbucket_bytes = 4096\n[communicator]\nplugin = \"threads\"";
  Registry registry;
  registry.load_folder(Registry::default_folder());
  registry.load(ONEBIT_BAD_PLUGINS "/descent_1.so");
  const Configuration configuration(registry, Manifest::parse(toml, "test.toml", "."));
  LocalRendezvous rendezvous(2);
  std::string text;
  host::run_ranks(2, [&](int rank) {
    Tensors own = model_of_buckets;
    Session session(registry, configuration, rendezvous.at(rank), parameters_of(own));
    session.step(pointers(model_of_buckets));
    std::thread other([&] {
      std::this_thread::sleep_for(pause);
      if (rank == 1) session.communicator().abort("enough");
    });
    const std::string found = error_of([&] {
      for (;;) session.step(pointers(model_of_buckets));
    });
    other.join();
    if (rank == 0) text = found;
  });
  return text;
}

}  // namespace

// Rank 1 lives, and does not take its second step.
TEST_CASE("an error of a collective names the step, the rank, and the option of the limit that was reached") {
  LocalRendezvous rendezvous(2);
  const Configuration configuration =
      configure("[optimizer]\nplugin = \"adam\"\n[communicator]\nplugin = \"threads\"\ntimeout = 20\nstall = 0.3\n");
  std::string text;
  std::atomic<bool> over{false};
  host::run_ranks(2, [&](int rank) {
    Tensors own = model_of_buckets;
    Session session(plugins(), configuration, rendezvous.at(rank), parameters_of(own));
    session.step(pointers(model_of_buckets));
    while (rank == 1 && !over) std::this_thread::sleep_for(1ms);
    if (rank == 0) text = error_of([&] { session.step(pointers(model_of_buckets)); });
    over = true;
  });
  CHECK_MESSAGE(contains(text, "rank 0 waited 0.3 s in all_gather"), text);
  CHECK_MESSAGE(contains(text, "for rank 1, which did not arrive, though alive"), text);
  CHECK_MESSAGE(contains(text, "raise communicator.stall"), text);
  CHECK_MESSAGE(contains(text, " (step 2)"), text);
}

TEST_CASE("an error of a bucket's collective names the bucket, and its tensors") {
  std::string text;
  for (int attempt = 0; attempt < 100 && !contains(text, "bucket"); ++attempt)
    text = abort_after(std::chrono::milliseconds(10 + attempt % 30));
  CHECK_MESSAGE(contains(text, "aborted by rank 1: enough (step "), text);
  CHECK_MESSAGE(contains(text, ": tensor"), text);
}
