#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Surprise: processes of one gang that torchrun restarted have different TORCHELASTIC_RESTART_COUNTs. Each machine's agent
#   counts the failures of its own processes; the agents that restart theirs because another machine has come back to the
#   rendezvous count nothing. So the variable can't be part of a name that all ranks of a gang agree on.
# Seen: 2026-11-30, Debian 12 package python3-torch 1.13.1+dfsg-4, two agents on one machine, of which one process failed.
# Output seen:
#   first: 0 and 0; restarted: 0 and 1
# One would have guessed: the count is the gang's, and the same in all of its processes.
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

# The process of agent b fails once, when both are there; each leaves its count in a file of its own for each start.
cat >"$folder/rank.py" <<'PYTHON'
import os
import pathlib
import sys
import time

seen = pathlib.Path(os.environ["SEEN"])


def wait_for(files):
    end = time.monotonic() + 60
    while len(list(seen.iterdir())) < files and time.monotonic() < end:
        time.sleep(0.1)


agent = os.environ["AGENT"]
start = len(list(seen.glob(agent + "*"))) + 1
(seen / f"{agent}{start}").write_text(os.environ["TORCHELASTIC_RESTART_COUNT"])
wait_for(2 * start)
if agent == "b" and start == 1:
    sys.exit(1)
wait_for(4)
PYTHON
mkdir "$folder/seen"
export PYTHONPATH=$folder/debian/usr/lib/python3/dist-packages SEEN=$folder/seen
port=$(/usr/bin/python3 -c 'import socket; s = socket.socket(); s.bind(("localhost", 0)); print(s.getsockname()[1])')
for agent in a b; do
  AGENT=$agent LD_LIBRARY_PATH=$libraries timeout 150 /usr/bin/python3 -m torch.distributed.run --rdzv_backend c10d \
    --rdzv_endpoint "localhost:$port" --nnodes 2 --nproc_per_node 1 --max_restarts 2 --redirects 1 --tee 1 \
    --log_dir "$folder/log$agent" "$folder/rank.py" >"$folder/$agent.log" 2>&1 &
done
wait
counts() { # START: of both agents' processes
  printf '%s and %s' "$(cat "$folder/seen/a$1" 2>&1 || true)" "$(cat "$folder/seen/b$1" 2>&1 || true)"
}
seen="first: $(counts 1); restarted: $(counts 2)"
expected="first: 0 and 0; restarted: 0 and 1"
if [[ $seen == "$expected" ]]; then
  echo "as stated: $seen"
else
  printf 'changed: expected %s\n         seen     %s\n' "$expected" "$seen"
  exit 1
fi
