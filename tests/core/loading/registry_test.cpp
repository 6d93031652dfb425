// SPDX-License-Identifier: Apache-2.0
// The registry: search, rivals, absence with reasons, availability, services, and the end of a plugin's use.
#include "onebit/registry.hpp"
#include "core/loading/refusals.hpp"

#include <dlfcn.h>
#include <doctest/doctest.h>
#include <spdlog/sinks/ostream_sink.h>

#include <sstream>

#include "loading/host_services.hpp"
#include "support/scratch_folder.hpp"

namespace {

namespace fs = std::filesystem;
using onebit::Kind;
using onebit::Manifest;
using onebit::Registry;
using onebit::test::bad;
using onebit::test::error_of;

struct Log {
  std::ostringstream text;
  std::shared_ptr<spdlog::logger> logger =
      std::make_shared<spdlog::logger>("test", std::make_shared<spdlog::sinks::ostream_sink_mt>(text));
  Log() { logger->set_pattern("%l %v"); }
};

fs::path put(const ScratchFolder& folder, const std::string& plugin, const std::string& name) {
  fs::copy_file(bad(plugin), folder / name);
  return folder / name;
}

}  // namespace

TEST_CASE("the built-in plugins are found beside the core") {
  Registry registry;
  CHECK(Registry::default_folder() == fs::path(ONEBIT_BINARY_DIR) / "lib/onebit/plugins");
  registry.load(Manifest::parse("", "a.toml", "/nowhere"));
  CHECK(registry.failures().empty());
  for (const char* name : {"adam", "onebit_adam"}) CHECK(registry.find(Kind::optimizer, name).name == name);
  const onebit::ComponentInfo& threads = registry.find(Kind::communicator, "threads");
  CHECK(registry.plugin_of(threads).components[0].name == "threads");
  CHECK(registry.find(Kind::compressor, "onebit").device == ONEBIT_DEVICE_CPU);
}

TEST_CASE("one line of information a plugin") {
  Log log;
  Registry registry(log.logger);
  registry.load(bad("none"));
  registry.load(bad("none"));
  CHECK(log.text.str() == "info plugin plain 0.9.1: optimizer/plain (cpu), compressor/plain (cpu); " +
                              fs::canonical(bad("none")).string() + ", ABI 1." + std::to_string(ONEBIT_ABI_MINOR) +
                              ", a C compiler\n");
}

TEST_CASE("a folder: sound libraries load, the others are warned of and remembered") {
  const ScratchFolder folder;
  put(folder, "none", "good.so");
  put(folder, "no_entry", "bad.so");
  folder.file("text.so", "text");
  folder.file("readme.txt", "not looked at");
  Log log;
  Registry registry(log.logger);
  registry.load_folder(folder.path());
  CHECK(registry.plugins().size() == 1);
  REQUIRE(registry.failures().size() == 2);
  CHECK(registry.failures()[0].file == folder / "bad.so");
  CHECK(registry.failures()[1].reason.find("not an ELF file") != std::string::npos);
  CHECK(log.text.str().find("warning plugin 'text' (" + (folder / "text.so").string() + "): not an ELF file") !=
        std::string::npos);
  CHECK(error_of([&] { registry.load_folder(folder / "absent"); }) ==
        "the plugin folder " + (folder / "absent").string() + " can't be read: No such file or directory");
}

TEST_CASE("an absent component: where was looked, what failed there, what may have been meant") {
  const ScratchFolder folder;
  put(folder, "none", "good.so");
  put(folder, "no_entry", "broken.so");
  Registry registry;
  CHECK(error_of([&] { registry.find(Kind::optimizer, "adam"); }) ==
        "no optimizer 'adam' for cpu; there are no optimizers to choose from");
  registry.load_folder(folder.path());
  const std::string failed =
      "; failed to load: plugin 'broken' (" + (folder / "broken.so").string() + "): not an onebit plugin";
  const std::string text = error_of([&] { registry.find(Kind::optimizer, "plan"); });
  CHECK(text.find("no optimizer 'plan' for cpu in " + folder.path().string() + failed) == 0);
  CHECK(text.find("; did you mean 'plain'?") == text.size() - 23);
  CHECK(error_of([&] { registry.find(Kind::communicator, "plain"); }).find("; what is there: optimizer 'plain' for cpu") !=
        std::string::npos);
  CHECK(error_of([&] { registry.find(Kind::optimizer, "plain", ONEBIT_DEVICE_CUDA); }).find("no optimizer 'plain' for cuda") ==
        0);
  CHECK(error_of([&] { registry.find(Kind::optimizer, "banana"); }).find("; optimizers to choose from: 'plain'") !=
        std::string::npos);
}

TEST_CASE("two libraries with the same component") {
  Registry registry;
  registry.load(bad("none"));
  const std::string first = fs::canonical(bad("none")).string(), second = fs::canonical(bad("rival")).string();
  CHECK(error_of([&] { registry.load(bad("rival")); }) ==
        "plugin 'rival' (" + second + "): optimizer 'plain' for cpu is already in " + first + "; load only one of the two");
  CHECK(registry.find(Kind::optimizer, "plain").name == "plain");  // the first goes on working

  const ScratchFolder folder;
  put(folder, "none", "a.so");
  put(folder, "rival", "b.so");
  Registry scanning;
  scanning.load_folder(folder.path());
  CHECK(error_of([&] { scanning.find(Kind::optimizer, "plain"); }) ==
        "optimizer 'plain' for cpu is there twice: in " + (folder / "a.so").string() + " and in " + (folder / "b.so").string() +
            "; remove one of the two");
}

TEST_CASE("one library under several names is one library") {
  const ScratchFolder folder;
  const fs::path file = put(folder, "none", "a.so");
  fs::create_symlink(file, folder / "b.so");
  fs::create_hard_link(file, folder / "c.so");
  Registry registry;
  registry.load_folder(folder.path());
  CHECK(registry.plugins().size() == 1);
  CHECK(registry.failures().empty());
}

TEST_CASE("a plugin that can't be used on this machine loads, and says so when it is asked for by name") {
  Registry registry;
  CHECK(registry.load(bad("probe_unavailable")).unavailable == "no abacus in this machine");
  const std::string file = fs::canonical(bad("probe_unavailable")).string();
  CHECK(error_of([&] { registry.find(Kind::optimizer, "plain"); }) ==
        "plugin 'probe_unavailable' (" + file +
            "): optimizer 'plain' for cpu can't be used on this machine: no abacus in this machine");
}

TEST_CASE("the manifest's path: files and folders, relative to it, and what is wrong says where it was written") {
  const ScratchFolder folder;
  fs::create_directory(folder / "more");
  put(folder, "none", "one.so");
  fs::copy_file(bad("throwing"), folder / "more/two.so");
  Registry registry;
  registry.load(Manifest::parse("[plugins]\npath = [\"one.so\", \"./more\"]", "a.toml", folder.path()));
  CHECK(registry.find(Kind::optimizer, "plain").name == "plain");
  CHECK(registry.find(Kind::optimizer, "throwing").name == "throwing");

  const auto load = [&](const std::string& text) {
    Registry other;
    return error_of([&] { other.load(Manifest::parse(text, "a.toml", folder.path())); });
  };
  CHECK(load("[plugins]\npaths = [\"x\"]") == "a.toml:2:1: unknown key 'paths' in [plugins]; did you mean 'path'?");
  CHECK(load("[plugins]\npath = 'x'").find("a.toml:2:8: plugins.path: expected an array of at most 256 strings") == 0);
}

TEST_CASE("the embedder's own folders come before the built-in ones") {
  const ScratchFolder folder;
  put(folder, "none", "one.so");
  Registry registry;
  registry.load(Manifest::parse("", "a.toml", "."), {folder.path()});
  CHECK(registry.plugins().front().name == "plain");
  CHECK(registry.plugins().size() > 1);
}

TEST_CASE("components of another registry or kind are refused") {
  Registry one, other;
  one.load(bad("none"));
  other.load(bad("none"));
  const onebit::ComponentInfo& component = one.find(Kind::optimizer, "plain");
  CHECK(error_of([&] { other.make_optimizer(component, {}); }) == "the component 'plain' is not from this registry");
  CHECK(error_of([&] { one.make_compressor(component, {}); }) ==
        "the component 'plain' is of the kind optimizer, expected compressor");
}

TEST_CASE("shutdown comes once, after the last object and the last registry that uses the plugin") {
  void* library = dlopen(bad("rival").c_str(), RTLD_NOW | RTLD_LOCAL);
  REQUIRE(library != nullptr);
  int shutdowns = 0;
  const auto count = reinterpret_cast<void (*)(int*)>(dlsym(library, "bad_count_shutdowns"));
  REQUIRE((count != nullptr));
  count(&shutdowns);
  std::unique_ptr<onebit::Optimizer> optimizer;
  {
    Registry outer;
    outer.load(bad("rival"));
    {
      Registry inner;
      inner.load(bad("rival"));
      const onebit::ComponentInfo& component = inner.find(Kind::optimizer, "plain");
      const onebit::ResolvedTable options(Manifest::parse("", "a.toml", "."), "optimizer", component.options);
      optimizer = inner.make_optimizer(component, options);
    }
    CHECK(shutdowns == 0);
  }
  CHECK(shutdowns == 0);
  optimizer->combine({}, {});  // objects outlive the registry
  optimizer.reset();
  CHECK(shutdowns == 1);
  count(nullptr);
}

TEST_CASE("services: logs, memory, metrics") {
  Log log;
  onebit::HostServices& services = onebit::HostServices::make(log.logger);
  const onebit_host& host = *services.table();
  CHECK(host.log_enabled(host.ctx, ONEBIT_LOG_INFO) == 1);
  CHECK(host.log_enabled(host.ctx, ONEBIT_LOG_DEBUG) == 0);
  host.log(host.ctx, ONEBIT_LOG_WARN, onebit::str("adam"), onebit::str("a {} brace"));
  host.log(host.ctx, 1000, {nullptr, 0}, {nullptr, 0});
  CHECK(log.text.str() == "warning adam: a {} brace\nerror : \n");

  const onebit_device cpu = {ONEBIT_DEVICE_CPU, 0};
  void* memory = nullptr;
  REQUIRE(host.alloc(host.ctx, cpu, 100, 64, nullptr, &memory) == ONEBIT_OK);
  CHECK(reinterpret_cast<uintptr_t>(memory) % 64 == 0);
  host.free(host.ctx, cpu, memory, nullptr);
  CHECK(host.alloc(host.ctx, cpu, 100, 48, nullptr, &memory) == ONEBIT_INVALID_ARGUMENT);
  CHECK(host.alloc(host.ctx, {ONEBIT_DEVICE_CUDA, 0}, 100, 64, nullptr, &memory) == ONEBIT_UNSUPPORTED);
#ifndef ONEBIT_SANITIZED  // their allocators end the process instead
  CHECK(host.alloc(host.ctx, cpu, SIZE_MAX / 2, 64, nullptr, &memory) == ONEBIT_OUT_OF_MEMORY);
#endif

  const int32_t handle = host.metric(host.ctx, ONEBIT_METRIC_COUNTER, onebit::str("steps"));
  host.record(host.ctx, handle, 2);
  host.record(host.ctx, -1, 2);
  CHECK(services.metrics().snapshot()[0].value == 2);
}
