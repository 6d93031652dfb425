#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Surprise: load_state_dict of torch 1.13.1's Optimizer converts every tensor of the state to the dtype of its parameter, integers
#   and packed bits as well, save under the key "step". With a parameter in float32 a counter of 16777217 comes back as 16777216
#   and a byte as a float32 of four bytes, without an error. An optimizer of one's own must keep such state elsewhere.
# Seen: 2026-11-28, Debian 12 package python3-torch 1.13.1+dfsg-4, Python 3.11.2.
# Output seen:
#   samples: 16777216 of type torch.float32; bits: 255 of type torch.float32
# One would have guessed: what was saved is loaded, so 16777217 of type torch.int64 and 255 of type torch.uint8.
set -euo pipefail

skip() {
  printf 'can not be tried here: %s\n' "$1"
  exit 77
}
((EUID == 0)) || skip 'only root can install packages'
packages=(python3-torch=1.13.1+dfsg-4)
DEBIAN_FRONTEND=noninteractive timeout 500 apt-get -o DPkg::Lock::Timeout=300 -qq -y --no-install-recommends install \
  "${packages[@]}" >/dev/null 2>&1 || skip "apt-get can not install ${packages[*]}"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

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
seen=$(timeout 60 /usr/bin/python3 "$folder/load.py") || seen+=" (ended with status $?)"
expected='samples: 16777216 of type torch.float32; bits: 255 of type torch.float32'
if [[ $seen == "$expected" ]]; then
  echo "as stated: $seen"
else
  printf 'changed: expected %s\n         seen     %s\n' "$expected" "$seen"
  exit 1
fi
