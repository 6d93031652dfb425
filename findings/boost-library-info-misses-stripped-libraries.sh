#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Surprise: boost::dll::library_info of Boost 1.74 lists no symbol of a stripped shared library, and raises no error. It
#   reads the section .symtab, which strip removes, and not .dynsym, from which dlsym answers and which strip has to
#   keep. So a program that looks for plugins by their exported symbols without loading them finds none in the stripped
#   files that distributions ship.
# Seen: 2026-11-28, Debian 12 packages libboost1.74-dev 1.74.0+ds1-21, g++ 12.2.0, binutils 2.40.
# Output seen:
#   before strip: symbols listed 1, plugin_entry listed 1, has 1;
#   after strip: symbols listed 0, plugin_entry listed 0, has 1
# Since: boostorg/dll issue 41 reports it and was answered on 2021-05-07 with "fixed".
# One would have guessed: library_info lists what the library exports, so 1 and 1 before and after.
set -euo pipefail

skip() {
  printf 'cannot be tried here: %s\n' "$1"
  exit 77
}
command -v g++ >/dev/null || skip 'there is no g++ (Debian package g++)'
command -v strip >/dev/null || skip 'there is no strip (Debian package binutils)'
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
# Boost is unpacked here and not installed, which takes no root.
version=1.74.0+ds1-21
packages=("libboost1.74-dev=$version" "libboost-filesystem1.74-dev=$version" "libboost-filesystem1.74.0=$version")
mkdir -p lists/partial
fetch() { timeout 300 apt-get -qq "$@" >>apt.log 2>&1; }
lists=(-o Dir::State::Lists="$folder/lists") # where those of the machine are missing or too old
fetch download "${packages[@]}" || { fetch "${lists[@]}" update && fetch "${lists[@]}" download "${packages[@]}"; } ||
  skip "apt-get cannot download ${packages[*]}: $(tail -n 1 apt.log)"
for package in *.deb; do dpkg -x "$package" boost || skip "dpkg cannot unpack $package"; done

printf 'extern "C" int plugin_entry() { return 1; }\n' >plugin.cpp
cat >look.cpp <<'END'
#include <algorithm>
#include <boost/dll/library_info.hpp>
#include <boost/dll/shared_library.hpp>
#include <cstdio>
int main(int, char** arguments) {
  const auto symbols = boost::dll::library_info(arguments[1]).symbols();
  const long listed = std::count(symbols.begin(), symbols.end(), "plugin_entry");
  const bool has = boost::dll::shared_library(arguments[1]).has("plugin_entry");
  std::printf("symbols listed %zu, plugin_entry listed %ld, has %d", symbols.size(), listed, has);
}
END
found=(boost/usr/lib/*/libboost_filesystem.so)
libraries=${found[0]%/*}
{
  timeout 60 g++ -shared -fPIC plugin.cpp -o plugin.so &&
    timeout 300 g++ -std=c++17 -isystem boost/usr/include look.cpp -o look -L"$libraries" -lboost_filesystem -ldl
} || { echo 'changed: the program does not compile'; exit 1; }
export LD_LIBRARY_PATH=$libraries
before=$(timeout 60 ./look ./plugin.so) || before+="ended with status $?"
strip plugin.so || skip 'strip cannot strip the library'
after=$(timeout 60 ./look ./plugin.so) || after+="ended with status $?"
if [[ $before == *'plugin_entry listed 1, has 1' && $after == *'plugin_entry listed 0, has 1' ]]; then
  echo "as stated: before strip: $before; after strip: $after"
else
  echo "changed: expected 1, 1 before strip and 0, 1 after; before strip: $before; after strip: $after"
  exit 1
fi
