#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# make.sh VERSION: builds the plugins that are kept for this version of the contract, once, when it is frozen. On x86-64 and on
# the oldest system that we support (Debian 12), for what is kept must load for ever: the baseline of x86-64, few symbols of
# other libraries, and those old ones.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
kept=${1:?the version, such as v1.0}
[[ -f "$kept/abi.h" ]] || { echo "make.sh: there is no $kept/abi.h; copy sdk/include/onebit/abi.h to it first" >&2; exit 1; }
cmp "$kept/abi.h" ../../sdk/include/onebit/abi.h

# shellcheck disable=SC2054 # the linker's commas
shared=(-I ../../sdk/include -O2 -march=x86-64 -ffp-contract=off -fPIC -shared -fvisibility=hidden -s
  -Wl,--version-script=../../sdk/cmake/plugin.map -Wl,-z,now -Wl,-z,defs -Wl,--build-id=none -Wl,-O1 -Wl,--hash-style=gnu)
cplusplus=(-std=c++17 -fvisibility-inlines-hidden "${shared[@]}")
gcc -std=c99 -DNAME=kept_c descent.c "${shared[@]}" -o "$kept/kept_c.so"
g++ -DNAME=kept_cpp descent.cpp "${cplusplus[@]}" -o "$kept/kept_cpp.so"
g++ ../bad_plugins/meeting.cpp "${cplusplus[@]}" -o "$kept/kept_meeting.so"
for file in "$kept"/kept_*.so; do
  printf '%s: %s bytes, needs' "$file" "$(stat -c %s "$file")"
  objdump -T "$file" | grep -oE '(GLIBC|GLIBCXX|CXXABI|GCC)_[0-9.]+' | sort -uV | tr '\n' ' ' | sed 's/^/ /'
  echo
done
