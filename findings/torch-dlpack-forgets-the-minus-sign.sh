#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Surprise: torch 1.13.1 exports a tensor with the opposite sign through DLPack where its minus is only a bit in the tensor that
#   waits to be applied, as in z.conj().imag. It raises no error, while numpy() of the same tensor raises one. Who takes tensors
#   of others through DLPack has to ask is_neg() first.
# Seen: 2026-11-28, Debian 12 packages python3-torch 1.13.1+dfsg-4 and python3-numpy 1.24.2, Python 3.11.2.
# Output seen:
#   tensor [-2.0, -4.0], through DLPack [2.0, 4.0], numpy() RuntimeError
# One would have guessed: -2 and -4 through DLPack, or an error as from numpy().
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

cat >"$folder/minus.py" <<'PYTHON'
import torch

x = torch.tensor([1 + 2j, 3 + 4j]).conj().imag
try:
    numpy = str(x.numpy())
except RuntimeError:
    numpy = "RuntimeError"
print(f"tensor {x.tolist()}, through DLPack {torch.from_dlpack(x).tolist()}, numpy() {numpy}")
PYTHON
seen=$(timeout 60 /usr/bin/python3 "$folder/minus.py") || seen+=" (ended with status $?)"
expected='tensor [-2.0, -4.0], through DLPack [2.0, 4.0], numpy() RuntimeError'
if [[ $seen == "$expected" ]]; then
  echo "as stated: $seen"
else
  printf 'changed: expected %s\n         seen     %s\n' "$expected" "$seen"
  exit 1
fi
