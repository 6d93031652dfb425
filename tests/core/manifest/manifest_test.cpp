// SPDX-License-Identifier: Apache-2.0
// Manifests: what is read, and every error by its text, with the place.
#include "onebit/manifest.hpp"

#include <doctest/doctest.h>

#include "manifest/nearest.hpp"
#include "manifest/toml_reader.hpp"
#include "support/scratch_folder.hpp"

namespace {

using onebit::Manifest;
using onebit::Value;

Manifest parsed(std::string_view text, const std::vector<std::string>& overrides = {}) {
  return Manifest::parse(text, "a.toml", "/configs", overrides);
}

std::string error_of(std::string_view text, const std::vector<std::string>& overrides = {}) {
  try {
    parsed(text, overrides);
  } catch (const onebit::Error& e) {
    CHECK(e.code() == onebit::Code::invalid_argument);
    return e.what();
  }
  return "no error";
}

const Value& value(const Manifest& manifest, const char* table, const char* key) {
  return manifest.table(table).find(key)->second.value;
}

// toml11 4 has other words than 3.7.
bool is_either(const std::string& said, const std::string& by_3, const std::string& by_4) {
  if (said != by_3 && said != by_4) MESSAGE(said);
  return said == by_3 || said == by_4;
}

}  // namespace

TEST_CASE("a manifest keeps values, their types and their places") {
  const Manifest manifest = parsed(
      "[optimizer]\n"
      "plugin = \"adam\"\n"
      "  lr = 1e-3 # the step\n"
      "betas = [0.9, 0.999]\n"
      "steps = 7\n"
      "flag = true\n"
      "[plugins]\n"
      "path = ['a', \"b\"]\n"
      "empty = []\n");
  CHECK(manifest.plugin("optimizer") == "adam");
  CHECK(manifest.plugin("compressor").empty());
  CHECK(value(manifest, "optimizer", "lr") == Value(1e-3));
  CHECK(value(manifest, "optimizer", "betas") == Value(std::vector<double>{0.9, 0.999}));
  CHECK(value(manifest, "optimizer", "steps") == Value(int64_t{7}));
  CHECK(value(manifest, "optimizer", "flag") == Value(true));
  CHECK(value(manifest, "plugins", "path") == Value(std::vector<std::string>{"a", "b"}));
  CHECK(value(manifest, "plugins", "empty") == Value(std::vector<double>{}));
  CHECK(manifest.where("optimizer", "lr").text() == "a.toml:3:8");
  CHECK(manifest.table("optimizer").find("lr")->second.key.text() == "a.toml:3:3");
  CHECK(manifest.where("optimizer", "absent").text() == "a.toml:1:1");
  CHECK(manifest.where("train").text() == "a.toml");
  CHECK(manifest.has("plugins"));
  CHECK_FALSE(manifest.has("train"));
  CHECK(manifest.folder() == "/configs");
}

TEST_CASE("dotted keys, inline tables, CRLF, a byte order mark and an empty text are TOML, too") {
  CHECK(value(parsed("optimizer.lr = 1"), "optimizer", "lr") == Value(int64_t{1}));
  CHECK(value(parsed("optimizer = { lr = 1.5, plugin = 'x' }"), "optimizer", "lr") == Value(1.5));
  CHECK(value(parsed("[optimizer]\r\nlr = 2\r\n"), "optimizer", "lr") == Value(int64_t{2}));
  CHECK(value(parsed("\xEF\xBB\xBF[optimizer]\nlr = 2"), "optimizer", "lr") == Value(int64_t{2}));
  CHECK_FALSE(parsed("").has("optimizer"));
  CHECK_FALSE(parsed("# nothing, only [0, 1) and \"\n").has("optimizer"));
}

TEST_CASE("syntax errors are one line with file, line and column") {
  CHECK(error_of("[optimizer]\nlr = = 3\n") == "a.toml:2:6: not valid TOML: unknown value appeared, in `lr = = 3`");
  CHECK(error_of("[optimizer]\nscale = tensor\n") ==
        "a.toml:2:9: not valid TOML: expected a value; text is written in quotes, in `scale = tensor`");
  CHECK(error_of("[optimizer]\nscale = block\n") ==
        "a.toml:2:9: not valid TOML: expected a value; text is written in quotes, in `scale = block`");
  CHECK(is_either(error_of("[optimizer]\nlr = \"abc\n"),
                  "a.toml:2:6: not valid TOML: the next token is not a valid string, in `lr = \"abc`",
                  "a.toml:2:10: not valid TOML: invalid string format (expected \"), in `lr = \"abc`"));
  CHECK(is_either(error_of("[optimizer]\nlr = 0.1.2\n"),
                  "a.toml:2:9: not valid TOML: invalid line format (expected newline, but got '.'), in `lr = 0.1.2`",
                  "a.toml:2:9: not valid TOML: newline (LF / CRLF) or EOF is expected, in `lr = 0.1.2`"));
  CHECK(error_of("[optimizer\nlr = 1\n").find("a.toml:1:1") == 0);
  CHECK(error_of("[optimizer\nlr = 1\n").find(": not valid TOML: ") != std::string::npos);
  CHECK(error_of("[optimizer]\n\n  lr == 1").find("a.toml:3:7: not valid TOML: ") == 0);
  CHECK(error_of("\xff\xfe\n").find("a.toml:1:1: not valid TOML: ") == 0);
}

TEST_CASE("a key and a table may be there once") {
  CHECK(is_either(error_of("[optimizer]\nplugin = \"a\"\nplugin = \"b\"\n"),
                  "a.toml:3:10: not valid TOML: value (\"plugin\") already exists (value defined twice), in `plugin = \"b\"`",
                  "a.toml:3:1: not valid TOML: failed to insert a value, value already exists (inserting this), in "
                  "`plugin = \"b\"`"));
  const std::string twice = error_of("[optimizer]\n[session]\n[optimizer]\n");
  CHECK_MESSAGE(twice.find("a.toml:3:1: not valid TOML: ") == 0, twice);
  CHECK(error_of("[[optimizer]]\n") ==
        "a.toml:1:1: expected the table [optimizer] once, found an array of tables [[optimizer]]");
}

TEST_CASE("unknown tables and settings outside of tables") {
  CHECK(error_of("\n[optimiser]\nlr = 1\n") == "a.toml:2:1: unknown table 'optimiser'; did you mean 'optimizer'?");
  CHECK(error_of("[banana]\n") ==
        "a.toml:1:1: unknown table 'banana'; known tables: 'plugins', 'session', 'optimizer', 'compressor', 'communicator', "
        "'exchange', 'train', 'checkpoint'");
  CHECK(error_of("  lr = 1\n") ==
        "a.toml:1:3: 'lr' stands outside of a table; a setting belongs under a heading such as [optimizer]");
}

TEST_CASE("values that no option can have") {
  CHECK(error_of("[train]\nday = 1979-05-27") ==
        "a.toml:2:7: expected a boolean, a number, a string or an array, found a date or time");
  CHECK(error_of("[train.deep]\nx = 1") ==
        "a.toml:1:1: expected a value, found a table; tables are not nested, but for [[optimizer.group]] and [[plugins.pin]]");
  CHECK(error_of("[train]\nx = [1, \"a\"]") == "a.toml:2:9: an array holds either numbers or strings, not both");
  CHECK(error_of("[train]\nx = [\n  'a',\n  2]") == "a.toml:4:3: an array holds either numbers or strings, not both");
  CHECK(error_of("[train]\nx = [[1], [2]]") == "a.toml:2:6: an array holds numbers or strings");
  CHECK(error_of("[train]\nx = [1,\n 2,\n true]") == "a.toml:4:2: an array holds numbers or strings");
  CHECK(error_of("[optimizer]\ngroup = [{},\n  1]") == "a.toml:3:3: an array of tables holds nothing else");
  CHECK(error_of("[optimizer]\ngroup = [{x = [{}]}]") == "a.toml:2:16: an array holds numbers or strings");
  const std::string v4 = "not valid TOML: failed to read floating point value from stream, in ";
  CHECK(is_either(error_of("[train]\nx = 99999999999999999999"), "a.toml:2:5: expected a number that fits 64 bits",
                  "a.toml:2:25: not valid TOML: too large integer: current max digits = 2^63 (must be < 2^63), in `x = "
                  "99999999999999999999`"));
  CHECK(is_either(error_of("[train]\nx = 1e999"), "a.toml:2:5: expected a number that fits a double",
                  "a.toml:2:10: " + v4 + "`x = 1e999`"));
  CHECK(is_either(error_of("[train]\nx = [-1e999]"), "a.toml:2:6: expected a number that fits a double",
                  "a.toml:2:12: " + v4 + "`x = [-1e999]`"));
  CHECK(error_of("[train]\nx = 1e-400") == "a.toml:2:5: expected a number that fits a double");
  CHECK(error_of("[train]\nx = [1,\n  9007199254740993]") ==
        "a.toml:3:3: an integer in an array is at most 2^53, or 9007199254740992");
  try {
    parsed("[optimizer]\nplugin = 7").plugin("optimizer");
    FAIL("no error");
  } catch (const onebit::Error& e) {
    CHECK(std::string(e.what()) == "a.toml:2:10: optimizer.plugin: expected the name of a plugin, found the integer 7");
  }
}

TEST_CASE("overrides: TOML values, bare words, new tables") {
  const Manifest manifest = parsed("[optimizer]\nlr = 1\nplugin = \"adam\"\n",
                                   {"optimizer.lr=2.5", "optimizer.betas=[0.8, 0.9]", "compressor.scale=tensor",
                                    "train.data_folder=/usr/share/x-1.0", "session.flag=true", "optimizer.lr=3"});
  CHECK(value(manifest, "optimizer", "lr") == Value(int64_t{3}));
  CHECK(value(manifest, "optimizer", "betas") == Value(std::vector<double>{0.8, 0.9}));
  CHECK(value(manifest, "compressor", "scale") == Value(std::string("tensor")));
  CHECK(value(manifest, "train", "data_folder") == Value(std::string("/usr/share/x-1.0")));
  CHECK(value(manifest, "session", "flag") == Value(true));
  CHECK(manifest.plugin("optimizer") == "adam");
  CHECK(manifest.where("compressor", "scale").text() == "--set compressor.scale=tensor");
}

TEST_CASE("overrides that make no sense") {
  const std::string form = ": expected table.key=value, such as optimizer.lr=1e-3";
  CHECK(error_of("", {"optimizer"}) == "--set optimizer" + form);
  CHECK(error_of("", {"optimizer=1"}) == "--set optimizer=1" + form);
  CHECK(error_of("", {"lr=0.5"}) == "--set lr=0.5" + form);
  CHECK(error_of("", {""}) == "--set " + form);
  CHECK(error_of("", {"optimiser.lr=1"}) == "--set optimiser.lr=1: unknown table 'optimiser'; did you mean 'optimizer'?");
  CHECK(error_of("", {"optimizer.=1"}) == "--set optimizer.=1: expected a key after 'optimizer.', found ''");
  CHECK(error_of("", {"optimizer.lr="}) == "--set optimizer.lr=: expected a TOML value or a bare word after '=', found ''");
  CHECK(error_of("", {"optimizer.lr=[1"}) ==
        "--set optimizer.lr=[1: expected a TOML value or a bare word after '=', found '[1'");
  CHECK(error_of("", {"train.data=a\xff"
                      "b"}) ==  // a fuzzer's finding
        "--set train.data=a\xff"
        "b: expected a TOML value or a bare word after '=', found 'a\xff"
        "b'");
  CHECK(error_of("", {"optimizer.lr=1\nx=2"}).find("expected a TOML value or a bare word") != std::string::npos);
}

TEST_CASE("examples in errors of overrides can be pasted") {
  for (const std::string key : {"optimizer.group", "plugins.pin"}) {
    const std::string error = error_of("", {key + "=x"});
    const size_t begin = error.find("such as ") + 8, end = error.find(", found 'x'");
    REQUIRE(end != std::string::npos);
    CHECK(error_of("", {key + "=" + error.substr(begin, end - begin)}) == "no error");
  }
  const std::string error = error_of("", {"lr"});
  CHECK(error_of("", {error.substr(error.find("such as ") + 8)}) == "no error");
}

TEST_CASE("files that can't be read") {
  const ScratchFolder folder;
  const auto error = [](const std::filesystem::path& file) {
    try {
      Manifest::load(file);
    } catch (const onebit::Error& e) {
      return std::string(e.what());
    }
    return std::string("no error");
  };
  const std::string absent = folder / "absent.toml";
  CHECK(error(absent) == absent + ": the manifest can't be read: No such file or directory");
  CHECK(error(folder.path()) == folder.path().string() + ": expected a manifest, found a folder");
  CHECK(error("/dev/zero").find("/dev/zero: a manifest has at most 1 MiB") == 0);
  const Manifest manifest = Manifest::load(folder.file("good.toml", "[session]\nx = 1\n"));
  CHECK(manifest.folder() == folder.path());
  CHECK(manifest.where("session", "x").text() == (folder / "good.toml").string() + ":2:5");
}

TEST_CASE("hostile text gives an error, not a crash") {
  for (const char* part :
       {"[", "{", "[[", "x = [", "x = {a = ", "a.", "\"", "'''", "\\", "#", "\n", "=", "[a]\n", "x.y.z = "}) {
    std::string text;
    while (text.size() < 200000) text += part;
    CHECK(error_of(text) != "");
    CHECK(error_of("[train]\nx = " + text) != "");
  }
  CHECK(error_of("[train]\nx = " + std::string(17, '[')) == "a.toml:2:21: arrays and tables are nested too deeply");
  CHECK(error_of("[train]\nx = \"" + std::string(3000, 'a') + "\"") ==
        "a.toml:2:2001: a line of a manifest has at most 2000 characters");
  const std::string good = "[optimizer]\nplugin = \"adam\"\nbetas = [0.9, 0.999]\nx = '''a\nb''' # c\n";
  for (size_t cut = 0; cut <= good.size(); ++cut) CHECK(error_of(good.substr(0, cut)) != "");
  for (size_t i = 0; i < good.size(); ++i)
    for (const char c : {'\0', '"', '[', '\xff', '\n', '\\'}) {
      std::string bent = good;
      bent[i] = c;
      CHECK(error_of(bent) != "");
    }
}

TEST_CASE("values are written so that they read back the same") {
  for (const Value& v : {Value(true), Value(int64_t{-3}), Value(0.1), Value(1e-5), Value(1e300), Value(5.0), Value(1.0 / 3),
                         Value(std::string("a \"b\" \\ \n\x7f\xC3\xA4")), Value(std::vector<double>{1, 2.5}),
                         Value(std::vector<std::string>{"a", "b'c"}), Value(std::vector<double>{})}) {
    CAPTURE(onebit::write_value(v));
    const auto back = onebit::read_value(onebit::write_value(v));
    REQUIRE(back.has_value());
    CHECK(*back == v);
  }
}

TEST_CASE("the nearest word") {
  using onebit::nearest;
  CHECK(onebit::edit_distance("kitten", "sitting") == 3);
  CHECK(onebit::edit_distance("lr", "rl") == 1);
  CHECK(onebit::edit_distance("", "abc") == 3);
  CHECK(nearest("freze_step", {"lr", "freeze_step"}) == "freeze_step");
  CHECK(nearest("freeze-step", {"lr", "freeze_step"}) == "freeze_step");
  CHECK(nearest("LR", {"lr", "x"}) == "lr");
  CHECK(nearest("momentum", {"lr", "betas"}).empty());
  CHECK(nearest("x", {"y"}).empty());
  CHECK(nearest("", {"y"}).empty());
}

TEST_CASE("text that is not UTF-8 is refused where it is, in every kind of string") {
  const std::string refusal = "not valid TOML: the text must be UTF-8";
  CHECK(error_of("[train]\nx = '\xff'") == "a.toml:2:6: " + refusal);
  CHECK(error_of("[train]\nx = \"a\x80\"") == "a.toml:2:7: " + refusal);
  CHECK(error_of("[train]\nx = '''\n\xc3'''") == "a.toml:3:1: " + refusal);
  CHECK(error_of("# \xed\xa0\x80") == "a.toml:1:3: " + refusal);           // a surrogate
  CHECK(error_of("# \xc0\xaf \xe0\x80\xaf") == "a.toml:1:3: " + refusal);  // overlong
  CHECK(error_of("# \xf4\x90\x80\x80") == "a.toml:1:3: " + refusal);       // beyond Unicode
  CHECK(parsed("[train]\nx = '\xc3\xbc \xe2\x82\xac \xf0\x9d\x84\x9e'").has("train"));
}
