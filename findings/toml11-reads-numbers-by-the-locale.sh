#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Surprise: toml11 3.7.1 reads a number of a TOML file by the locale of the process. Where std::locale::global has a decimal
#   comma, as an application for German users may set it, `lr = 0.5` is read as 0, without an error. And in any locale an
#   integer that does not fit 64 bits is read as the largest that does, although TOML 1.0 asks for an error.
# Seen: 2026-11-29, Debian 12 package libtoml11-dev 3.7.1-3, g++ 12.2.0.
# Output seen:
#   plain: lr 0.5; with a decimal comma: lr 0; 9223372036854775808 is read as 9223372036854775807
# Since: not known.
# One would have guessed: a file format has one decimal point, so 0.5 twice; and an error for the integer.
set -euo pipefail

skip() {
  printf 'cannot be tried here: %s\n' "$1"
  exit 77
}
command -v g++ >/dev/null || skip 'there is no g++ (Debian package g++)'
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
# The package is unpacked here and not installed, which takes no root.
packages=(libtoml11-dev=3.7.1-3)
mkdir -p lists/partial
fetch() { timeout 300 apt-get -qq "$@" >>apt.log 2>&1; }
lists=(-o Dir::State::Lists="$folder/lists") # where those of the machine are missing or too old
fetch download "${packages[@]}" || { fetch "${lists[@]}" update && fetch "${lists[@]}" download "${packages[@]}"; } ||
  skip "apt-get cannot download ${packages[*]}: $(tail -n 1 apt.log)"
dpkg -x ./*.deb toml11 || skip 'dpkg cannot unpack the package'

cat >read.cpp <<'END'
#include <cstdio>
#include <locale>
#include <sstream>
#include <toml.hpp>
struct DecimalComma : std::numpunct<char> {
  char do_decimal_point() const override { return ','; }
};
template <class Number>
Number read(const std::string& text) {
  std::istringstream file(text);
  return toml::find<Number>(toml::parse(file, "run.toml"), "value");
}
int main() {
  try {
    std::printf("plain: lr %g", read<double>("value = 0.5\n"));
    std::locale::global(std::locale(std::locale::classic(), new DecimalComma));
    std::printf("; with a decimal comma: lr %g", read<double>("value = 0.5\n"));
    const auto read_integer = read<std::int64_t>("value = 9223372036854775808\n");
    std::printf("; 9223372036854775808 is read as %lld", static_cast<long long>(read_integer));
  } catch (const std::exception& error) {
    std::printf(" (error: %s)", error.what());
  }
}
END
timeout 300 g++ -std=c++17 -isystem toml11/usr/include read.cpp -o read ||
  { echo 'changed: the program does not compile'; exit 1; }
seen=$(timeout 60 ./read) || seen+=" (ended with status $?)"
expected='plain: lr 0.5; with a decimal comma: lr 0; 9223372036854775808 is read as 9223372036854775807'
if [[ $seen == "$expected" ]]; then
  echo "as stated: $seen"
else
  printf 'changed: expected %s\n         seen     %s\n' "$expected" "$seen"
  exit 1
fi
