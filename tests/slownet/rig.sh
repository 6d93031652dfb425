#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The rig: runs a command by Open MPI's mpirun on hosts that a slow network joins, all of them on this machine. A host is a
# network namespace with a host name of its own; the network is veth pairs, with a token bucket filter at every sending end.
# All of it lives in a process, a mount and a network namespace that only this script knows: when their first process ends,
# for whatever reason, the kernel kills every process in there and takes the network away. No trap has to do that.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly here unavailable=69 # as in sysexits.h: the rig can't be on this machine

usage() {
  cat <<'END_OF_USAGE'
usage: ./dev slownet --hosts N --rate RATE [--ranks-per-host N] [--counters FILE] -- COMMAND [ARGUMENT...]
  --hosts N           2 (joined directly) or more, up to 16 (joined by a bridge); they are called host0, host1 ...
  --rate RATE         what each host can send, and be sent, at the same time: 100mbit, 1gbit, 4gbit ..., or unlimited
  --ranks-per-host N  how many ranks mpirun starts on each host; 1 unless told
  --counters FILE     write what the interfaces counted there, as JSON
The hosts share this machine's processors, files and memory. The exit status is COMMAND's; 2: wrong arguments; 69: the rig
can't be here, and why.
END_OF_USAGE
}

refuse() { # STATUS REASON WHAT-TO-DO
  printf 'slownet: %s\n         %s\n' "$2" "$3" >&2
  exit "$1"
}

hosts='' rate='' ranks_per_host=1 counters=''
parse() {
  while (($#)); do
    case $1 in
      --) break ;;
      -h | --help)
        usage
        exit 0
        ;;
      --hosts | --rate | --ranks-per-host | --counters)
        [[ ${2:---} != -- ]] || refuse 2 "$1 lacks its value" './dev slownet --help tells the arguments'
        local name=${1#--}
        printf -v "${name//-/_}" %s "$2"
        shift 2
        ;;
      *) refuse 2 "unknown argument '$1'" 'the command to run comes after --; ./dev slownet --help tells the arguments' ;;
    esac
  done
  (($# > 1)) || refuse 2 'there is no command to run' 'name it after --, as in: --hosts 2 --rate 100mbit -- hostname'
  shift
  command=("$@")
}

number() { [[ $1 =~ ^[1-9][0-9]{0,2}$ ]]; }
check_arguments() {
  { number "$hosts" && ((hosts >= 2 && hosts <= 16)); } || refuse 2 "--hosts '$hosts'" 'expected a number from 2 to 16'
  number "$ranks_per_host" || refuse 2 "--ranks-per-host '$ranks_per_host'" 'expected a number from 1 to 999'
  [[ $rate =~ ^([1-9][0-9]*[kmg]bit|unlimited)$ ]] ||
    refuse 2 "--rate '$rate'" 'expected a rate as 100mbit, 1gbit or 4gbit, or unlimited'
  [[ -z $counters ]] || { : >"$counters"; } 2>/dev/null || refuse 2 "--counters '$counters' can't be written" 'name a file in a folder that exists'
}

namespaces=(unshare --net --mount --ipc --pid --fork --kill-child --mount-proc)
check_machine() {
  local tool package said
  while read -r tool package; do
    command -v "$tool" >/dev/null || refuse $unavailable "there is no '$tool' here" "install $package"
  done <<<'mpirun openmpi-bin
    ip iproute2
    tc iproute2
    unshare util-linux
    setpriv util-linux'
  ((EUID == 0)) || refuse $unavailable 'only root may make network namespaces' 'run it as root'
  said=$("${namespaces[@]}" ip link set lo up 2>&1) ||
    refuse $unavailable "no network namespaces can be made here: $said" \
      'in a container, this takes the capabilities SYS_ADMIN and NET_ADMIN (docker run --privileged)'
  [[ $rate == unlimited ]] ||
    said=$("${namespaces[@]}" tc qdisc add dev lo root tbf rate "$rate" burst 256kb latency 100ms 2>&1) ||
    refuse $unavailable "this kernel has no token bucket filter: $said" 'load its module: modprobe sch_tbf'
}

parse "$@"
check_arguments
PATH=$PATH:/usr/sbin:/sbin
check_machine

# The rig dies with this script, and all in it with the rig (--kill-child), even where this script is killed with no chance to
# say so. It is in the background for a trap runs only between commands, or in a wait; there, a shell would have it ignore
# Ctrl-C and read nothing.
export slownet_hosts=$hosts slownet_rate=$rate slownet_ranks_per_host=$ranks_per_host slownet_counters=$counters
setpriv --pdeathsig KILL env --default-signal=INT,QUIT "${namespaces[@]}" "$here/inside.sh" "${command[@]}" <&0 &
rig=$!
# shellcheck disable=SC2317 # the traps below call it
end() { # SIGNAL NUMBER
  trap '' INT TERM HUP
  kill -KILL "$rig" 2>/dev/null || true
  wait "$rig" 2>/dev/null || true
  printf 'slownet: ended by SIG%s; all is removed\n' "$1" >&2
  exit $((128 + $2))
}
trap 'end INT 2' INT
trap 'end TERM 15' TERM
trap 'end HUP 1' HUP
status=0
wait "$rig" || status=$?
exit $status
