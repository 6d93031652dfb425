// The conformance suites: all plugins of ours pass them, and wrong ones are caught.
#include <doctest/doctest.h>

#include "onebit/conformance/doctest.hpp"

namespace onebit::test {
namespace {

void check(const std::string& library, const std::string& toml = "") {
  Registry registry;
  const PluginInfo& plugin = registry.load(Registry::default_folder() / (library + ".so"));
  for (const conformance::Result& result : conformance::run(registry, plugin, Manifest::parse(toml, "test.toml", "."))) {
    CAPTURE(result.component);
    CAPTURE(result.name);
    CHECK_MESSAGE(result.outcome != conformance::Outcome::failed, result.text);
    std::printf("%-28s %-32s %.3f s %s\n", result.component.c_str(), result.name.c_str(), result.seconds, result.text.c_str());
  }
}

}  // namespace

TEST_CASE("adam conforms") { check("onebit_plugin_adam"); }
TEST_CASE("onebit conforms") { check("onebit_plugin_onebit"); }
TEST_CASE("threads conforms") { check("onebit_plugin_threads"); }

}  // namespace onebit::test

ONEBIT_CONFORMANCE(onebit::Registry::default_folder() / "onebit_plugin_adam.so")
