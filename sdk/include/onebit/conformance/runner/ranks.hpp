// One case of the communicator suite on ranks that are threads of this process.
#pragma once

#include <exception>
#include <string>
#include <thread>
#include <vector>

#include "onebit/conformance/communicator.hpp"
#include "onebit/conformance/runner/component.hpp"
#include "onebit/rendezvous.hpp"

namespace onebit::conformance {

// A rank that fails gives the others notice, so that they do not wait for it.
inline std::string outcome_on(const MakeCommunicator& make, const onebit_rendezvous& rendezvous, void (*body)(Rank&)) {
  Rank self;
  std::string text;
  try {
    self = make(rendezvous);
    body(self);
  } catch (const std::exception& e) {
    text = e.what();
  }
  try {
    if (!text.empty() && self) self->abort("the case failed on rank " + std::to_string(rendezvous.rank));
  } catch (const std::exception&) {
    // what it says is of no use: the case has failed already
  }
  return text;
}

// What went wrong on which rank; "": nothing.
inline std::string run_on_threads(const MakeCommunicator& make, int ranks, void (*body)(Rank&)) {
  LocalRendezvous rendezvous(ranks);
  std::vector<std::string> texts(static_cast<size_t>(ranks));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank)
    threads.emplace_back([&, rank] { texts[static_cast<size_t>(rank)] = outcome_on(make, rendezvous.at(rank), body); });
  for (std::thread& thread : threads) thread.join();
  std::string all;
  for (int rank = 0; rank < ranks; ++rank)
    if (const std::string& text = texts[static_cast<size_t>(rank)]; !text.empty())
      all += (all.empty() ? "" : "; ") + ("rank " + std::to_string(rank)) + " of " + std::to_string(ranks) + ": " + text;
  return all;
}

// On groups of one rank and more.
inline void run_on_ranks(const Subject& subject, const CommunicatorCase& one) {
  for (const int ranks : {1, 2, 3, 4}) {
    const std::string text =
        run_on_threads([&](const onebit_rendezvous& at) { return subject.communicator(at); }, ranks, one.run);
    require(text.empty(), text);
  }
}

}  // namespace onebit::conformance
