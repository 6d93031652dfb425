#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# ./dev gpu --pack: copies what a build needs, and what a machine without a network may lack, into one folder: ONEBIT_DEPS, or .deps.
# It is laid out as core/cmake/PackedDependencies.cmake expects. Headers go as they are, so the folder serves other distributions, too;
# three small libraries are this machine's, and run wherever the C++ library is no older.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

deps=${ONEBIT_DEPS:-.deps}
packages=("$(dpkg -S /usr/include/boost/version.hpp | cut -d : -f 1)" libspdlog-dev libfmt-dev libtoml11-dev libhwy-dev
  nlohmann-json3-dev libcli11-dev libxxhash-dev nettle-dev libnettle8 zlib1g-dev doctest-dev libbenchmark-dev fortunes fortunes-min)
trees=(spdlog fmt toml toml.hpp hwy nlohmann CLI nettle doctest benchmark) # all of them: which headers count depends on the compiler
readonly text=/usr/share/games/fortunes

die() {
  printf 'dev gpu --pack: %s\n' "$*" >&2
  exit 1
}

empty_folder() { # never one that this script did not fill
  [[ ! -e "$deps" || -f "$deps/LICENCES.txt" || -z "$(ls -A "$deps")" ]] ||
    die "ONEBIT_DEPS is '$deps', which has files in it that are not from here. Name another folder, or empty it"
  rm -rf "$deps"
  mkdir -p "$deps"/{include,lib,cmake,data/fortunes,licences}
}

# Of Boost, zlib and xxHash what our sources include, by what the compiler says; and of Boost those parts in full that choose among
# their headers by compiler and platform.
copy_included() {
  { grep -rhoE '^#include <(boost/[^>]*|zlib\.h|xxhash\.h)>' sdk core host plugins tests && printf '\n'; } | LC_ALL=C sort -u |
    "${CXX:-g++}" -std=c++20 -DBOOST_DLL_USE_STD_FS -M -x c++ - | tr -s '\\[:space:]' '\n' |
    grep -E '^/usr/include/(.*/)?(boost/.*|zlib\.h|zconf\.h|xxhash\.h)$' |
    while read -r header; do
      local name=${header#/usr/include/}
      [[ "$name" == boost/* ]] || name=${name##*/} # Debian has some in a folder of the machine's kind
      install -D -m 644 "$header" "$deps/include/$name"
    done
  cp -rL /usr/include/boost/{config,predef} "$deps/include/boost/"
}

copy_library() { # NAME: under the name that the loader looks for
  local file soname
  file=$("${CXX:-g++}" -print-file-name="lib$1.so")
  soname=$(objdump -p "$file" | awk '$1 == "SONAME" {print $2}')
  [[ -n "$soname" ]] || die "lib$1.so was not found, or has no SONAME: $file"
  install -m 644 "$file" "$deps/lib/$soname"
}

copy_text() { # what `onebit train` reads of fortunes: the files without a suffix
  find -L "$text" -maxdepth 1 -type f ! -name '*.*' -exec install -m 644 -t "$deps/data/fortunes" {} +
}

write_licences() {
  local package source version licences
  {
    printf 'What this folder holds, from Debian packages: version, and all licences that its debian/copyright names,
those of tests and of the packaging included; the texts are in licences/.\n\n'
    for package in "${packages[@]}"; do
      source=$(readlink -f "/usr/share/doc/$package/copyright")
      version=$(dpkg-query -W -f '${Version}' "$package")
      gzip -9nc "$source" >"$deps/licences/$package.gz"
      licences=$(sed -nE 's/^License: *([^ ].*)/\1/p' "$source" | sort -u | paste -sd ';' | sed 's/;/; /g')
      printf '%s %s: %s\n' "$package" "$version" "${licences:-see licences/$package.gz}"
    done
  } | fold -sw 128 >"$deps/LICENCES.txt"
}

empty_folder
for tree in "${trees[@]}"; do cp -rL "/usr/include/$tree" "$deps/include/"; done
copy_included
copy_library hwy
copy_library nettle
copy_library benchmark
install -m 644 "$("${CXX:-g++}" -print-file-name=libz.a)" "$deps/lib/"
cp -L /usr/lib/cmake/doctest/doctest{,AddTests}.cmake "$deps/cmake/"
copy_text
write_licences
printf '==> %s: %s files, %s MiB\n' "$deps" "$(find "$deps" -type f | wc -l)" \
  "$(find "$deps" -type f -printf '%s\n' | awk '{sum += $1} END {printf "%.1f", sum / 1048576}')" >&2
