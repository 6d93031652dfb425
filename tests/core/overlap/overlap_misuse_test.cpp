// SPDX-License-Identifier: Apache-2.0
// What goes wrong between begin() and step(): each rank is told what, and none waits for ever.
#include <doctest/doctest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "support/error_text.hpp"
#include "support/gradients.hpp"
#include "support/scratch_folder.hpp"
#include "support/sessions.hpp"
#include "support/text.hpp"

using namespace onebit;
using namespace onebit::test;

namespace {

const Tensors two_tensors = {std::vector<float>(3000, 0.5F), std::vector<float>(2000, 0.25F)};

// Two ranks after four steps, two of them compressed; what each is told by what it then does.
std::vector<std::string> told(const std::function<void(Rank, const Tensors& gradients)>& then) {
  std::vector<std::string> found(2);
  run_sessions(2, onebit_adam("freeze_step = 2\n", "[exchange]\nbucket_bytes = 4096\n"), two_tensors, [&](Rank rank) {
    for (int64_t step = 1; step <= 4; ++step) rank.session.step(pointers(noisy(two_tensors, step, rank.number)));
    const Tensors gradients = noisy(two_tensors, 5, rank.number);
    found[static_cast<size_t>(rank.number)] = error_of([&] { then(rank, gradients); });
  });
  return found;
}

void finish(Rank rank, const Tensors& gradients) {
  rank.session.ready(1, gradients[1].data());
  rank.session.ready(0, gradients[0].data());
  rank.session.step();
}

}  // namespace

TEST_CASE("overlap: one rank that begins a step, and one that has all gradients at once, are told apart") {
  for (const std::string& text : told([](Rank rank, const Tensors&gradients) {
         if (rank.number == 1) return static_cast<void>(rank.session.step(pointers(gradients)));
         rank.session.begin();
         finish(rank, gradients);
       })) {
    CAPTURE(text);
    CHECK(contains(text, "how it began"));
    CHECK(contains(text, "by begin()"));
  }
}

TEST_CASE("overlap: a session that ends between begin() and step() ends the step on the other rank, with its name") {
  std::vector<std::string> found(2);
  LocalRendezvous rendezvous(2);
  host::run_ranks(2, [&](int rank) {
    Tensors own = two_tensors;
    Session session(plugins(), configure(onebit_adam("freeze_step = 2\n", "[exchange]\nbucket_bytes = 4096\n")),
                    rendezvous.at(rank), parameters_of(own));
    for (int64_t step = 1; step <= 4; ++step) session.step(pointers(noisy(two_tensors, step, rank)));
    const Tensors gradients = noisy(two_tensors, 5, rank);
    session.begin();
    if (rank == 1) return;  // as where an exception passes by
    found[0] = error_of([&] { finish({session, own, rank}, gradients); });
  });
  CHECK_MESSAGE(contains(found[0], "rank 1"), found[0]);
  CHECK_MESSAGE(contains(found[0], "ended between begin() and step()"), found[0]);
}

TEST_CASE("overlap: what can't be asked between begin() and step() is refused, and the step goes on") {
  const ScratchFolder folder;
  const std::vector<std::function<void(Session&)>> questions = {[](Session& session) { (void)session.timings(); },
                                                                [](Session& session) { (void)session.footprint(); },
                                                                [](Session& session) { (void)session.traffic(); },
                                                                [](Session& session) { (void)session.parameter_hash(); },
                                                                [](Session& session) { session.set_learning_rate_factor(0.5); },
                                                                [](Session& session) { session.set_gradient_scale(0.5); },
                                                                [](Session& session) { session.set_next_step(9); },
                                                                [](Session& session) { (void)session.settle(); },
                                                                [](Session& session) { session.begin(); },
                                                                [](Session& session) {
                                                                  (void)session.step({nullptr, nullptr});
                                                                },
                                                                [&](Session& session) { (void)session.save(folder.path()); },
                                                                [](Session& session) { (void)session.finish_save(); },
                                                                [&](Session& session) { (void)session.load(folder.path()); }};
  for (const std::string& text : told([&](Rank rank, const Tensors&gradients) {
         rank.session.begin();
         for (const auto& question : questions) {
           const std::string error = error_of([&] { question(rank.session); });
           CHECK_MESSAGE(contains(error, "between begin() and step()"), error);
         }
         finish(rank, gradients);
         CHECK(rank.session.parameter_hash() != 0);
       }))
    CHECK(text == "");
}

TEST_CASE("overlap: gradients that are announced twice, too early, too late, or of no parameter") {
  for (const std::string& text : told([](Rank rank, const Tensors&gradients) {
         Session& session = rank.session;
         const auto announce = [&](size_t tensor) {
           return error_of([&] { session.ready(tensor, gradients[tensor % 2].data()); });
         };
         CHECK(announce(0) == "ready() was called before begin()");
         CHECK(error_of([&] { rank.session.ready(7, nullptr); }) == "ready() was called before begin()");
         session.begin();
         CHECK(announce(2) == "ready() was told of parameter 2, but there are 2, numbered from 0");
         CHECK(announce(1) == "");
         CHECK(announce(1).find("the gradient of 't1' was announced twice in one step") == 0);
         finish(rank, gradients);
       })) {
    CAPTURE(text);
    CHECK(contains(text, "announced twice"));  // the step can't be finished
  }
}

TEST_CASE("overlap: step() without begin()") {
  for (const std::string& text : told([](Rank rank, const Tensors&) { rank.session.step(); }))
    CHECK_MESSAGE(contains(text, "without begin() before it"), text);
}

TEST_CASE("overlap: sessions end at any moment of a step, and gradients are read no more") {
  for (int attempt = 0; attempt < 30; ++attempt) {
    LocalRendezvous rendezvous(2);
    host::run_ranks(2, [&](int rank) {
      Tensors own = two_tensors;
      Session session(plugins(), configure(onebit_adam("freeze_step = 2\n", "[exchange]\nbucket_bytes = 4096\n")),
                      rendezvous.at(rank), parameters_of(own));
      const auto gradient = std::make_shared<std::vector<float>>(2000, 0.5F);
      try {
        for (int64_t step = 1; step <= 4; ++step) session.step(pointers(noisy(two_tensors, step, rank)));
        session.begin();
        session.ready(1, gradient->data(), gradient);
        std::this_thread::sleep_for(std::chrono::microseconds(attempt * 20 * (rank + 1)));
      } catch (const Error& e) {  // the other one may have ended while this one still finishes step 4
        if (!contains(e.what(), "a session ended between begin() and step()")) throw;
      }
    });
  }
}

TEST_CASE("overlap: the session keeps a gradient's memory until the step is done, and no longer") {
  for (const std::string& text : told([](Rank rank, const Tensors&) {
         std::weak_ptr<void> seen;
         rank.session.begin();
         for (const size_t t : {1U, 0U}) {
           auto gradient = std::make_shared<std::vector<float>>(two_tensors[t].size(), 0.5F);
           seen = gradient;
           rank.session.ready(t, gradient->data(), gradient);
         }
         CHECK_FALSE(seen.expired());
         rank.session.step();
         CHECK(seen.expired());
       }))
    CHECK(text == "");
}
