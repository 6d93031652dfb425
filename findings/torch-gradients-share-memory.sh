#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Surprise: two parameters that enter a sum through views, as in a[None] + b[None], get gradients in the same memory in torch
#   1.13.1. What then changes one gradient in place (clipping, scaling, a reduction over ranks) changes the other as well, and is
#   applied twice when it visits both: clip_grad_norm_ to a norm of 1 leaves 0.136. A plain a + b gives each its own memory.
# Seen: 2026-11-28, Debian 12 package python3-torch 1.13.1+dfsg-4, Python 3.11.2.
# Output seen:
#   a + b: same memory False, norm after clipping 1.000; a[None] + b[None]: same memory True, norm after clipping 0.136
# One would have guessed: .grad of each parameter is its own, so False and 1.000 in both.
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
seen=$(timeout 60 /usr/bin/python3 "$folder/share.py") || seen+=" (ended with status $?)"
expected='a + b: same memory False, norm after clipping 1.000; a[None] + b[None]: same memory True, norm after clipping 0.136'
if [[ $seen == "$expected" ]]; then
  echo "as stated: $seen"
else
  printf 'changed: expected %s\n         seen     %s\n' "$expected" "$seen"
  exit 1
fi
