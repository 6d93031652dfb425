#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Surprise: toml11 3.7.1 refuses [[optimizer.group]] before [optimizer], although TOML 1.0 lets a super-table be defined
#   after its array of tables. It accepts the same two headings in the other order, and [optimizer.group] before
#   [optimizer].
# Seen: 2026-11-28, Debian 12 package libtoml11-dev 3.7.1-3, g++ 12.2.0.
# Output seen:
#   parent first: read; array of tables first: table ("optimizer") already exists; sub-table first: read
# Since: ToruNiina/toml11 issue 211 reports it for 3.7.1 and was answered on 2023-02-12 with "fixed".
# One would have guessed: the order of headings makes no difference, so all three are read.
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
#include <sstream>
#include <toml.hpp>
void read(const char* name, const std::string& text) {
  std::istringstream file(text);
  try {
    toml::parse(file, "run.toml");
    std::printf("%s: read", name);
  } catch (const toml::syntax_error& error) {
    const std::string what = error.what();
    const size_t begin = what.find("table (");
    std::printf("%s: %s", name, what.substr(begin, what.find(".\n", begin) - begin).c_str());
  }
}
int main() {
  const std::string parent = "[optimizer]\nplugin = 'adam'\n", values = "lr = 0.5\n";
  read("parent first", parent + "[[optimizer.group]]\n" + values);
  read("; array of tables first", "[[optimizer.group]]\n" + values + parent);
  read("; sub-table first", "[optimizer.group]\n" + values + parent);
}
END
timeout 300 g++ -std=c++17 -isystem toml11/usr/include read.cpp -o read ||
  { echo 'changed: the program does not compile'; exit 1; }
seen=$(timeout 60 ./read) || seen+=" (ended with status $?)"
expected='parent first: read; array of tables first: table ("optimizer") already exists; sub-table first: read'
if [[ $seen == "$expected" ]]; then
  echo "as stated: $seen"
else
  printf 'changed: expected %s\n         seen     %s\n' "$expected" "$seen"
  exit 1
fi
