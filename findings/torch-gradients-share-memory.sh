#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Surprise: two parameters that enter a sum through views, as in a[None] + b[None], get gradients in the same memory in
#   torch 1.13.1. What then changes one gradient in place (clipping, scaling, a reduction over ranks) changes the other
#   as well, and is applied twice when it visits both: clip_grad_norm_ to a norm of 1 leaves 0.136. A plain a + b gives
#   each its own memory.
# Seen: 2026-11-28, Debian 12 package python3-torch 1.13.1+dfsg-4, Python 3.11.2.
# Output seen:
#   a + b: same memory False, norm after clipping 1.000; a[None] + b[None]: same memory True, norm after clipping 0.136
# Since: open as pytorch issue 34082 of 2020-03-02, "deep copy avoidance optimization unsound in the presence of views".
# One would have guessed: .grad of each parameter is its own, so False and 1.000 in both.
set -euo pipefail

skip() {
  printf 'cannot be tried here: %s\n' "$1"
  exit 77
}
[[ -x /usr/bin/python3 ]] || skip 'there is no /usr/bin/python3 (Debian package python3)'
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# The packages, and what they need that this machine lacks, are unpacked here and not installed, which takes no root.
packages=(python3-torch=1.13.1+dfsg-4 libtorch1.13=1.13.1+dfsg-4)
mkdir -p "$folder"/{archives,lists}/partial
fetch() {
  timeout 500 apt-get -qq -o Debug::NoLocking=1 -o Dir::Cache::Archives="$folder/archives" -o APT::Get::Assume-Yes=1 \
    -o APT::Install-Recommends=0 -o APT::Get::ReInstall=1 -o APT::Get::allow-downgrades=1 -o APT::Get::Download-Only=1 \
    "$@" >>"$folder/apt.log" 2>&1
}
lists=(-o Dir::State::Lists="$folder/lists") # where those of the machine are missing or too old
fetch install "${packages[@]}" || { fetch "${lists[@]}" update && fetch "${lists[@]}" install "${packages[@]}"; } ||
  skip "apt-get cannot download ${packages[*]}: $(tail -n 1 "$folder/apt.log")"
for package in "$folder"/archives/*.deb; do dpkg -x "$package" "$folder/debian" || skip "dpkg cannot unpack $package"; done
libraries=$(find "$folder/debian" -name 'lib*.so*' -printf '%h\n' | sort -u | paste -sd :)

cat >"$folder/share.py" <<'PYTHON'
import torch

def backward(model):
    a, b = (torch.nn.Parameter(torch.ones(3)) for _ in range(2))
    (3 * model(a, b)).sum().backward()
    same = a.grad.data_ptr() == b.grad.data_ptr()
    torch.nn.utils.clip_grad_norm_([a, b], 1.0)
    return f"same memory {same}, norm after clipping {torch.cat([a.grad, b.grad]).norm():.3f}"

print("a + b:", backward(lambda a, b: a + b), end="; ")
print("a[None] + b[None]:", backward(lambda a, b: a[None] + b[None]))
PYTHON
export PYTHONPATH=$folder/debian/usr/lib/python3/dist-packages
seen=$(LD_LIBRARY_PATH=$libraries timeout 60 /usr/bin/python3 "$folder/share.py") || seen+=" (ended with status $?)"
expected='a + b: same memory False, norm after clipping 1.000; a[None] + b[None]: same memory True, norm after clipping 0.136'
if [[ $seen == "$expected" ]]; then
  echo "as stated: $seen"
else
  printf 'changed: expected %s\n         seen     %s\n' "$expected" "$seen"
  exit 1
fi
