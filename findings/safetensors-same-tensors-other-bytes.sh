#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Surprise: safetensors 0.8.0 gives other bytes each time it saves the same tensors with the same metadata, as soon as
#   the metadata has several keys: it writes them in the order of a hash table that is seeded anew for every save. So a
#   digest of the file tells neither whether two checkpoints are equal nor whether a run was repeated exactly. Without
#   metadata the bytes are equal.
# Seen: 2026-11-28, PyPI safetensors 0.8.0 and numpy 2.3.5, Python 3.11.
# Output seen:
#   different files of 20 saves: 1 without metadata, 20 with 8 keys of metadata;
#   1 different header but for the order of keys
# Since: open as safetensors issue 584 of 2025-03-01; pull request 790 of 2026-06-13, open, sorts the keys.
# One would have guessed: the same arguments give the same bytes, so 1 and 1.
set -euo pipefail

skip() {
  printf 'cannot be tried here: %s\n' "$1"
  exit 77
}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv" >/dev/null 2>&1 || skip 'python3 -m venv does not work (Debian package python3-venv)'
timeout 500 "$folder/venv/bin/pip" install --quiet --only-binary :all: safetensors==0.8.0 numpy==2.3.5 >/dev/null 2>&1 ||
  skip 'pip cannot install safetensors==0.8.0 and numpy==2.3.5 (they need Python 3.11 or later)'

cat >"$folder/save.py" <<'END'
import json
import numpy
from safetensors.numpy import save

def files(metadata):
    return {save({"weight": numpy.ones(4, numpy.float32)}, metadata=metadata) for _ in range(20)}

def header(file):
    return json.dumps(json.loads(file[8:8 + int.from_bytes(file[:8], "little")]), sort_keys=True)

plain, keyed = files(None), files({f"key{i}": "value" for i in range(8)})
print(f"different files of 20 saves: {len(plain)} without metadata, {len(keyed)} with 8 keys of metadata; "
      f"{len(set(map(header, keyed)))} different header but for the order of keys")
END
seen=$(timeout 60 "$folder/venv/bin/python" "$folder/save.py") || seen+=" (ended with status $?)"
if [[ $seen =~ ' 1 without metadata, '([0-9]+)' with 8 keys of metadata; 1 different' ]] && ((BASH_REMATCH[1] > 1)); then
  echo "as stated: $seen"
else
  echo "changed: expected 1 file without metadata, several with, and 1 header but for the order; $seen"
  exit 1
fi
