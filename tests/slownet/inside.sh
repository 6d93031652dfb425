#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Inside the rig's namespaces, as their first process: makes the hosts and their network, runs COMMAND on them by mpirun, and
# tells what the interfaces counted. rig.sh starts it, with its arguments in slownet_*; nothing here needs to be undone.
set -euo pipefail
here=$(dirname "${BASH_SOURCE[0]}")
: "${slownet_counters?rig.sh starts this}"
readonly here hosts=${slownet_hosts:?} rate=${slownet_rate:?} ranks=${slownet_ranks_per_host:?}
readonly network=10.77.0 unavailable=69

fail() {
  printf 'slownet: %s\n' "$*" >&2
  exit $unavailable
}
address() { echo "$network.$(($1 + 1))"; }

# Namespaces are files here, called by the host's address, which is how mpirun names hosts. Open MPI's own files, whose names
# two rigs might share, go to this file system, too: it is this rig's alone.
mount -t tmpfs -o mode=1777 slownet /dev/shm || fail 'the rig needs a file system of its own on /dev/shm, and none can be there'
export slownet_folder=/dev/shm/.slownet
mkdir $slownet_folder

make_host() { # NUMBER
  local host
  host=$slownet_folder/$(address "$1")
  touch "$host.net" "$host.uts"
  unshare --net="$host.net" --uts="$host.uts" sh -c "echo host$1 >/proc/sys/kernel/hostname && ip link set lo up"
}

on_host() { # NUMBER COMMAND...
  local host
  host=$slownet_folder/$(address "$1")
  nsenter --net="$host.net" --uts="$host.uts" -- "${@:2}"
}

limit() { # DEVICE [HOW TO BE WHERE IT IS...]: what leaves through DEVICE
  [[ $rate == unlimited ]] || "${@:2}" tc qdisc add dev "$1" root tbf rate "$rate" burst 256kb latency 100ms
}

# IPv6 would only add its own chatter to the counters. Buffers are the kernel's usual ones, whatever this machine prefers.
# A network card takes little more than it is about to send; a filter would take 4 MB of each connection, and what goes to one
# host would wait behind what goes to another: four hosts that all send to all took 1.27 times the floor, and 1.18 so.
settle() { # NUMBER
  on_host "$1" sh -c "
    ip link set eth0 addrgenmode none
    ip address add $(address "$1")/24 dev eth0
    ip link set eth0 up
    echo 131072 >/proc/sys/net/ipv4/tcp_limit_output_bytes
    echo 4096 131072 6291456 >/proc/sys/net/ipv4/tcp_rmem
    echo 4096 16384 4194304 >/proc/sys/net/ipv4/tcp_wmem"
  limit eth0 on_host "$1"
}

# Two hosts are joined directly. More are joined by a bridge; there, each way to a host is limited at its sending end as well, as
# a switch's port is: else n - 1 hosts that send to one would reach it at n - 1 times the rate.
join_hosts() {
  local i end
  if ((hosts == 2)); then
    ip link add eth0 netns "$slownet_folder/$(address 0).net" type veth peer name eth0 netns "$slownet_folder/$(address 1).net"
    return
  fi
  ip link add switch type bridge
  ip link set switch addrgenmode none up
  for ((i = 0; i < hosts; ++i)); do
    end=$slownet_folder/$(address "$i").net
    ip link add "port$i" type veth peer name eth0 netns "$end"
    ip link set "port$i" master switch addrgenmode none up
    limit "port$i"
  done
}

make_network() {
  local i
  ip link set lo up
  for ((i = 0; i < hosts; ++i)); do make_host "$i"; done
  join_hosts
  for ((i = 0; i < hosts; ++i)); do settle "$i"; done
}

run() { # COMMAND...
  local i list='' transports=tcp,self
  for ((i = 0; i < hosts; ++i)); do list+=",$(address "$i"):$ranks"; done
  ((ranks == 1)) || transports=vader,tcp,self
  local arguments=(
    --allow-run-as-root --host "${list#,}" -np $((hosts * ranks))
    --mca plm_rsh_agent "$here/remote_shell.sh" --mca orte_tmpdir_base /dev/shm
    --mca pml ob1 --mca btl "$transports"
    --mca btl_tcp_if_include "$network.0/24" --mca oob_tcp_if_include "$network.0/24"
    # each host takes all processors for its own and would bind its rank to the first
    --bind-to none
  )
  on_host 0 mpirun "${arguments[@]}" -- "$@"
}

counter() { on_host "$1" cat /proc/net/dev | awk -v column="$2" '$1 == "eth0:" {print $column}'; } # NUMBER COLUMN
# What the filter let through, in bytes: with the headers of every packet that a large segment is cut into.
shaped() { on_host "$1" tc -s qdisc show dev eth0 | awk '$1 == "Sent" {print $2; found = 1} END {if (!found) print "null"}'; }

tell_counters() {
  local i sent received on_wire rows=''
  for ((i = 0; i < hosts; ++i)); do
    sent=$(counter "$i" 10) received=$(counter "$i" 2) on_wire=$(shaped "$i")
    printf 'slownet: host%d sent %s bytes, received %s\n' "$i" "$sent" "$received" >&2
    rows+=", {\"host\": \"host$i\", \"sent\": $sent, \"received\": $received, \"sent_with_all_headers\": $on_wire}"
  done
  [[ -z $slownet_counters ]] ||
    printf '{"rate": "%s", "ranks_per_host": %d, "congestion_control": "%s", "hosts": [%s]}\n' "$rate" "$ranks" \
      "$(on_host 0 cat /proc/sys/net/ipv4/tcp_congestion_control)" "${rows#, }" >"$slownet_counters"
}

said=$(make_network 2>&1) || fail "the network of the rig can't be made: $said"
status=0
run "$@" || status=$?
tell_counters
exit $status
