// SPDX-License-Identifier: Apache-2.0
// Calls into plugins: whatever comes back, an error that names the component, and never an exception of the plugin's own.
#include <doctest/doctest.h>

#include <chrono>

#include "core/loading/refusals.hpp"
#include "exchange/state_store.hpp"
#include "onebit/registry.hpp"

namespace {

using onebit::Code;
using onebit::Kind;
using onebit::Manifest;
using onebit::Registry;
using onebit::ResolvedTable;
using onebit::test::bad;

ResolvedTable options_of(const onebit::ComponentInfo& component, const std::string& lines = "") {
  const std::string table(onebit::name_of(component.kind));
  return ResolvedTable(Manifest::parse("[" + table + "]\n" + lines, "a.toml", "."), table, component.options);
}

template <class F>
onebit::Error thrown_by(F&& f) {
  try {
    f();
  } catch (const onebit::Error& e) {
    return e;
  }
  return onebit::Error(Code::internal, "no error");
}

std::unique_ptr<onebit::Optimizer> optimizer_of(Registry& registry, const std::string& defect) {
  registry.load(bad(defect));
  const onebit::ComponentInfo& component = registry.find(Kind::optimizer, "plain");
  return registry.make_optimizer(component, options_of(component));
}

std::unique_ptr<onebit::Compressor> compressor_of(Registry& registry, const std::string& defect) {
  registry.load(bad(defect));
  const onebit::ComponentInfo& component = registry.find(Kind::compressor, "plain");
  return registry.make_compressor(component, options_of(component));
}

// A host's end of declare that gives slots 0, 1, ...
struct Slots {
  int32_t next = 0;
  onebit_state table = {sizeof(onebit_state), this,
                        [](void* ctx, const onebit_state_desc*) { return static_cast<Slots*>(ctx)->next++; }, [](void*) {},
                        [](void*, int32_t) {}};
};

struct Planned {
  onebit::Plan plan;
  std::string error = "no error";
  Code code = Code::internal;
};

Planned plan_of(const std::string& defect, int64_t step = 1) {
  Registry registry;
  const auto optimizer = optimizer_of(registry, defect);
  Slots slots;
  onebit::StateDeclarer declarer(&slots.table);
  optimizer->declare({nullptr, 0}, declarer);
  onebit::Step at{};
  at.struct_size = sizeof at;
  at.number = step;
  onebit::Totals totals{};
  totals.struct_size = sizeof totals;
  Planned planned;
  planned.plan.release(3);  // of an earlier step: must be gone
  const onebit::Error error = thrown_by([&] { optimizer->plan(at, totals, planned.plan); });
  planned.error = error.what();
  planned.code = error.code();
  return planned;
}

struct Throwing {
  explicit Throwing(const std::string& where, const std::string& what)
      : lines("where = \"" + where + "\"\nwhat = \"" + what + "\"\n") {
    registry.load(bad("throwing"));
  }
  template <class Make>
  auto make(Kind kind, Make make) const {
    const onebit::ComponentInfo& component = registry.find(kind, "throwing");
    return make(component, options_of(component, lines));
  }
  auto optimizer() const {
    return make(Kind::optimizer, [&](auto& c, const auto& o) { return registry.make_optimizer(c, o); });
  }
  auto compressor() const {
    return make(Kind::compressor, [&](auto& c, const auto& o) { return registry.make_compressor(c, o); });
  }
  auto communicator() const {
    const onebit_rendezvous nowhere = {sizeof nowhere, 0, 1, 0, 1, nullptr, nullptr, nullptr};
    return make(Kind::communicator, [&](auto& c, const auto& o) { return registry.make_communicator(c, o, nowhere); });
  }

  Registry registry;
  std::string lines;
};

}  // namespace

TEST_CASE("create: refusals, silence, unknown codes, no object") {
  const auto error = [](const char* defect) {
    Registry registry;
    return thrown_by([&] { optimizer_of(registry, defect); });
  };
  CHECK(std::string(error("refuses").what()) == "optimizer 'plain': no such unit in this machine");
  CHECK(error("refuses").code() == Code::unavailable);
  CHECK(error("refuses").native() == 42);
  CHECK(std::string(error("silent").what()) == "optimizer 'plain': it gave no reason");
  CHECK(error("silent").code() == Code::out_of_memory);
  CHECK(std::string(error("unknown_code").what()) == "optimizer 'plain': answered with the unknown code 77: seventy-seven");
  CHECK(error("unknown_code").code() == Code::internal);
  CHECK(std::string(error("no_object").what()) == "optimizer 'plain': create answered OK but gave no object");
  CHECK(std::string(error("unterminated").what()) == "optimizer 'plain': " + std::string(483, 'x'));
}

TEST_CASE("plans are checked and copied") {
  const Planned good = plan_of("none", 2);
  CHECK(good.error == "no error");
  REQUIRE(good.plan.rounds().size == 2);
  CHECK(good.plan.rounds()[0].kind == onebit::RoundKind::dense);
  CHECK(good.plan.rounds()[0].of == onebit::Of::gradient);
  CHECK_FALSE(good.plan.rounds()[0].retain);
  CHECK(good.plan.rounds()[1].kind == onebit::RoundKind::compressed);
  CHECK(good.plan.rounds()[1].retain);
  REQUIRE(good.plan.releases().size == 1);
  CHECK(good.plan.releases()[0] == 0);
  CHECK(good.plan.apply);
  CHECK_FALSE(plan_of("none", 1).plan.apply);

  const std::string who = "optimizer 'plain': ";
  CHECK(plan_of("three_rounds").error == who + "planned 3 rounds, at most 2 are possible");
  CHECK(plan_of("two_compressed").error == who + "planned two compressed rounds, at most one is possible");
  CHECK(plan_of("unknown_round").error == who + "planned a round of the unknown kind 9");
  CHECK(plan_of("unknown_round").code == Code::unsupported);
  CHECK(plan_of("unknown_vector").error == who + "planned a round of the unknown vector 9");
  CHECK(plan_of("rounds_null").error == who + "planned rounds but gave none");
  CHECK(plan_of("slot_unknown").error == who + "released slot 1, which it did not declare");
  CHECK(plan_of("slot_there").error == who + "acquired slot 0, which it did not declare to begin later");
}

TEST_CASE("what an optimizer declares is checked") {
  const auto error = [](const char* defect) {
    Registry registry;
    const auto optimizer = optimizer_of(registry, defect);
    return std::string(thrown_by([&] { onebit::StateStore(*optimizer, {}); }).what());
  };
  const std::string who = "optimizer 'plain': expected slot 0: ";
  CHECK(error("none") == "no error");
  CHECK(error("state_size_3") == who + "its description has struct_size 3, expected at least 56");
  CHECK(error("state_scope") == who + "unknown scope 7");
  CHECK(error("state_reshard") == who + "unknown reshard 7");
  CHECK(error("state_dtype") == who + "per-element state is float 32 or bfloat 16");
  CHECK(error("state_later") ==
        "the optimizer declares that slot 0 begins later, but that is for per-element state which it declared, of zeros, and "
        "no anchor");
}

TEST_CASE("state that begins later: a host of version 1.0 has none, and the plugin says so") {
  Registry registry;
  registry.load(Registry::default_folder() / "onebit_plugin_onebit_adam.so");
  const onebit::ComponentInfo& component = registry.find(Kind::optimizer, "onebit_adam");
  const auto optimizer = registry.make_optimizer(component, options_of(component));
  Slots slots;
  slots.table.struct_size = offsetof(onebit_state, begins_later);
  onebit::StateDeclarer declarer(&slots.table);
  const onebit::Error error = thrown_by([&] { optimizer->declare({nullptr, 0}, declarer); });
  CHECK(std::string(error.what()) ==
        "optimizer 'onebit_adam': state 'reciprocal' begins later than the run, which this host, of version 1.0 of the "
        "contract, does not know: update onebit");
  CHECK(error.code() == Code::unsupported);
}

TEST_CASE("what a compressor describes is checked") {
  const auto error = [](const char* defect) {
    Registry registry;
    return std::string(thrown_by([&] { compressor_of(registry, defect); }).what());
  };
  const std::string who = "compressor 'plain': describes ";
  CHECK(error("none") == "no error");
  CHECK(error("codec_block") == who + "blocks of 33 elements, expected a multiple of 32, at most 65536");
  CHECK(error("codec_statistics") == who + "9 statistics a block, expected 0 to 8");
  CHECK(error("codec_span") == who + "the unknown span 7");
  CHECK(error("codec_fold") == who + "a span wider than a block but has no fold");
}

TEST_CASE("what a compressor says of its payload is checked, too") {
  const auto error = [](const char* defect) {
    Registry registry;
    const auto compressor = compressor_of(registry, defect);
    return std::string(thrown_by([&] { (void)compressor->payload_size(3); }).what());
  };
  const std::string who = "compressor 'plain': says that a block of 3 elements takes ";
  CHECK(error("none") == "no error");
  CHECK(error("payload_0") == who + "0 bytes, expected a multiple of 4 from 4 to 16777216");
  CHECK(error("payload_odd") == who + "13 bytes, expected a multiple of 4 from 4 to 16777216");
  CHECK(error("payload_huge") == who + "18446744073709551612 bytes, expected a multiple of 4 from 4 to 16777216");
}

TEST_CASE("a compressor in plain C works through its adapter") {
  Registry registry;
  const auto compressor = compressor_of(registry, "none");
  CHECK(compressor->describe().block == 4096);
  CHECK(compressor->payload_size(3) == 12);
  const float values[] = {1, 2, 3};
  float payload[3], out[] = {10, 10, 10};
  const onebit::Piece piece = {0, 3, 0, 0, 0};
  onebit::Batch batch{};
  batch.struct_size = sizeof batch;
  batch.piece_count = 1;
  batch.pieces = &piece;
  compressor->encode(batch, values, nullptr, nullptr, nullptr, payload);
  compressor->decode(batch, payload, 2, true, out);
  CHECK(out[2] == 16);
  CHECK(std::string(thrown_by([&] { compressor->fold({}, nullptr, nullptr); }).what()) == "compressor 'plain': it has no fold");
}

TEST_CASE("whatever a plugin throws becomes an error") {
  const auto error = [](const char* what) { return thrown_by([&] { Throwing("create", what).optimizer(); }); };
  const std::string who = "optimizer 'throwing': ";
  CHECK(who + "thrown on purpose" == error("error").what());
  CHECK(error("error").code() == Code::device_error);
  CHECK(error("error").native() == 5);
  CHECK(who + "thrown on purpose" == error("exception").what());
  CHECK(error("memory").code() == Code::out_of_memory);
  CHECK(who + "an exception that is not a std::exception" == error("own").what());
  CHECK(who + "an exception that is not a std::exception" == error("int").what());
  CHECK(who + "it gave no reason" == error("nothing").what());
  CHECK(who + std::string(483, 'x') == error("long").what());
  const std::string letters = error("letters").what();
  CHECK(letters.size() == who.size() + 483);  // 161 whole letters of three bytes
  CHECK(letters.substr(letters.size() - 3) == "\u20ac");
}

TEST_CASE("what a plugin of bare tables lets out is its failure") {
  const auto made = [&](const std::string& place) {
    Registry of_one;
    of_one.load(bad("crossing_" + place));
    const onebit::ComponentInfo& component = of_one.find(Kind::compressor, "crossing");
    return of_one.make_compressor(component, options_of(component));
  };
  const std::string escaped = "compressor 'crossing': it let an exception out, which no plugin may";
  CHECK(thrown_by([&] { made("create"); }).what() == escaped + ": thrown on purpose");
  CHECK(thrown_by([&] { (void)made("payload")->payload_size(32); }).what() == escaped);
  const onebit::Batch batch = {sizeof batch, 0, nullptr, nullptr, 1, 0, nullptr, nullptr};
  CHECK(thrown_by([&] { made("encode")->encode(batch, nullptr, nullptr, nullptr, nullptr, nullptr); }).what() == escaped);
  made("destroy").reset();  // and this process goes on
}

TEST_CASE("every call of an optimizer") {
  onebit::Step step{};
  onebit::Totals totals{};
  onebit::Tile tile{};
  Slots slots;
  onebit::StateDeclarer declarer(&slots.table);
  onebit::Plan plan;
  const auto message = [&](const char* where, auto call) {
    const auto optimizer = Throwing(where, "own").optimizer();  // outlives the registry that made it
    return std::string(thrown_by([&] { call(*optimizer); }).what());
  };
  const std::string expected = "optimizer 'throwing': an exception that is not a std::exception";
  CHECK(message("declare", [&](auto& o) { o.declare({nullptr, 0}, declarer); }) == expected);
  CHECK(message("plan", [&](auto& o) { o.plan(step, totals, plan); }) == expected);
  CHECK(message("consume", [&](auto& o) { o.consume(step, 0, tile); }) == expected);
  CHECK(message("combine", [&](auto& o) { o.combine(step, totals); }) == expected);
  CHECK(message("apply", [&](auto& o) { o.apply(step, tile); }) == expected);
  CHECK(message("nowhere", [&](auto& o) { o.produce(step, 0, tile); }) ==
        "optimizer 'throwing': this optimizer plans a round of a message but has no produce");
}

TEST_CASE("every call of a compressor") {
  onebit::Batch batch{};
  const auto message = [&](const char* where, auto call) {
    return std::string(thrown_by([&] { call(*Throwing(where, "exception").compressor()); }).what());
  };
  const std::string expected = "compressor 'throwing': thrown on purpose";
  CHECK(message("describe", [](auto&) {}) == expected);
  CHECK(message("payload_size", [](auto& c) { (void)c.payload_size(3); }) ==
        "compressor 'throwing': says that a block of 3 elements takes 0 bytes, expected a multiple of 4 from 4 to 16777216");
  CHECK(message("measure", [&](auto& c) { c.measure(batch, nullptr, nullptr, nullptr); }) == expected);
  CHECK(message("encode", [&](auto& c) { c.encode(batch, nullptr, nullptr, nullptr, nullptr, nullptr); }) == expected);
  CHECK(message("decode", [&](auto& c) { c.decode(batch, nullptr, 1, false, nullptr); }) == expected);
  CHECK(message("nowhere", [&](auto& c) { c.fold({}, nullptr, nullptr); }) ==
        "compressor 'throwing': this compressor describes a span wider than a block but has no fold");
}

TEST_CASE("every call of a communicator") {
  onebit::Tensor tensor{};
  const onebit::Call call;
  const auto message = [&](const char* where, auto use) {
    return std::string(thrown_by([&] { use(*Throwing(where, "exception").communicator()); }).what());
  };
  const std::string expected = "communicator 'throwing': thrown on purpose";
  CHECK(message("create", [](auto&) {}) == expected);
  CHECK(message("rank", [](auto&) {}) == expected);
  CHECK(message("all_reduce", [&](auto& c) { c.all_reduce(tensor, tensor, onebit::ReduceOp::sum, call); }) == expected);
  CHECK(message("all_to_all", [&](auto& c) { c.all_to_all(nullptr, nullptr, nullptr, nullptr, call); }) == expected);
  CHECK(message("broadcast", [&](auto& c) { c.broadcast(tensor, 0, call); }) == expected);
  CHECK(message("barrier", [&](auto& c) { c.barrier(call); }) == expected);
  CHECK(message("test", [&](auto& c) { c.test(c.broadcast(tensor, 0, call)); }) == expected);
  CHECK(message("wait", [&](auto& c) { c.wait(c.broadcast(tensor, 0, call)); }) == expected);
  CHECK(message("split", [&](auto& c) { c.split(0, 0); }) == expected);
  CHECK(message("abort", [&](auto& c) { c.abort("enough"); }) == expected);
}

TEST_CASE("a communicator's answers") {
  const auto communicator = Throwing("nowhere", "error").communicator();
  CHECK(communicator->rank() == 0);
  CHECK(communicator->size() == 1);
  onebit::Tensor tensor{};
  const onebit::Call call;
  CHECK(communicator->test(communicator->broadcast(tensor, 0, call)));
  CHECK(communicator->split(-1, 0) == nullptr);
  CHECK(std::string(thrown_by([&] { communicator->split(0, 0); }).what()) ==
        "communicator 'throwing': split answered OK but gave no communicator");
  CHECK(std::string(thrown_by([&] { communicator->all_gather(nullptr, nullptr, nullptr, call); }).what()) ==
        "communicator 'throwing': a collective answered OK but gave no request");
}

TEST_CASE("a thousand objects come and go") {
  Registry registry;
  const auto keep = optimizer_of(registry, "none");
  for (int i = 0; i < 1000; ++i) CHECK(optimizer_of(registry, "none") != nullptr);
}

// Against a bare call through a pointer, in turn with it: a machine that is slow or busy is so for both.
TEST_CASE("a call across the boundary costs a few bare calls") {
  Registry registry;
  const auto optimizer = optimizer_of(registry, "none");
  const onebit::Step step{};
  const onebit::Tile tile{};
  void (*volatile bare)(const onebit::Step&, int, const onebit::Tile&) = [](const auto&, int, const auto&) {};
  const auto nanoseconds = [](auto&& f) {
    constexpr int calls = 100000;
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < calls; ++i) f(i & 1);
    return std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - start).count() / calls;
  };
  double across = 1e9, yardstick = 1e9;
  for (int attempt = 0; attempt < 50; ++attempt) {
    across = std::min(across, nanoseconds([&](int round) { optimizer->consume(step, round, tile); }));
    yardstick = std::min(yardstick, nanoseconds([&](int round) { bare(step, round, tile); }));
  }
  MESSAGE("ns a call, virtual call, table and error head together: " << across << "; a bare one: " << yardstick);
#if defined(NDEBUG) && !defined(ONEBIT_SANITIZED)
  CHECK(across < 6 * yardstick);
#endif
}
