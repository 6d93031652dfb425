// SPDX-License-Identifier: Apache-2.0
// A host whose contract has grown loads the plugins of 1.0, those of today, and those that have grown with it.
#include "driving.hpp"
#include "driving_ranks.hpp"
#include "loading/first_sizes.hpp"

using namespace onebit;

static_assert(ONEBIT_ABI_MINOR == 99 && sizeof(onebit_plugin) > 72, "this host is not of the grown contract");

namespace {

void drive(Registry& registry, const std::string& name) {
  CAPTURE(name);
  abi::drive_optimizer(registry, name);
  abi::drive_compressor(registry, name);
  abi::drive_failures(registry, name);
}

}  // namespace

TEST_CASE("a grown host and the plugins that are kept of 1.0") {
  if (!abi::runs_kept_binaries()) return;
  Registry registry;
  for (const char* name : {"kept_c", "kept_cpp"}) {
    const PluginInfo& info = registry.load(abi::kept(name));
    CHECK(info.abi_minor == 0);
    CHECK(info.components.size() == 2);
    drive(registry, name);
  }
  registry.load(abi::kept("kept_meeting"));
  abi::drive_ranks(registry, "meeting");
}

TEST_CASE("what an older plugin gave is copied no further than it goes") {
  auto whole = abi::sized<onebit_schema>();
  whole.maximum = 3;
  whole.array_max = 4;
  whole.grown = 77;
  CHECK(copied(whole).grown == 77);
  whole.struct_size = FirstSize<onebit_schema>::value;
  CHECK(copied(whole).struct_size == sizeof(onebit_schema));
  CHECK(copied(whole).maximum == 3);
  CHECK(copied(whole).array_max == 4);
  CHECK(copied(whole).grown == 0);
}

TEST_CASE("a grown host and plugins that have grown with it") {
  Registry registry;
  for (const char* name : {"grown_c", "grown_cpp"}) {
    CHECK(registry.load(abi::built(name)).abi_minor == 99);
    drive(registry, name);
  }
}

TEST_CASE("a grown host and the plugins of today") {
  Registry registry;
  registry.load_folder(ONEBIT_BUILTIN_PLUGINS);
  for (const LoadFailure& failure : registry.failures()) FAIL_CHECK(failure.reason);
  const auto adam = abi::make_optimizer(registry, "adam", "lr = 0.5\n");
  abi::Model model(*adam);
  model.step(4);
  for (const float parameter : model.parameters)
    CHECK(parameter == doctest::Approx(0.5));  // the first step is lr, whatever came
  const auto onebit = abi::make_compressor(registry, "onebit");
  CHECK(onebit->payload_size(64) == 12);
  CHECK(abi::make_optimizer(registry, "onebit_adam") != nullptr);
  abi::drive_ranks(registry, "threads");
}
