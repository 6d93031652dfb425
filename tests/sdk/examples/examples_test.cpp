// SPDX-License-Identifier: Apache-2.0
// The example plugins as libraries: they load together, export one symbol each, and are what their comments say.
#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <map>
#include <sstream>

#include "examples.hpp"
#include "loading/elf.hpp"
#include "support/running.hpp"
#include "support/scratch_folder.hpp"

using namespace onebit;
using namespace onebit::test;

TEST_CASE("all load in one host, together with the built-in plugins") {
  const Registry& registry = with_examples();
  CHECK(registry.find(Kind::optimizer, "distributed_lion").options.size() == 3);
  for (const std::string name : {"vote", "qsgd", "topk", "int8", "ternary", "onebit"})
    if (name != "ternary" || is_built("ternary")) CHECK(registry.find(Kind::compressor, name).device == ONEBIT_DEVICE_CPU);
  CHECK(registry.find(Kind::optimizer, "adam").kind == Kind::optimizer);
}

TEST_CASE("each exports its entry and nothing else") {
  for (const std::string name : all_examples) {
    CAPTURE(name);
    if (is_built(name)) CHECK(ElfLibrary(example_file(name)).exported == std::vector<std::string>{"onebit_plugin_entry_v1"});
  }
}

TEST_CASE("a block that is no multiple of 32 is refused, in C, C++ and Rust alike") {
  for (const std::string name : {"qsgd", "topk", "int8", "ternary"}) {
    CAPTURE(name);
    if (!is_built(name)) continue;
    const std::string most = name == "topk" ? "4096" : "65536";
    CHECK_THROWS_WITH_AS(
        (void)example_codec(name, "block = 100"),
        ("test.toml:2:9: compressor '" + name + "': block is 100; it must be a multiple of 32 from 32 to " + most).c_str(),
        Error);
  }
}

TEST_CASE("int8: the one command of its comment builds it, and what it makes encodes the same bytes") {
  const std::string folder = std::string(ONEBIT_SOURCE_DIR) + "/sdk/examples/int8/", source = contents_of(folder + "int8.c");
  const size_t begin = source.find("cc -std=c99"), end = source.find('\n', begin);
  REQUIRE(begin != std::string::npos);
  std::string command = source.substr(begin, end - begin);
  const size_t prefix = command.find("PREFIX/include");
  REQUIRE(prefix != std::string::npos);
  command.replace(prefix, 14, std::string("'") + ONEBIT_SOURCE_DIR "/sdk/include'");
  const ScratchFolder scratch;
  const Outcome outcome =
      run_shell("cd '" + scratch.path().string() + "' && cp '" + folder + "int8.c' . && " + command + " -Wall -Wextra -Werror");
  REQUIRE_MESSAGE(outcome.status == 0, outcome.text);
  CHECK(ElfLibrary(scratch / "int8.so").exported == std::vector<std::string>{"onebit_plugin_entry_v1"});
  Registry registry;
  const ComponentInfo& component = registry.load(scratch / "int8.so").components.front();
  const Manifest manifest = Manifest::parse("[compressor]\n", "test.toml", ".");
  const auto plain = registry.make_compressor(component, ResolvedTable(manifest, "compressor", component.options));
  const auto built = example_codec("int8");
  Floats values(1500), errors(1500), again(1500);
  for (size_t i = 0; i < values.size(); ++i) values[i] = std::ldexp(static_cast<float>(i % 77) - 38, -static_cast<int>(i % 9));
  const Blocks blocks(*built, values.size());
  CHECK(encode(*plain, blocks.batch(), blocks.bytes, values, errors) ==
        encode(*built, blocks.batch(), blocks.bytes, values, again));
  CHECK(errors == again);
}

// Which the Rust compiler can't see: that abi.rs says what the header says.
TEST_CASE("ternary: its declarations in Rust are laid out as the header's") {
  if (!can_try("ternary")) return;
  std::map<std::string, size_t> header;
#define FIELD(of, field) header[#of " " #field] = offsetof(onebit_##of, field)
#define SIZE(of) header[#of] = sizeof(onebit_##of)
  FIELD(str, data), FIELD(str, size), SIZE(str);
  FIELD(error, struct_size), FIELD(error, native), FIELD(error, message), SIZE(error);
  FIELD(option, struct_size), FIELD(option, key), FIELD(option, type), FIELD(option, integer), FIELD(option, real);
  FIELD(option, string), SIZE(option);
  FIELD(schema, struct_size), FIELD(schema, key), FIELD(schema, help), FIELD(schema, fallback), FIELD(schema, choices);
  FIELD(schema, minimum), FIELD(schema, maximum), FIELD(schema, types), FIELD(schema, array_max), SIZE(schema);
  FIELD(config, struct_size), FIELD(config, count), FIELD(config, options), SIZE(config);
  FIELD(codec, struct_size), FIELD(codec, block), FIELD(codec, statistics), FIELD(codec, span), FIELD(codec, feedback);
  SIZE(codec);
  FIELD(piece, first), FIELD(piece, count), FIELD(piece, payload), FIELD(piece, statistic), FIELD(piece, key), SIZE(piece);
  FIELD(batch, struct_size), FIELD(batch, piece_count), FIELD(batch, pieces), FIELD(batch, device_pieces);
  FIELD(batch, step), FIELD(batch, rank), FIELD(batch, skip), FIELD(batch, stream), SIZE(batch);
  FIELD(compressor_api, struct_size), FIELD(compressor_api, create), FIELD(compressor_api, destroy);
  FIELD(compressor_api, describe), FIELD(compressor_api, payload_size), FIELD(compressor_api, measure);
  FIELD(compressor_api, fold), FIELD(compressor_api, encode), FIELD(compressor_api, decode), SIZE(compressor_api);
  FIELD(component, struct_size), FIELD(component, kind), FIELD(component, name), FIELD(component, device);
  FIELD(component, capabilities), FIELD(component, options), FIELD(component, option_count), FIELD(component, api);
  SIZE(component);
  FIELD(plugin, struct_size), FIELD(plugin, abi_minor), FIELD(plugin, name), FIELD(plugin, version), FIELD(plugin, toolchain);
  FIELD(plugin, components), FIELD(plugin, component_count), FIELD(plugin, probe), FIELD(plugin, shutdown), SIZE(plugin);
#undef FIELD
#undef SIZE
  std::map<std::string, size_t> rust;
  std::istringstream lines(run_shell("'" + (example_file("ternary").parent_path() / "layout").string() + "'").text);
  for (std::string line; std::getline(lines, line);) {
    const size_t number = line.rfind(' ');
    REQUIRE(line.find("onebit_") == 0);
    rust[line.substr(7, number - 7)] = std::stoul(line.substr(number + 1));
  }
  CHECK(rust.size() == header.size());
  for (const auto& entry : header) CHECK_MESSAGE(rust[entry.first] == entry.second, entry.first);
}
