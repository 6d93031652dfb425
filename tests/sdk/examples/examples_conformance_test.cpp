// SPDX-License-Identifier: Apache-2.0
// The conformance suites over every example, as `onebit plugins verify` runs them; and over options that change what a codec
// is.
#include <doctest/doctest.h>

#include "examples.hpp"
#include "support/conformance.hpp"

using namespace onebit;
using namespace onebit::test;

namespace {

void check_conformance(const std::string& name, const std::string& toml = "") {
  if (!can_try(name)) return;
  Registry registry;
  const PluginInfo& plugin = registry.load(example_file(name));
  int passed = 0;
  for (const ConformanceResult& result : run_conformance(registry, plugin, Manifest::parse(toml, "test.toml", "."))) {
    CHECK_MESSAGE(!result.failed, result.component, ": ", result.name, ": ", result.text);
    passed += result.passed ? 1 : 0;
  }
  CHECK(passed > 5);
}

}  // namespace

TEST_CASE("distributed_lion and vote conform") { check_conformance("distributed_lion"); }
TEST_CASE("qsgd conforms, with every number of bits, with and without feedback") {
  for (const char* options : {"", "bits = 1", "bits = 3\nfeedback = true", "bits = 7", "bits = 8\nfeedback = true\nblock = 32"})
    check_conformance("qsgd", std::string("[compressor]\n") + options);
}
TEST_CASE("topk conforms, with one element a block and with all") {
  for (const char* options : {"", "ratio = 0.0001", "ratio = 0.3\nblock = 32", "ratio = 1.0"})
    check_conformance("topk", std::string("[compressor]\n") + options);
}
TEST_CASE("int8 conforms") {
  for (const char* options : {"", "block = 32", "block = 65536"})
    check_conformance("int8", std::string("[compressor]\n") + options);
}
TEST_CASE("ternary conforms") {
  for (const char* options : {"", "clip = 0", "block = 65536"})
    check_conformance("ternary", std::string("[compressor]\n") + options);
}
