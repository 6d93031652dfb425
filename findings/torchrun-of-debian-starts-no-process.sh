#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Surprise: torchrun as Debian 12 ships it starts no process. Debian's Python is 3.11, in which the loop over an IntFlag
#   leaves out the member that is 0; so torchrun of torch 1.13.1 finds no value for its own default of --redirects, and
#   ends in an AttributeError that names neither. With --redirects 1 it works.
# Seen: 2026-11-29, Debian 12 package python3-torch 1.13.1+dfsg-4, Python 3.11.2.
# Output seen:
#   default: AttributeError: 'NoneType' object has no attribute 'get'; --redirects 1 --tee 1: [default0]:rank 0 of 1
# Since: reported to users of torchrun, with a patch, in meta-llama/llama issue 86 of March 2023.
# One would have guessed: a distribution's launcher starts processes with the same distribution's Python.
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

cat >"$folder/rank.py" <<'PYTHON'
import os

print("rank", os.environ["RANK"], "of", os.environ["WORLD_SIZE"], flush=True)
PYTHON
export PYTHONPATH=$folder/debian/usr/lib/python3/dist-packages
started() { # [OPTION...]: torchrun's last line, of what a rank said or of its own error
  LD_LIBRARY_PATH=$libraries timeout 120 /usr/bin/python3 -m torch.distributed.run --rdzv_backend c10d \
    --rdzv_endpoint localhost:0 --nproc_per_node 1 --log_dir "$folder/log" "$@" "$folder/rank.py" 2>&1 |
    grep -E 'rank|Error' | tail -n 1
}
seen="default: $(started || true); --redirects 1 --tee 1: $(started --redirects 1 --tee 1 || true)"
expected="default: AttributeError: 'NoneType' object has no attribute 'get'; --redirects 1 --tee 1: [default0]:rank 0 of 1"
if [[ $seen == "$expected" ]]; then
  echo "as stated: $seen"
else
  printf 'changed: expected %s\n         seen     %s\n' "$expected" "$seen"
  exit 1
fi
