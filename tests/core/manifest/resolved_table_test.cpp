// SPDX-License-Identifier: Apache-2.0
// Tables against schemas: defaults filled in, values in the type the component asked for, every misfit named.
#include <doctest/doctest.h>

#include <limits>

#include "manifest/schema_text.hpp"
#include "onebit/manifest.hpp"

namespace {

using onebit::Manifest;
using onebit::ResolvedTable;

constexpr double infinite = std::numeric_limits<double>::infinity();

std::vector<const onebit_schema*> schema() {
  static onebit_schema steps =
      onebit::option("freeze_step", ONEBIT_VALUE_INT | ONEBIT_VALUE_STRING, "\"auto\"", 1, 9e18, "The last dense step");
  steps.choices = onebit::str("auto");
  static onebit_schema layers = onebit::text_option("layers", "[]", "conv|linear", "Which layers");
  layers.array_max = 3;
  static onebit_schema sizes = onebit::integer_option("sizes", "[1, 2]", 1, 100, "Sizes");
  sizes.array_max = 2;
  static const onebit_schema rest[] = {
      onebit::real_option("lr", "1e-3", 0, 1, "The learning rate."),
      onebit::array_option("betas", "[0.9, 0.999]", 2, 0, 1, "Decay"),
      onebit::boolean_option("nesterov", "false", "Look ahead"),
      onebit::text_option("scale", "\"block\"", "block|tensor|bucket", "Span of a scale"),
      onebit::integer_option("rank", "", 1, infinite, "How many"),
      onebit::real_option("floor", "-inf", -infinite, infinite, "Anything"),
  };
  std::vector<const onebit_schema*> all = {&steps, &layers, &sizes};
  for (const onebit_schema& s : rest) all.push_back(&s);
  return all;
}

ResolvedTable resolved(const std::string& lines, bool with_rank = true) {
  const std::string text = "[optimizer]\nplugin = \"p\"\n" + lines + (with_rank ? "\nrank = 4\n" : "\n");
  return ResolvedTable(Manifest::parse(text, "a.toml", "."), "optimizer", schema(), true);
}

std::string table_error(const std::string& lines, bool with_rank = true) {
  try {
    resolved(lines, with_rank);
  } catch (const onebit::Error& e) {
    CHECK(e.code() == onebit::Code::invalid_argument);
    return e.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("defaults are filled in, values arrive in the type that was promised") {
  const ResolvedTable table = resolved("lr = 1\nsizes = [7]\nlayers = ['linear', 'conv']\nfreeze_step = 12");
  const onebit::Options options = table.options();
  CHECK(options.real("lr") == 1.0);
  CHECK(options.reals("betas") == std::vector<double>{0.9, 0.999});
  CHECK(options.integer("sizes.0") == 7);
  CHECK_THROWS(options.integer("sizes.1"));
  CHECK(options.text("layers.0") == "linear");
  CHECK(options.text("layers.1") == "conv");
  CHECK_FALSE(options.boolean("nesterov"));
  CHECK(options.text("scale") == "block");
  CHECK_FALSE(options.is_text("freeze_step"));
  CHECK(options.integer("freeze_step") == 12);
  CHECK(options.integer("rank") == 4);
  CHECK(resolved("").options().is_text("freeze_step"));
}

TEST_CASE("a table survives copies and moves") {
  ResolvedTable first = resolved("scale = 'tensor'");
  const onebit_config* config = first.config();
  ResolvedTable copy = first;
  const ResolvedTable moved = std::move(first);
  copy = resolved("scale = 'bucket'");
  CHECK(moved.config() == config);
  CHECK(moved.options().text("scale") == "tensor");
  CHECK(copy.options().text("scale") == "bucket");
  CHECK(ResolvedTable().config()->count == 0);
}

TEST_CASE("unknown keys") {
  CHECK(table_error("betsa = [1]") == "a.toml:3:1: unknown key 'betsa' in [optimizer] with plugin 'p'; did you mean 'betas'?");
  CHECK(table_error("  weight_decay = 1") ==
        "a.toml:3:3: unknown key 'weight_decay' in [optimizer] with plugin 'p'; known keys: 'freeze_step', 'layers', 'sizes', "
        "'lr', 'betas', 'nesterov', 'scale', 'rank', 'floor', 'plugin', 'dense', 'group'");
}

TEST_CASE("wrong types") {
  CHECK(table_error("lr = \"fast\"") == "a.toml:3:6: optimizer.lr: expected a number from 0 to 1, found the string \"fast\"");
  CHECK(table_error("lr = [0.1]") == "a.toml:3:6: optimizer.lr: expected a number from 0 to 1, found the array [0.1]");
  CHECK(table_error("nesterov = 1") == "a.toml:3:12: optimizer.nesterov: expected true or false, found the integer 1");
  CHECK(table_error("freeze_step = 1.5") ==
        "a.toml:3:15: optimizer.freeze_step: expected an integer from 1 to 9e+18 or \"auto\", found the number 1.5");
  CHECK(table_error("betas = 0.9") ==
        "a.toml:3:9: optimizer.betas: expected an array of at most 2 numbers from 0 to 1, found the number 0.9");
  CHECK(table_error("betas = ['a']") ==
        "a.toml:3:10: optimizer.betas: expected an array of at most 2 numbers from 0 to 1, found the array [\"a\"]");
  CHECK(table_error("sizes = [1.5]") ==
        "a.toml:3:10: optimizer.sizes: expected an array of at most 2 integers from 1 to 100, found the array [1.5]");
  CHECK(table_error("rank = true", false) == "a.toml:3:8: optimizer.rank: expected an integer >= 1, found the boolean true");
  CHECK(table_error("floor = 'x'") == "a.toml:3:9: optimizer.floor: expected a number, found the string \"x\"");
}

TEST_CASE("out of range, not among the choices, too many, missing") {
  CHECK(table_error("lr = 2") == "a.toml:3:6: optimizer.lr: expected a number from 0 to 1, found the integer 2");
  CHECK(table_error("lr = -1e-9") == "a.toml:3:6: optimizer.lr: expected a number from 0 to 1, found the number -1e-09");
  CHECK(table_error("lr = nan") == "a.toml:3:6: optimizer.lr: expected a number from 0 to 1, found the number nan");
  CHECK(table_error("rank = 0", false) == "a.toml:3:8: optimizer.rank: expected an integer >= 1, found the integer 0");
  CHECK(table_error("betas = [0.9, 1.1]") ==
        "a.toml:3:15: optimizer.betas: expected an array of at most 2 numbers from 0 to 1, found the array [0.9, 1.1]");
  CHECK(table_error("betas = [0.1, 0.2, 0.3]").find("found the array [0.1, 0.2, 0.3]") != std::string::npos);
  CHECK(
      table_error("scale = 'blok'") ==
      "a.toml:3:9: optimizer.scale: expected one of \"block\", \"tensor\", \"bucket\", found the string \"blok\"; did you mean "
      "\"block\"?");
  CHECK(table_error("layers = ['conv', 'pool']").find("an array of at most 3 strings, each one of \"conv\", \"linear\"") !=
        std::string::npos);
  CHECK(table_error("", false) == "a.toml:1:1: [optimizer] lacks the required key 'rank': expected an integer >= 1 (How many)");
}

TEST_CASE("as TOML: schema order, canonical values, help on request") {
  const ResolvedTable table = resolved("lr = 1");
  CHECK(table.to_toml() ==
        "freeze_step = \"auto\"\nlayers = []\nsizes = [1, 2]\nlr = 1.0\nbetas = [0.9, 0.999]\nnesterov = false\n"
        "scale = \"block\"\nrank = 4\nfloor = -inf\n");
  CHECK(table.to_toml(true).find("# The learning rate (a number from 0 to 1; default 1e-3)\nlr = 1.0\n") != std::string::npos);
  CHECK(table.to_toml(true).find("# How many (an integer >= 1; required)\nrank = 4\n") != std::string::npos);
  CHECK(table.to_toml_without({"lr", "rank"}).find("rank") == std::string::npos);
  const Manifest again = Manifest::parse("[optimizer]\n" + table.to_toml(true), "b.toml", ".");
  CHECK(ResolvedTable(again, "optimizer", schema()).to_toml() == table.to_toml());
}

TEST_CASE("unsound schemas are told apart from sound ones") {
  using onebit::defect_of;
  for (const onebit_schema* sound : schema()) CHECK(defect_of(*sound) == "");
  CHECK(defect_of(onebit::real_option("", "1", 0, 1, "")).find("its key ''") == 0);
  CHECK(defect_of(onebit::real_option("a b", "1", 0, 1, "")).find("its key 'a b'") == 0);
  CHECK(defect_of(onebit::option("x", 0, "1", 0, 1, "")) == "its types 0 are not ONEBIT_VALUE_ bits");
  CHECK(defect_of(onebit::real_option("x", "1", 1, 0, "")) == "its range is 1 to 0");
  CHECK(defect_of(onebit::real_option("x", "1", 0, std::numeric_limits<double>::quiet_NaN(), "")).find("its range") == 0);
  CHECK(defect_of(onebit::real_option("x", "2", 0, 1, "")) == "its default `2` is not a number from 0 to 1");
  CHECK(defect_of(onebit::text_option("x", "block", "", "")) == "its default `block` is not a string");
  CHECK(defect_of(onebit::array_option("x", "[1]", -1, 0, 1, "")) == "its array_max is -1");
}
