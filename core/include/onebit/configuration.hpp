// SPDX-License-Identifier: Apache-2.0
// The configuration: a manifest resolved against the plugins that are there. Every table is validated, every default filled in;
// nothing has been created yet. Two ranks may work together when their hashes are equal.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "onebit/manifest.hpp"
#include "onebit/parameter.hpp"
#include "onebit/registry.hpp"

namespace onebit {

// A component that the manifest selected, with its options.
struct Selection {
  const ComponentInfo* component = nullptr;  // NULL: none selected (only the compressor may be left out)
  const PluginInfo* plugin = nullptr;
  ResolvedTable options;
};

// Tensors by name: `*` stands for any run of characters, `?` for one, all else for itself.
struct Pattern {
  std::string text;
  Location where;
};
// `dense` of [optimizer]: tensors that are exempt from compression, whatever the optimizer.
struct ExemptTensors {
  std::vector<Pattern> tensors;
  ResolvedTable options;
};
// One [[optimizer.group]]. options: the lr and weight_decay of its tensors, its own or else the optimizer's.
struct TensorGroup {
  std::vector<Pattern> tensors;
  ResolvedTable options;
};

struct Configuration {
  // train_schema, checkpoint_schema: of [train] and [checkpoint], which belong to the command `onebit` and not to the core;
  // empty: that table is not looked at, so that a manifest may serve both. Throws Error, at the first thing that is wrong. The
  // registry outlives the configuration.
  Configuration(const Registry& registry, const Manifest& manifest, const std::vector<const onebit_schema*>& train_schema = {},
                const std::vector<const onebit_schema*>& checkpoint_schema = {});

  std::filesystem::path folder;  // what plugins.path is relative to
  ResolvedTable plugins;
  std::string pins;  // the tables [[plugins.pin]], as TOML
  ResolvedTable session, exchange, train, checkpoint;
  Selection optimizer, compressor, communicator;
  ExemptTensors exempt;
  std::vector<TensorGroup> groups;  // a tensor belongs to the first that matches it, or else to the optimizer's own options

  // Of everything on which ranks must agree: optimizer, compressor, exchange, session and the plugins' versions; not of the
  // communicator, of worker threads, of the device, of the trace, of where plugins lie, of [train] or of [checkpoint].
  uint64_t hash() const;
  // The text that this is the hash of, `key = value` under its [table].
  std::string compared() const;
  // The whole, as a manifest that gives the same configuration wherever it lies. with_help: each option's meaning above it.
  std::string to_toml(bool with_help = false) const;
};

// What `dense` and the groups of [optimizer] make of a tensor.
struct TensorRole {
  int64_t group = 0;    // counted from 1 as in the manifest; 0: the optimizer's own lr and weight_decay
  bool exempt = false;  // from compression
};
// By tensor. Throws Error(invalid_argument) for a pattern that matches none of them, with the names that are nearest.
std::vector<TensorRole> roles_of(const Configuration& configuration, const std::vector<Parameter>& parameters);

// The schemas of the tables [session] and [exchange]; that of [plugins] is in registry.hpp.
std::vector<const onebit_schema*> session_schema();
std::vector<const onebit_schema*> exchange_schema();

}  // namespace onebit
