// SPDX-License-Identifier: Apache-2.0
// How long things live: a thousand objects come and go and nothing grows, objects outlive the registry that made them, and
// libraries side by side keep their own globals.
#include <doctest/doctest.h>
#include <malloc.h>

#include "core/loading/refusals.hpp"
#include "onebit/registry.hpp"

namespace {

using onebit::Kind;
using onebit::Manifest;
using onebit::Registry;
using onebit::ResolvedTable;
using onebit::test::bad;
using onebit::test::error_of;

const onebit_rendezvous kAlone = {sizeof kAlone, 0, 1, 0, 1, nullptr, nullptr, nullptr};

// Calls use(object) with a new object of the component.
template <class Use>
void with_object(const Registry& registry, Kind kind, const char* name, Use use) {
  const onebit::ComponentInfo& component = registry.find(kind, name);
  const ResolvedTable options(Manifest::parse("", "a.toml", "."), onebit::name_of(kind), component.options);
  if (kind == Kind::optimizer) use(registry.make_optimizer(component, options));
  if (kind == Kind::compressor) use(registry.make_compressor(component, options));
  if (kind == Kind::communicator) use(registry.make_communicator(component, options, kAlone));
}

struct Named {
  Kind kind;
  const char* name;
};
constexpr Named kAll[] = {{Kind::optimizer, "plain"},       {Kind::compressor, "plain"},      {Kind::optimizer, "throwing"},
                          {Kind::compressor, "throwing"},   {Kind::communicator, "throwing"}, {Kind::optimizer, "adam"},
                          {Kind::optimizer, "onebit_adam"}, {Kind::compressor, "onebit"}};

int64_t block_of(const Registry& registry, const char* name) {
  int64_t block = 0;
  const onebit::ComponentInfo& component = registry.find(Kind::compressor, name);
  block = registry.make_compressor(component, ResolvedTable())->describe().block;
  return block;
}

}  // namespace

#ifdef ONEBIT_SANITIZED  // which has means of its own to see what stays, of a few
constexpr int kMany = 50;
#else
constexpr int kMany = 1000;
#endif

TEST_CASE("a thousand objects of each kind come and go, and nothing grows") {
  Registry registry;
  registry.load_folder(Registry::default_folder());
  for (const char* name : {"none", "throwing"}) registry.load(bad(name));
  const auto live = [] { return mallinfo2().uordblks; };  // 0 under a sanitizer
  const auto come_and_go = [&](const Named& named, int count) {
    for (int i = 0; i < count; ++i) with_object(registry, named.kind, named.name, [](const auto& object) { REQUIRE(object); });
  };
  for (const Named& named : kAll) {
    CAPTURE(named.name);
    come_and_go(named, 10);
    const size_t before = live();
    come_and_go(named, kMany);
    CHECK(live() <= before + 4096);  // an object that stayed would be more: a thousand of them are at least 16,000 bytes
  }
}

TEST_CASE("objects of each kind outlive the registry that made them") {
  std::unique_ptr<onebit::Compressor> compressor;
  std::unique_ptr<onebit::Communicator> communicator;
  {
    Registry registry;
    registry.load(bad("throwing"));
    registry.load(bad("none"));
    const onebit::ComponentInfo& plain = registry.find(Kind::compressor, "plain");
    compressor = registry.make_compressor(plain, ResolvedTable());
    const onebit::ComponentInfo& throwing = registry.find(Kind::communicator, "throwing");
    const ResolvedTable options(Manifest::parse("", "a.toml", "."), "communicator", throwing.options);
    communicator = registry.make_communicator(throwing, options, kAlone);
  }
  CHECK(compressor->describe().block == 4096);
  CHECK(compressor->payload_size(3) == 12);
  CHECK(communicator->size() == 1);
  communicator->barrier(onebit::Call());
}

TEST_CASE("two libraries with a global of the same name: each keeps its own") {
  Registry registry;
  registry.load(bad("shared_1"));
  registry.load(bad("shared_2"));
  CHECK(block_of(registry, "shared_one") == 32);
  CHECK(block_of(registry, "shared_two") == 64);
}

TEST_CASE("two libraries with a symbol that is unique in a process: never one with the other's") {
  Registry registry;
  registry.load(bad("unique_1"));
  const std::string error = error_of([&] { registry.load(bad("unique_2")); });
#if defined(__GNUC__) && !defined(__clang__)
  CHECK(error == "plugin 'unique_2' (" + bad("unique_2").string() + "): it exports SharedState::block, and so does " +
                     bad("unique_1").string() + ": one would use the other's; compile both with -fvisibility=hidden");
#else
  REQUIRE(error == "no error");
  CHECK(block_of(registry, "shared_two") == 64);
#endif
  CHECK(block_of(registry, "shared_one") == 32);
}
