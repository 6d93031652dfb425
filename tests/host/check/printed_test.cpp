// SPDX-License-Identifier: Apache-2.0
// A configuration that is printed and read again is the same: generated ones of every size, with every option of every
// component.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <limits>
#include <random>

#include "onebit/configuration.hpp"
#include "onebit/session.hpp"
#include "support/random_text.hpp"
#include "support/running.hpp"
#include "support/scratch_folder.hpp"
#include "support/sessions.hpp"
#include "training/checkpoint_schema.hpp"
#include "training/train_schema.hpp"

using namespace onebit;

namespace {

using Random = std::mt19937_64;

bool chance(Random& random, int percent) { return random() % 100 < static_cast<uint64_t>(percent); }

// As somebody else would write it, not by the writer that is tested: all that is long in lines of some 200 characters.
std::string in_toml(const std::string& text) {
  std::string toml = "\"\"\"";
  size_t begin = 0;
  char code[8];
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    std::snprintf(code, sizeof code, "\\u%04X", static_cast<unsigned>(byte));
    const bool breaks = toml.size() - begin > 200 && (byte & 0xC0) != 0x80;
    if (breaks) toml += "\\\n";
    if (breaks) begin = toml.size();
    const bool plain = byte >= 0x80 || (byte > 0x20 && byte != 0x7f && c != '"' && c != '\\');
    toml += plain ? std::string(1, c) : code;
  }
  return toml + "\"\"\"";
}
std::string in_toml(double value) {
  char text[40];
  std::snprintf(text, sizeof text, "%.17e", value);
  return text;
}

double any_real(Random& random, double least, double most) {
  const double edges[] = {least,
                          most,
                          0,
                          -0.0,
                          std::numeric_limits<double>::denorm_min(),
                          std::numeric_limits<double>::min(),
                          1e308,
                          std::numeric_limits<double>::max(),
                          0.1,
                          1.0 / 3};
  const double choice = chance(random, 60)
                            ? edges[random() % std::size(edges)]
                            : least + (std::min(most, 1e9) - least) * static_cast<double>(random() >> 11) * 0x1p-53;
  return std::clamp(choice, least, most);
}
int64_t any_integer(Random& random, double least, double most) {
  constexpr double reach = 9223372036854774784.0;  // the largest double below 2^63
  const auto low = static_cast<int64_t>(std::clamp(least, -reach, reach)),
             high = static_cast<int64_t>(std::clamp(most, -reach, reach));
  if (most >= 0x1p63 && chance(random, 30)) return std::numeric_limits<int64_t>::max();
  if (chance(random, 50)) return chance(random, 50) ? low : high;
  return low + static_cast<int64_t>(random() % (static_cast<uint64_t>(high) - static_cast<uint64_t>(low) + 1));
}
std::string any_word(Random& random, const onebit_schema& schema) {
  std::string_view words = view(schema.choices);
  if (words.empty()) return random() % 8 == 0 ? test::random_text(random, 3000) : test::random_text(random, random() % 30);
  for (uint64_t skip = random() % 4; skip > 0 && words.find('|') != words.npos; --skip)
    words.remove_prefix(words.find('|') + 1);
  return std::string(words.substr(0, words.find('|')));
}
std::string any_scalar(Random& random, const onebit_schema& schema) {
  std::vector<int64_t> types;
  for (const int64_t type : {ONEBIT_VALUE_BOOL, ONEBIT_VALUE_INT, ONEBIT_VALUE_FLOAT, ONEBIT_VALUE_STRING})
    if ((schema.types & type) != 0) types.push_back(type);
  switch (types[random() % types.size()]) {
    case ONEBIT_VALUE_BOOL:
      return chance(random, 50) ? "true" : "false";
    case ONEBIT_VALUE_INT:
      return std::to_string(any_integer(random, schema.minimum, schema.maximum));
    case ONEBIT_VALUE_FLOAT:
      return in_toml(any_real(random, schema.minimum, schema.maximum));
    default:
      return in_toml(any_word(random, schema));
  }
}
std::string any_array(Random& random, size_t most, const std::function<std::string()>& element) {
  std::string text = "[\n";
  for (size_t left = random() % (most + 1); left > 0; --left) text += element() + ",\n";
  return text + "]";
}
std::string any_value(Random& random, const onebit_schema& schema) {
  if (schema.array_max == 0) return any_scalar(random, schema);
  return any_array(random, static_cast<size_t>(schema.array_max), [&] { return any_scalar(random, schema); });
}
std::string any_options(Random& random, const std::vector<const onebit_schema*>& schema) {
  std::string text;
  for (const onebit_schema* option : schema)
    if (chance(random, 70)) text += std::string(view(option->key)) + " = " + any_value(random, *option) + "\n";
  return text;
}

const ComponentInfo& any_component(Random& random, Kind kind) {
  std::vector<const ComponentInfo*> found;
  static const std::vector<PluginInfo> plugins = test::plugins().plugins();
  for (const PluginInfo& plugin : plugins)
    for (const ComponentInfo& component : plugin.components)
      if (component.kind == kind && component.device == ONEBIT_DEVICE_CPU && plugin.unavailable.empty())
        found.push_back(&component);
  return *found[random() % found.size()];
}
std::string any_section(Random& random, Kind kind) {
  const ComponentInfo& component = any_component(random, kind);
  return "[" + std::string(name_of(kind)) + "]\nplugin = \"" + component.name + "\"\n" + any_options(random, component.options);
}
std::string any_patterns(Random& random, size_t most) {
  return any_array(random, most, [&] { return in_toml(test::random_text(random, random() % 20)); });
}
std::string any_groups(Random& random, size_t count) {
  std::string text;
  for (size_t i = 0; i < count; ++i) {
    text += "[[optimizer.group]]\ntensors = [" + in_toml(test::random_text(random, 1 + random() % 20)) + ", \"b\"]\n";
    if (chance(random, 50)) text += "lr = " + in_toml(any_real(random, 0, 1)) + "\n";
  }
  return text;
}
std::string any_plugins(Random& random, size_t pins) {
  std::string text = "[plugins]\npath = " +
                     any_array(random, 20, [&] { return in_toml("p" + test::random_text(random, random() % 90, false)); }) +
                     "\n";
  for (size_t i = 0; i < pins; ++i)
    text += "[[plugins.pin]]\nfile = " + in_toml((i % 2 == 0 ? "sub/" : "") + std::to_string(i) + "\"\t.so") + "\nsha256 = \"" +
            std::string(64, "0123456789abcdefABCDEF"[i % 22]) + "\"\n";
  return text;
}

// size: about the number of groups, pins and patterns.
std::string any_manifest(Random& random, size_t size) {
  std::vector<std::string> sections = {
      any_plugins(random, size / 4),
      "[session]\n" + any_options(random, session_schema()),
      "[exchange]\n" + any_options(random, exchange_schema()),
      "[train]\n" + any_options(random, host::train_schema()),
      "[checkpoint]\n" + any_options(random, host::checkpoint_schema()),
      any_groups(random, size),
      any_section(random, Kind::optimizer) + "dense = " + any_patterns(random, std::min<size_t>(size, 1024)) + "\n",
      any_section(random, Kind::compressor)};
  const ComponentInfo& threads = test::plugins().find(Kind::communicator, "threads");
  sections.push_back("[communicator]\nplugin = \"threads\"\n" + any_options(random, threads.options));
  std::shuffle(sections.begin(), sections.end(), random);
  std::string text;
  for (const std::string& section : sections) text += section;
  return text;
}

void check_round_trip(const std::string& manifest) {
  const std::vector<std::string> usable = {"session.device=cpu", "session.clip_norm=0.3"};
  const Configuration first(test::plugins(), Manifest::parse(manifest, "a.toml", "/con figs", usable), host::train_schema(),
                            host::checkpoint_schema());
  for (const bool help : {false, true}) {
    const std::string text = first.to_toml(help);
    CAPTURE(text.size());
    const Configuration again(test::plugins(), Manifest::parse(text, "b.toml", "/elsewhere"), host::train_schema(),
                              host::checkpoint_schema());
    CHECK(again.hash() == first.hash());
    CHECK((again.to_toml(help) == text));
    CHECK(again.groups.size() == first.groups.size());
  }
}

}  // namespace

TEST_CASE("a generated configuration is printed and read again with the same hash") {
  for (uint64_t seed = 0; seed < 40; ++seed) {
    CAPTURE(seed);
    Random random(seed);
    check_round_trip(any_manifest(random, seed % 20));
  }
}

#ifdef ONEBIT_SANITIZED  // the time to read them grows with the square of their number
constexpr size_t kManyGroups = 200;
#else
constexpr size_t kManyGroups = 1500;
#endif

TEST_CASE("a configuration with as many groups, pins and patterns as a large model has tensors is read again, too") {
  Random random(7);
  check_round_trip(any_manifest(random, kManyGroups));
}

TEST_CASE("what check prints is checked again with the same words, from another folder") {
  const ScratchFolder first, second;
  const std::string text =
      "[[optimizer.group]]\ntensors = ['*.bias']\n[optimizer]\nplugin = 'onebit_adam'\n[compressor]\nplugin = 'onebit'\n"
      "[communicator]\nplugin = 'threads'\n[plugins]\npath = []\n[train]\ndata_folder = \"my \\\"data\\\"\"\n";
  const test::Outcome told = test::run_onebit("check " + first.file("a.toml", text).string());
  REQUIRE_MESSAGE(told.status == 0, told.text);
  CHECK_SAYS(told, "data_folder = \"" + first.path().string() + "/my \\\"data\\\"\"\n");
  const test::Outcome again = test::run_onebit("check " + second.file("b.toml", told.text).string());
  CHECK(again.text.substr(again.text.find('\n')) == told.text.substr(told.text.find('\n')));
  CHECK(again.text.substr(again.text.find("; hash "), 23) == told.text.substr(told.text.find("; hash "), 23));
}
