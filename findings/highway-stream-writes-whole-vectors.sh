#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Surprise: Highway's Stream() of a partial vector, such as the four 16-bit numbers that four floats become, writes 16 bytes
#   on x86-64: the four after them are overwritten, too. Store() of the same vector writes its 8 bytes and no more, and
#   sizeof(Vec) is no help: it is 16 for both. A loop that goes on from left to right does not show it, but for its end.
# Seen: 2026-11-30, Debian 12 package libhwy-dev 1.0.3-3+deb12u1, g++ 12.2.0.
# Output seen (an array of eight sevens, of which the first four are written, with ones):
#   Store: 1 1 1 1 7 7 7 7; Stream: 1 1 1 1 0 0 0 0
# Since: a comment in Highway's source says that partial vectors are rounded up to 16 bytes; its reference does not.
# One would have guessed: Stream() writes what Store() writes, past the caches, and needs the alignment of 8 bytes.
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

cat >program.cpp <<'END'
#include <hwy/cache_control.h>
#include <hwy/highway.h>
#include <cstdio>
namespace hn = hwy::HWY_NAMESPACE;
int main() {
  const hn::CappedTag<uint16_t, 4> four;
  for (const bool stream : {false, true}) {
    alignas(16) uint16_t array[8] = {7, 7, 7, 7, 7, 7, 7, 7};
    const auto written = hn::And(hn::Set(four, 1), hn::LoadU(four, array));  // 7 & 1
    if (stream)
      hn::Stream(written, four, array);
    else
      hn::Store(written, four, array);
    hwy::FlushStream();
    std::printf(stream ? "; Stream:" : "Store:");
    for (const uint16_t value : array) std::printf(" %u", value);
  }
}
END
g++ -std=c++17 -O1 -mssse3 -Ihighway/usr/include program.cpp -o program 2>build.log ||
  skip "the program cannot be built: $(tail -n 1 build.log)"
grep -q ssse3 /proc/cpuinfo || skip 'this processor has no SSSE3'
seen=$(./program)
expected='Store: 1 1 1 1 7 7 7 7; Stream: 1 1 1 1 0 0 0 0'
if [[ $seen == "$expected" ]]; then
  echo "as stated: $seen"
else
  printf 'changed: expected %s\n         seen     %s\n' "$expected" "$seen"
  exit 1
fi
