#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Surprise: torch 1.13.1 exports a tensor with the opposite sign through DLPack where its minus is only a bit in the
#   tensor that waits to be applied, as in z.conj().imag. It raises no error, while numpy() of the same tensor raises
#   one. Who takes tensors of others through DLPack has to ask is_neg() first.
# Seen: 2026-11-28, Debian 12 packages python3-torch 1.13.1+dfsg-4 and python3-numpy 1.24.2, Python 3.11.2.
# Output seen:
#   tensor [-2.0, -4.0], through DLPack [2.0, 4.0], numpy() error: negative bit
# Since: not known. Tensor.__dlpack__ refuses a tensor with the conjugate bit (pytorch pull request 57110), but not this
#   one.
# One would have guessed: -2 and -4 through DLPack, or an error as from numpy().
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

cat >"$folder/minus.py" <<'PYTHON'
import torch

x = torch.tensor([1 + 2j, 3 + 4j]).conj().imag
try:
    numpy = str(x.numpy())
except RuntimeError as error:
    numpy = "error: negative bit" if "negative bit" in str(error) else f"error: {error}"
print(f"tensor {x.tolist()}, through DLPack {torch.from_dlpack(x).tolist()}, numpy() {numpy}")
PYTHON
export PYTHONPATH=$folder/debian/usr/lib/python3/dist-packages
seen=$(LD_LIBRARY_PATH=$libraries timeout 60 /usr/bin/python3 "$folder/minus.py") || seen+=" (ended with status $?)"
expected='tensor [-2.0, -4.0], through DLPack [2.0, 4.0], numpy() error: negative bit'
if [[ $seen == "$expected" ]]; then
  echo "as stated: $seen"
else
  printf 'changed: expected %s\n         seen     %s\n' "$expected" "$seen"
  exit 1
fi
