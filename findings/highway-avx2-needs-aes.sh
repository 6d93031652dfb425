#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Surprise: compiled with -march=x86-64-v3, which has AVX2, Highway's static dispatch uses vectors of 4 floats, and not of 8: its
#   target AVX2 also wants AES and PCLMUL, which no level of x86-64 has. Without an option g++ gets one float at a time, though
#   every x86-64 has SSE2, and a Stream() there is a plain store. Dynamic dispatch is not affected.
# Seen: 2026-11-29, Debian 12 package libhwy-dev 1.0.3-3+deb12u1, g++ 12.2.0.
# Output seen:
#   no option: SCALAR, 1 lanes; -march=x86-64-v3: SSSE3, 4 lanes; with -maes -mpclmul: AVX2, 8 lanes
# Since: google/highway issues 606, of 2022, and 3029, of 2026, where the maintainers call it documented in an example only.
# One would have guessed: SSE2 and 4 lanes without an option, AVX2 and 8 lanes with x86-64-v3.
set -euo pipefail

skip() {
  printf 'cannot be tried here: %s\n' "$1"
  exit 77
}
command -v g++ >/dev/null || skip 'there is no g++'
[[ $(g++ -dumpmachine) == x86_64-* ]] || skip 'this is about x86-64'
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
# Highway is unpacked here and not installed, which takes no root.
package=libhwy-dev=1.0.3-3+deb12u1
mkdir -p lists/partial
fetch() { timeout 300 apt-get -qq "$@" >>apt.log 2>&1; }
lists=(-o Dir::State::Lists="$folder/lists") # where those of the machine are missing or too old
fetch download "$package" || { fetch "${lists[@]}" update && fetch "${lists[@]}" download "$package"; } ||
  skip "apt-get cannot download $package: $(tail -n 1 apt.log)"
dpkg -x ./*.deb highway || skip 'dpkg cannot unpack the package'

# The compiler knows both; the program runs on any x86-64, for nothing in it is a vector.
cat >program.cpp <<'END'
#include <hwy/highway.h>
#include <cstdio>
int main() {
  std::printf("%s, %zu lanes", hwy::TargetName(HWY_STATIC_TARGET), HWY_LANES(float));
}
END
tried() { # OPTION...: the target, and how many floats it takes at once
  # -O0: nothing is made a vector by the compiler itself
  g++ -std=c++17 -O0 "$@" -Ihighway/usr/include program.cpp -o program 2>build.log ||
    skip "the program cannot be built: $(tail -n 1 build.log)"
  ./program
}
plain=$(tried)
level=$(tried -march=x86-64-v3)
more=$(tried -march=x86-64-v3 -maes -mpclmul)
seen="no option: $plain; -march=x86-64-v3: $level; with -maes -mpclmul: $more"
expected='no option: SCALAR, 1 lanes; -march=x86-64-v3: SSSE3, 4 lanes; with -maes -mpclmul: AVX2, 8 lanes'
if [[ $seen == "$expected" ]]; then
  echo "as stated: $seen"
else
  printf 'changed: expected %s\n         seen     %s\n' "$expected" "$seen"
  exit 1
fi
