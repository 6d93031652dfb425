// SPDX-License-Identifier: Apache-2.0
// Whatever a value is, it is written so that a manifest reads it as the same value: generated ones of every kind and size.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "manifest/schema_text.hpp"
#include "manifest/toml_reader.hpp"
#include "support/random_text.hpp"

namespace {

using onebit::test::random_text;

double any_double(std::mt19937_64& random) {
  for (;;) {
    const uint64_t bits = random();
    double value = 0;
    std::memcpy(&value, &bits, sizeof value);
    if (!std::isnan(value)) return value;
  }
}

void check_round_trip(const onebit::Value& value) {
  const std::string text = onebit::write_value(value);
  const std::optional<onebit::Value> back = onebit::read_value(text);
  REQUIRE_MESSAGE(back.has_value(), text);
  CHECK_MESSAGE(*back == value, text);
  CHECK(onebit::describe_value(value).find('\n') == std::string::npos);
}

}  // namespace

TEST_CASE("numbers of every kind are read as they were written") {
  std::mt19937_64 random(1);
  using Real = std::numeric_limits<double>;
  using Integer = std::numeric_limits<int64_t>;
  for (const double value :
       {0.0, -0.0, 1.0, 1e16, 1e22, 1e-7, 1e308, Real::max(), -Real::max(), Real::min(), Real::denorm_min(),
        -Real::denorm_min(), Real::min() / 3, Real::infinity(), -Real::infinity(), Real::epsilon()}) {
    check_round_trip(value);
    CHECK(std::signbit(std::get<double>(*onebit::read_value(onebit::write_value(value)))) == std::signbit(value));
  }
  for (int i = 0; i < 500; ++i) check_round_trip(any_double(random));
  for (const int64_t value : {int64_t{0}, Integer::max(), Integer::min(), Integer::max() - 1, Integer::min() + 1})
    check_round_trip(value);
  for (int i = 0; i < 100; ++i) check_round_trip(static_cast<int64_t>(random()));
}

TEST_CASE("strings of every kind are read as they were written, however long") {
  std::mt19937_64 random(2);
  for (const std::string value :
       {"", "\"", "\"\"\"", "'''", "\\", "\\u0041", "a\\", "#", "=", "[", "\n", "\r\n", " ", "\t", "\x7f", "\b\f"})
    check_round_trip(value);
  check_round_trip(std::string("a\0b", 3));
  for (const char* letter : {" ", "\\", "\"", "\n", "x", "\xC3\xA4", "\xF0\x9D\x84\x9E", "\x01"}) {
    std::string value;
    while (value.size() < 5000) value += letter;
    check_round_trip(value);
    check_round_trip("x" + value);
    check_round_trip(std::vector<std::string>(2, value));
  }
  for (size_t length = 0; length < 4000; length += 1 + length / 2)
    for (int i = 0; i < 3; ++i) check_round_trip(random_text(random, length));
}

TEST_CASE("arrays of every size are read as they were written") {
  std::mt19937_64 random(3);
  for (const size_t size : {0, 1, 2, 8, 9, 100, 1000}) {
    std::vector<double> numbers;
    std::vector<std::string> strings;
    for (size_t i = 0; i < size; ++i) {
      numbers.push_back(any_double(random));
      strings.push_back(random_text(random, random() % 40));
    }
    check_round_trip(numbers);
    if (size > 0) check_round_trip(strings);
  }
}

TEST_CASE("what a plugin says of its options is printed as comments that can be read, whatever it says") {
  std::string long_help(5000, 'x');
  static const std::string texts[] = {
      "two\nlines = 1\r\n[optimizer]", "not UTF-8: \xff\xfe", std::string("zero \0 byte", 11), long_help, "",
      "tab\t, bell\a, delete\x7f"};
  std::vector<onebit_schema> schemas;
  const char* const keys[] = {"a", "b", "c", "d", "e", "f"};
  for (size_t i = 0; i < std::size(texts); ++i)
    schemas.push_back(onebit::array_option(keys[i], "[\n1,\n2\n]", 2, 0, 9, texts[i]));
  std::vector<const onebit_schema*> pointers;
  for (const onebit_schema& schema : schemas) pointers.push_back(&schema);
  const onebit::ResolvedTable table(onebit::Manifest::parse("", "w.toml", "."), "optimizer", pointers);
  const std::string text = "[optimizer]\n" + table.to_toml(true);
  CAPTURE(text);
  const onebit::ResolvedTable again(onebit::Manifest::parse(text, "again.toml", "."), "optimizer", pointers);
  CHECK(again.to_toml(true) == table.to_toml(true));
}
