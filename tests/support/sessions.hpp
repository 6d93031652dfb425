// SPDX-License-Identifier: Apache-2.0
// Sessions for tests: n ranks as threads, each with its own copy of a small model, under a manifest given as text.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "launch/ranks.hpp"
#include "onebit/configuration.hpp"
#include "onebit/manifest.hpp"
#include "onebit/registry.hpp"
#include "onebit/rendezvous.hpp"
#include "onebit/session.hpp"

namespace onebit::test {

using Tensors = std::vector<std::vector<float>>;

// The built-in plugins, loaded once.
inline const Registry& plugins() {
  static Registry* registry = [] {
    auto* made = new Registry();  // lives as long as the process, as its libraries do
    made->load_folder(Registry::default_folder());
    return made;
  }();
  return *registry;
}

inline Configuration configure(const std::string& toml) {
  return Configuration(plugins(), Manifest::parse(toml, "test.toml", "."));
}

inline std::vector<const float*> pointers(const Tensors& tensors) {
  std::vector<const float*> result;
  for (const std::vector<float>& tensor : tensors) result.push_back(tensor.data());
  return result;
}

inline std::vector<Parameter> parameters_of(Tensors& tensors) {
  std::vector<Parameter> result;
  for (size_t k = 0; k < tensors.size(); ++k)
    result.push_back({"t" + std::to_string(k), {static_cast<int64_t>(tensors[k].size())}, tensors[k].data()});
  return result;
}

// One rank as its body sees it.
struct Rank {
  Session& session;
  Tensors& parameters;
  int number;
};

// Runs body on every rank; answers the parameters of all ranks afterwards.
inline std::vector<Tensors> run_sessions(int ranks, const std::function<std::string(int)>& toml, const Tensors& initial,
                                         const std::function<void(Rank)>& body) {
  LocalRendezvous rendezvous(ranks);
  std::vector<Tensors> parameters(static_cast<size_t>(ranks), initial);
  host::run_ranks(ranks, [&](int rank) {
    Tensors& own = parameters[static_cast<size_t>(rank)];
    const Configuration configuration = configure(toml(rank));
    Session session(plugins(), configuration, rendezvous.at(rank), parameters_of(own));
    body({session, own, rank});
  });
  return parameters;
}
inline std::vector<Tensors> run_sessions(int ranks, const std::string& toml, const Tensors& initial,
                                         const std::function<void(Rank)>& body) {
  return run_sessions(
      ranks, [&](int) { return toml; }, initial, body);
}

// A manifest for onebit_adam over threads; more lines of [optimizer] first, then whole tables.
inline std::string onebit_adam(const std::string& optimizer, const std::string& tables = "") {
  return "[optimizer]\nplugin = \"onebit_adam\"\n" + optimizer +
         "\n[compressor]\nplugin = \"onebit\"\n[communicator]\nplugin = \"threads\"\ntimeout = 60\n" + tables;
}

}  // namespace onebit::test
