#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Surprise: two hosts that send each other large messages at the same time through Open MPI 4.1 over TCP get half of the
#   line in each direction. Its TCP transport moves a large message by "put", as one fragment that is as long as the
#   message, and whatever else goes the same way waits behind it, which includes what the other direction needs to go
#   on. With the setting btl_tcp_flags=send it moves a message in pieces, and each direction gets nearly the whole line.
# Seen: 2026-11-28, Debian 12 packages openmpi-bin and libopenmpi-dev 4.1.4-3+b1, two network namespaces joined by a
#   veth pair with a token bucket filter of 100 Mbit/s at both ends, messages of 8 MB.
# Output seen:
#   share of the line that a direction got: 0.96 alone, 0.50 both at once, 0.96 both at once with btl_tcp_flags=send
#   (in six runs on two cores that other programs used as well: 0.42 to 0.51 and 0.78 to 0.96 for the last two)
# Since: not known. Open MPI pull request 8984 of 2021-05-19, open, proposes not to use this "put".
# One would have guessed: both directions have a line of their own, so about 0.95 with any setting.
set -euo pipefail

skip() {
  printf 'cannot be tried here: %s\n' "$1"
  exit 77
}
if [[ ${1-} != inside ]]; then
  ((EUID == 0)) || skip 'only root can make network namespaces'
  rig=(unshare --net --mount --ipc --pid --fork --kill-child --mount-proc)
  "${rig[@]}" true 2>/dev/null || skip 'network namespaces are not permitted'
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
  # The packages, and what they need that this machine lacks, are unpacked in the folder and not installed.
  packages=(openmpi-bin=4.1.4-3+b1 libopenmpi-dev=4.1.4-3+b1 libopenmpi3=4.1.4-3+b1 openmpi-common=4.1.4-3 gcc iproute2)
  mkdir -p "$folder"/{archives,lists}/partial "$folder"/debian/{etc,usr/{bin,lib,sbin}}
  ln -s usr/bin usr/lib usr/sbin "$folder/debian"
  fetch() {
    timeout 500 apt-get -qq -o Debug::NoLocking=1 -o Dir::Cache::Archives="$folder/archives" -o APT::Get::Assume-Yes=1 \
      -o APT::Install-Recommends=0 -o APT::Get::ReInstall=1 -o APT::Get::allow-downgrades=1 -o APT::Get::Download-Only=1 \
      "$@" >>"$folder/apt.log" 2>&1
  }
  lists=(-o Dir::State::Lists="$folder/lists") # where those of the machine are missing or too old
  fetch install "${packages[@]}" || { fetch "${lists[@]}" update && fetch "${lists[@]}" install "${packages[@]}"; } ||
    skip "apt-get cannot download ${packages[*]}: $(tail -n 1 "$folder/apt.log")"
  for package in "$folder"/archives/*.deb; do dpkg -x "$package" "$folder/debian" || skip "dpkg cannot unpack $package"; done
  status=0
  folder=$folder timeout 200 "${rig[@]}" "$BASH" "$0" inside || status=$?
  ((status != 124)) || { echo 'changed: not done after 200 s, where it took 12 s' && status=1; }
  exit $status
fi

# From here on as the first process of namespaces that end with it. One more for each host; mpirun is on host1.
cd "${folder:?}"
export TMPDIR=$folder
trap 'skip "$BASH_COMMAND failed"' ERR
# What was unpacked lies over /usr and /etc, for these namespaces only, as Open MPI has its folders built in.
for over in usr etc; do mount -t overlay -o "lowerdir=$folder/debian/$over:/$over" overlay "/$over"; done
mount -t tmpfs none /run
ip link set lo up
for host in 1 2; do ip netns add 10.9.0.$host; done
ip link add line netns 10.9.0.1 type veth peer name line netns 10.9.0.2
for host in 1 2; do
  ip -n 10.9.0.$host link set lo up
  ip -n 10.9.0.$host address add 10.9.0.$host/24 dev line
  ip -n 10.9.0.$host link set line up
  tc -n 10.9.0.$host qdisc add dev line root tbf rate 100mbit burst 256kb latency 100ms 2>/dev/null || skip 'there is no tc tbf'
done
cat >shell <<'END'
#!/bin/sh
host=$1
shift
exec ip netns exec "$host" unshare --uts sh -c "echo host${host##*.} >/proc/sys/kernel/hostname && $*"
END
chmod +x shell
cat >exchange.c <<'END'
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
int main(int count, char** arguments) { // an argument: one direction only
  const int bytes = 8000000, rounds = 3;
  char *out = calloc(bytes, 1), *in = calloc(bytes, 1);
  int rank, both = count == 1;
  double begin = 0;
  MPI_Init(NULL, NULL);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  for (int i = 0; i <= rounds; ++i) {
    if (i == 1) begin = MPI_Wtime();
    const int to = both || rank == 1 ? !rank : MPI_PROC_NULL, from = both || rank == 0 ? !rank : MPI_PROC_NULL;
    MPI_Sendrecv(out, bytes, MPI_CHAR, to, 0, in, bytes, MPI_CHAR, from, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
  }
  if (rank == 0) printf("%.2f\n", 8.0 * bytes * rounds / (MPI_Wtime() - begin) / 100e6);
  MPI_Finalize();
}
END
mpicc.openmpi exchange.c -o exchange || { echo 'changed: the program does not compile'; exit 1; }
exchange() {
  share=$(./shell 10.9.0.1 timeout 50 mpirun.openmpi --allow-run-as-root --host 10.9.0.1,10.9.0.2 -np 2 --bind-to none \
    --mca plm_rsh_agent "$folder/shell" --mca pml ob1 --mca btl tcp,self --mca btl_tcp_if_include line \
    --mca oob_tcp_if_include line "$@" 2>mpirun.log) || skip "mpirun ended with status $?: $share $(<mpirun.log)"
  [[ $share =~ ^[0-9]+\.[0-9]+$ ]] || skip "mpirun printed no share of the line: $share $(<mpirun.log)"
}
exchange exchange one-way && one_way=$share
exchange exchange && both=$share
exchange --mca btl_tcp_flags send exchange && both_send=$share
seen="share of the line that a direction got: $one_way alone, $both both at once, $both_send both at once with btl_tcp_flags=send"
if awk "BEGIN {exit !($one_way > 0.8 && $both < 0.65 && $both_send > 1.35 * $both)}"; then
  echo "as stated: $seen"
else
  echo "changed: expected more than 0.8 alone, less than 0.65 both at once, and 1.35 times as much with the flag; $seen"
  exit 1
fi
