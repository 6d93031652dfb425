#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Surprise: load_state_dict of torch 1.13.1's Optimizer converts every tensor of the state to the dtype of its
#   parameter, integers and packed bits as well, save under the key "step". With a parameter in float32 a counter of
#   16777217 comes back as 16777216 and a byte as a float32 of four bytes, without an error. An optimizer of one's own
#   must not keep such state as a tensor.
# Seen: 2026-11-28, Debian 12 package python3-torch 1.13.1+dfsg-4, Python 3.11.2.
# Output seen:
#   samples: 16777216 of type torch.float32; bits: 255 of type torch.float32
# Since: open as pytorch issue 43706 of 2020-08-27, on floating-point state; issue 75224 of 2022-04-04, on what should
#   not be converted, is closed.
# One would have guessed: what was saved is loaded, so 16777217 of type torch.int64 and 255 of type torch.uint8.
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

cat >"$folder/load.py" <<'PYTHON'
import torch

def optimizer():
    weight = torch.nn.Parameter(torch.zeros(2, dtype=torch.float32))
    return weight, torch.optim.SGD([weight], lr=0.1)

weight, saved = optimizer()
saved.state[weight] = {"samples": torch.tensor(16777217), "bits": torch.tensor([255], dtype=torch.uint8)}
weight, loaded = optimizer()
loaded.load_state_dict(saved.state_dict())
state = loaded.state[weight]
print("; ".join(f"{name}: {int(value)} of type {value.dtype}" for name, value in state.items()))
PYTHON
export PYTHONPATH=$folder/debian/usr/lib/python3/dist-packages
seen=$(LD_LIBRARY_PATH=$libraries timeout 60 /usr/bin/python3 "$folder/load.py") || seen+=" (ended with status $?)"
expected='samples: 16777216 of type torch.float32; bits: 255 of type torch.float32'
if [[ $seen == "$expected" ]]; then
  echo "as stated: $seen"
else
  printf 'changed: expected %s\n         seen     %s\n' "$expected" "$seen"
  exit 1
fi
