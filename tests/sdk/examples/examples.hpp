// SPDX-License-Identifier: Apache-2.0
// The plugins of sdk/examples as a test fixture has built them, loaded together with the built-in ones; sessions and codecs
// with them.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "support/sessions.hpp"

namespace onebit::test {

inline const char* const all_examples[] = {"distributed_lion", "qsgd", "topk", "int8", "ternary"};

inline std::filesystem::path example_file(const std::string& name) {
  return std::filesystem::path(ONEBIT_EXAMPLES) / name / (name + ".so");
}

// Only what needs a compiler that not every machine has may be absent.
inline bool is_built(const std::string& name) {
  const bool there = std::filesystem::exists(example_file(name));
  if (name != "ternary") REQUIRE_MESSAGE(there, example_file(name).string(), " was not built");
  return there;
}
// For a test of this one: says so.
inline bool can_try(const std::string& name) {
  if (!is_built(name)) MESSAGE("SKIPPED: the example " << name << " was not built, for there is no rustc");
  return is_built(name);
}

inline const Registry& with_examples() {
  static Registry* const loaded = [] {
    auto* made = new Registry;  // lives as long as the process, as its libraries do
    made->load_folder(Registry::default_folder());
    for (const std::string name : all_examples)
      if (is_built(name)) made->load(example_file(name));
    return made;
  }();
  return *loaded;
}

inline std::unique_ptr<Compressor> example_codec(const std::string& name, const std::string& lines = "") {
  const Manifest manifest = Manifest::parse("[compressor]\n" + lines, "test.toml", ".");
  const ComponentInfo& component = with_examples().find(Kind::compressor, name);
  return with_examples().make_compressor(component, ResolvedTable(manifest, "compressor", component.options));
}

// Blocks of a vector one after another, as the exchange lays them out; key: of the first, the next ones are 2 more each.
struct Blocks {
  Blocks(const Compressor& codec, size_t count, uint64_t key = 0) {
    const int64_t most = codec.describe().block;
    for (int64_t first = 0; first < static_cast<int64_t>(count); first += most) {
      const int64_t n = std::min(most, static_cast<int64_t>(count) - first);
      pieces.push_back({first, n, static_cast<int64_t>(bytes), static_cast<int64_t>(pieces.size()), key});
      bytes += codec.payload_size(n);
      key += 2;
    }
  }
  Batch batch(uint64_t step = 1, uint64_t rank = 0) const {
    return {sizeof(Batch), pieces.size(), pieces.data(), nullptr, step, rank, nullptr, nullptr};
  }
  std::vector<Piece> pieces;
  size_t bytes = 0;
};

using Floats = std::vector<float>;
using Bytes = std::vector<std::byte>;

// errors: empty for a codec without feedback.
inline Bytes encode(const Compressor& codec, const Batch& batch, size_t bytes, const Floats& values, Floats& errors) {
  Bytes payload(bytes, std::byte{0xA5});
  float* const error = errors.empty() ? nullptr : errors.data();
  codec.encode(batch, values.data(), error, error, nullptr, payload.data());
  return payload;
}
inline Floats decode(const Compressor& codec, const Batch& batch, const Bytes& payload, size_t count, float weight = 1) {
  Floats out(count);
  codec.decode(batch, payload.data(), weight, false, out.data());
  return out;
}

// Sessions as threads; gradients(step, rank); answers every rank's parameters.
inline std::vector<Tensors> train_examples(const std::string& toml, int ranks, int steps, const Tensors& model,
                                           const std::function<Tensors(int, int)>& gradients) {
  std::vector<Tensors> parameters(static_cast<size_t>(ranks), model);
  LocalRendezvous rendezvous(ranks);
  host::run_ranks(ranks, [&](int rank) {
    const Configuration configuration(with_examples(), Manifest::parse(toml, "test.toml", "."));
    Session session(with_examples(), configuration, rendezvous.at(rank), parameters_of(parameters[static_cast<size_t>(rank)]));
    for (int step = 1; step <= steps; ++step) session.step(pointers(gradients(step, rank)));
  });
  return parameters;
}

}  // namespace onebit::test
