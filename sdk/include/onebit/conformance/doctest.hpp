// SPDX-License-Identifier: Apache-2.0
// The conformance suites as test cases of an author's own test program:
//
//   #include <onebit/conformance/doctest.hpp>
//   ONEBIT_CONFORMANCE("onebit_plugin_mine.so")
//   ONEBIT_CONFORMANCE("onebit_plugin_mine.so", "[optimizer]\nmine = 3")    // with options, as in a manifest
//
// makes a TEST_CASE of each case of each kind; those of kinds that the library does not have say so and pass. Once a source
// file; for more, put each into a namespace. ONEBIT_OPTIMIZER_CONFORMANCE, ONEBIT_COMPRESSOR_CONFORMANCE and
// ONEBIT_COMMUNICATOR_CONFORMANCE, with the same arguments, are of one kind, which must be there.
#pragma once

#include <doctest/doctest.h>

#include <cstdio>
#include <filesystem>
#include <string>

#include "onebit/conformance/run.hpp"

namespace onebit::conformance {

// A library under test, loaded when the first case asks for it.
struct Library {
  explicit Library(const std::filesystem::path& file, const std::string& toml = "")
      : plugin(registry.load(std::filesystem::absolute(file))),
        options(Manifest::parse(toml, "ONEBIT_CONFORMANCE", std::filesystem::current_path())) {}
  Registry registry;
  const PluginInfo& plugin;
  Manifest options;
};

inline void tell(const Result& result) {
  INFO(result.component, ": ", result.name);
  if (result.outcome == Outcome::skipped) std::printf("SKIPPED: %s: %s\n", result.component.c_str(), result.text.c_str());
  CHECK_MESSAGE(result.outcome != Outcome::failed, result.text);
}

inline void test(const Library& library, Kind kind, const std::string& name, bool must_be_there) {
  bool found = false;
  for (const ComponentInfo& component : library.plugin.components) {
    if (component.kind != kind) continue;
    found = true;
    for (const Result& result : run(library.registry, library.plugin, component, library.options, {}, name)) tell(result);
  }
  if (must_be_there) CHECK_MESSAGE(found, "no ", std::string(name_of(kind)), " is in ", library.plugin.file.string());
}

}  // namespace onebit::conformance

#define ONEBIT_CONFORMANCE_LIBRARY(required, ...)                     \
  namespace {                                                         \
  constexpr bool onebit_kind_required = required;                     \
  const ::onebit::conformance::Library& onebit_library() {            \
    static const ::onebit::conformance::Library library(__VA_ARGS__); \
    return library;                                                   \
  }                                                                   \
  }
#define ONEBIT_CONFORMANCE_CASE(kind, name)                                                           \
  TEST_CASE("conforms: " #kind ": " #name) {                                                          \
    ::onebit::conformance::test(onebit_library(), ::onebit::Kind::kind, #name, onebit_kind_required); \
  }
#define ONEBIT_OPTIMIZER_CONFORMANCE_CASE(name) ONEBIT_CONFORMANCE_CASE(optimizer, name)
#define ONEBIT_COMPRESSOR_CONFORMANCE_CASE(name) ONEBIT_CONFORMANCE_CASE(compressor, name)
#define ONEBIT_COMMUNICATOR_CONFORMANCE_CASE(name) ONEBIT_CONFORMANCE_CASE(communicator, name)

#define ONEBIT_OPTIMIZER_CONFORMANCE(...)       \
  ONEBIT_CONFORMANCE_LIBRARY(true, __VA_ARGS__) \
  ONEBIT_OPTIMIZER_CASES(ONEBIT_OPTIMIZER_CONFORMANCE_CASE)
#define ONEBIT_COMPRESSOR_CONFORMANCE(...)      \
  ONEBIT_CONFORMANCE_LIBRARY(true, __VA_ARGS__) \
  ONEBIT_COMPRESSOR_CASES(ONEBIT_COMPRESSOR_CONFORMANCE_CASE)
#define ONEBIT_COMMUNICATOR_CONFORMANCE(...)        \
  ONEBIT_CONFORMANCE_LIBRARY(true, __VA_ARGS__)     \
  ONEBIT_COMMUNICATOR_CONFORMANCE_CASE(killed_rank) \
  ONEBIT_COMMUNICATOR_CASES(ONEBIT_COMMUNICATOR_CONFORMANCE_CASE)
#define ONEBIT_CONFORMANCE(...)                               \
  ONEBIT_CONFORMANCE_LIBRARY(false, __VA_ARGS__)              \
  ONEBIT_COMMUNICATOR_CONFORMANCE_CASE(killed_rank)           \
  ONEBIT_OPTIMIZER_CASES(ONEBIT_OPTIMIZER_CONFORMANCE_CASE)   \
  ONEBIT_COMPRESSOR_CASES(ONEBIT_COMPRESSOR_CONFORMANCE_CASE) \
  ONEBIT_COMMUNICATOR_CASES(ONEBIT_COMMUNICATOR_CONFORMANCE_CASE)
