// SPDX-License-Identifier: Apache-2.0
// Where things stand: in which order tables may come, and that an error names the place of what is wrong, whatever the order.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "manifest/mention.hpp"
#include "manifest/toml_numbers.hpp"
#include "onebit/manifest.hpp"

namespace {

onebit::Manifest in_order(const std::string& text) { return onebit::Manifest::parse(text, "o.toml", "."); }

std::string order_error(const std::string& text) {
  try {
    in_order(text);
  } catch (const onebit::Error& e) {
    return e.what();
  }
  return "no error";
}

const std::string kGroup = "[[optimizer.group]]\ntensors = [\"*.bias\"]\n", kOptimizer = "[optimizer]\nplugin = \"adam\"\n",
                  kPin = "[[plugins.pin]]\nfile = 'a.so'\n", kPlugins = "[plugins]\nrequire_pins = true\n";

onebit::ResolvedTable betas_table(const std::string& lines) {
  static const onebit_schema schemas[] = {
      onebit::array_option("betas", "[0.5]", 3, 0, 1, ""), onebit::real_option("min_coeff", "0", 0, 9, ""),
      onebit::real_option("max_coeff", "1", 0, 9, ""), onebit::real_option("lr", "1", 0, 9, "")};
  return {in_order("[optimizer]\n" + lines), "optimizer", {&schemas[0], &schemas[1], &schemas[2], &schemas[3]}};
}
std::string named(const std::string& lines, const std::string& words) {
  const std::optional<onebit::Location> place = betas_table(lines).place_named_in(words);
  return place ? place->text() : "nowhere";
}

}  // namespace

TEST_CASE("a table may stand below the arrays of tables that are in it") {
  for (const std::string& text :
       {kGroup + kOptimizer, kOptimizer + kGroup, "# first\n\n" + kGroup + "  " + kOptimizer,
        "\xEF\xBB\xBF" + kGroup + kOptimizer, kGroup + kPin + kPlugins + kGroup + kOptimizer,
        kGroup + "[ optimizer ]  # \"[x]\"\nplugin = \"adam\"", kGroup + "\r\n[optimizer]\r\nplugin = 'adam'\r\n"}) {
    CAPTURE(text);
    const onebit::Manifest manifest = in_order(text);
    CHECK(manifest.plugin("optimizer") == "adam");
    CHECK_FALSE(manifest.groups().empty());
    CHECK(manifest.groups().front().settings.size() == 1);
  }
}

TEST_CASE("groups keep their order, and everything its place, when a table stands below them") {
  const std::string text = "[session]\nthreads = 2\n" + kGroup +
                           "lr = 1\n[[optimizer.group]]\nlr = 2\n[train]\nx = '''\n[optimizer]\n'''\n" + kOptimizer +
                           "betas = [\n  0.9,\n  7,\n]\n";
  const onebit::Manifest manifest = in_order(text);
  REQUIRE(manifest.groups().size() == 2);
  CHECK(manifest.groups()[0].where.text() == "o.toml:3:1");
  CHECK(manifest.groups()[0].settings.at("lr").where.text() == "o.toml:5:6");
  CHECK(manifest.groups()[1].settings.at("lr").key.text() == "o.toml:7:1");
  CHECK(manifest.where("train", "x").text() == "o.toml:9:5");
  CHECK(manifest.where("optimizer").text() == "o.toml:12:1");
  CHECK(manifest.table("optimizer").at("betas").elements[1].text() == "o.toml:16:3");
  CHECK(std::get<std::string>(manifest.table("train").at("x").value) == "[optimizer]\n");
}

TEST_CASE("what is no TOML is told where it was written, when a table stands below its groups") {
  CHECK(order_error(kGroup + kOptimizer + "lr = = 3\n").find("o.toml:5:6: not valid TOML: ") == 0);
  CHECK(order_error(kGroup + "lr = = 3\n" + kOptimizer).find("o.toml:3:6: not valid TOML: ") == 0);
  CHECK(order_error(kGroup + kOptimizer + kOptimizer).find("o.toml:5:1: not valid TOML: ") == 0);
  CHECK(order_error(kGroup + kOptimizer + "group = 1\n").find("not valid TOML: ") != std::string::npos);
  CHECK(order_error(kGroup + kOptimizer + "[sesion]\n") == "o.toml:5:1: unknown table 'sesion'; did you mean 'session'?");
}

TEST_CASE("an element of an array that does not fit is told at its own line and column") {
  const auto error = [](const std::string& lines) {
    try {
      betas_table(lines);
    } catch (const onebit::Error& e) {
      return std::string(e.what()).substr(0, std::string(e.what()).find(": optimizer"));
    }
    return std::string("no error");
  };
  CHECK(error("betas = [\n  0.9,\n  1.5,\n]\n") == "o.toml:4:3");
  CHECK(error("betas = [0.9, # one\n 0.8, 'x']\n") == "o.toml:3:7: an array holds either numbers or strings, not both");
  CHECK(error("betas = [ -1, 2 ]\n") == "o.toml:2:11");
  CHECK(error("betas = [0.1,\n 0.2,\n 0.3,\n 0.4]\n") == "o.toml:2:9");  // all would fit, but not so many
}

TEST_CASE("the option that words name: in quotes before elsewhere, only as a word of its own, and only one that was written") {
  const std::string both = "min_coeff = 5\nmax_coeff = 1\n";
  CHECK(named(both, "min_coeff is 5, above max_coeff, 1") == "o.toml:2:13");
  CHECK(named("max_coeff = 0.001\n", "min_coeff is 0.01, above max_coeff, 0.001") == "o.toml:2:13");
  CHECK(named(both, "the min_coeff of option 'max_coeff'") == "o.toml:3:13");
  CHECK(named(both, "\"max_coeff\" and 'min_coeff' differ") == "o.toml:3:13");
  CHECK(named("lr = 1\n", "all_lr, lr_0, lrs and LR differ") == "nowhere");
  CHECK(named("lr = 1\n", "optimizer.lr=1 is too much") == "o.toml:2:6");
  CHECK(named("lr = 1\n", "betas has 3 numbers") == "nowhere");
  CHECK(named("betas = [0.1, 0.2]\n", "betas[1] is odd") == "o.toml:2:9");
  CHECK(named("betas = [0.1,\n  0.2]\n", "betas[1] is odd") == "o.toml:3:3");
  CHECK(named("betas = [0.1,\n  0.2]\n", "betas.1 is odd") == "o.toml:3:3");
  CHECK(named("betas = [0.1,\n  0.2]\n", "betas[2] is odd") == "o.toml:2:9");
  CHECK(named("betas = [0.1,\n  0.2]\n", "betas.") == "o.toml:2:9");
  CHECK(onebit::mention_of("", "anything").at == onebit::Mention::none);
}

TEST_CASE("numbers are read whole, or not at all") {
  using onebit::read_integer;
  using onebit::read_real;
  CHECK(read_integer("9223372036854775807") == std::numeric_limits<int64_t>::max());
  CHECK(read_integer("-9223372036854775808") == std::numeric_limits<int64_t>::min());
  CHECK(read_integer("+1_000") == 1000);
  CHECK(read_integer("0xff_ff") == 65535);
  CHECK(read_integer("0o17") == 15);
  CHECK(read_integer("0b101") == 5);
  CHECK_FALSE(read_integer("9223372036854775808").has_value());
  CHECK_FALSE(read_integer("1.5").has_value());
  CHECK(read_real("1.7976931348623157e308") == std::numeric_limits<double>::max());
  CHECK(read_real("5e-324") == std::numeric_limits<double>::denorm_min());
  CHECK(read_real("+1_000.25") == 1000.25);
  CHECK(read_real("-inf") == -std::numeric_limits<double>::infinity());
  CHECK(std::isnan(read_real("+nan").value_or(0)));
  CHECK_FALSE(read_real("1e309").has_value());
  CHECK_FALSE(read_real("1e-400").has_value());
}
