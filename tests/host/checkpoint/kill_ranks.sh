#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Trains in a restart loop while random ranks are killed with -9 at random moments, until so many were. Every training must end
# with the parameters of one that nobody disturbed, no checkpoint may be damaged, and nothing may hang or outlive its launcher.
#
#   kill_ranks.sh [KILLS [RANKS [SEED]]]     by default 100 kills, 2 ranks, and a seed that is printed
#
# Where a training is over before all kills were made, another one begins. ONEBIT: the command, by default that of
# build/release; MPIRUN: the launcher; TRAIN_MORE: more arguments of `onebit train`, such as --set train.data_folder=...
set -euo pipefail

kills=${1:-100} ranks=${2:-2} seed=${3:-$((RANDOM * 32768 + RANDOM))}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)
onebit=${ONEBIT:-$root/build/release/bin/onebit} mpirun=${MPIRUN:-mpirun}
read -ra more <<<"${TRAIN_MORE:-}"
most_seconds=120 # of one life: more is a hang
RANDOM=$((seed % 32768))
# Survivors of a killed rank are killed at once, and not after a second in which they may come to an end by themselves.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1 \
  OMPI_MCA_hwloc_base_binding_policy=none OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_btl_vader_single_copy_mechanism=none \
  OMPI_MCA_odls_base_sigkill_timeout=0

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

die() {
  printf 'kill_ranks: %s (seed %s)\n' "$*" "$seed" >&2
  tail -n 40 "$scratch/said" >&2 || true
  exit 1
}

# What each rank runs: it leaves its process's number, and becomes the command.
export PIDS=$scratch/pids
cat >"$scratch/rank.sh" <<'END'
#!/bin/sh
echo $$ >"$PIDS/$OMPI_COMM_WORLD_RANK$PMI_RANK"
exec "$@"
END
chmod +x "$scratch/rank.sh"

train() { # OUT: becomes mpirun
  exec timeout -k 5 "$most_seconds" "$mpirun" -n "$ranks" "$scratch/rank.sh" "$onebit" \
    train "$root/configs/restartable.toml" --out "$1" --resume --set communicator.plugin=mpi --set train.batch=16 \
    --set train.samples=6400 --set train.log_every=10 --set checkpoint.every=10 --set optimizer.freeze_step=100 "${more[@]}" \
    >"$scratch/said" 2>&1
}

begin() { # OUT: a life; $life is its launcher, and no rank of an earlier one is taken for one of this
  rm -rf "$PIDS"
  mkdir "$PIDS"
  since=$SECONDS
  (train "$1") &
  life=$!
}

# A number may have gone to another process, and a zombie has ended.
is_alive() { # PROCESS
  local state
  grep -qsE '^(rank\.sh|onebit)' "/proc/$1/comm" || return 1
  { read -r _ _ state _ <"/proc/$1/stat"; } 2>/dev/null || return 1
  [[ "$state" != Z ]]
}

nap() { # MILLISECONDS
  sleep "$(printf '%d.%03d' $(($1 / 1000)) $(($1 % 1000)))"
}

# Once a rank is there, any moment up to the end of a life that nobody disturbs is as likely as another.
kill_one() {
  local pid=$PIDS/$((RANDOM % ranks)) moment=$((RANDOM * 32768 + RANDOM))
  until [[ -s "$pid" ]]; do
    kill -0 "$life" 2>/dev/null || return 1
    nap 5
  done
  nap $((moment % milliseconds))
  is_alive "$(<"$pid")" && kill -KILL "$(<"$pid")" 2>/dev/null
}

require_all_gone() {
  local pid
  for pid in "$PIDS"/*; do
    [[ -s "$pid" ]] || continue
    while is_alive "$(<"$pid")"; do
      ((SECONDS - since < most_seconds)) || die "rank ${pid##*/} has outlived its launcher"
      nap 10
    done
  done
}

hash_of() { # OUT
  grep -q '"status": "completed"' "$1/summary.json" || die "$1: the training is not complete"
  sed -nE 's/.*"parameter_hash": "([0-9a-f]+)".*/\1/p' "$1/summary.json"
}

require_whole() { # OUT
  ! compgen -G "$1/checkpoints/step-????????" >/dev/null || "$onebit" checkpoint verify "$1/checkpoints" >"$scratch/verdict" ||
    die "a checkpoint is damaged: $(<"$scratch/verdict")"
}

begin "$scratch/undisturbed"
wait "$life" || die "the undisturbed training failed"
milliseconds=$((($(date +%s%N) - $(date +%s%N -r "$PIDS/0")) / 1000000))
expected=$(hash_of "$scratch/undisturbed")
printf 'undisturbed: %s, in %d ms; seed %s\n' "$expected" "$milliseconds" "$seed"

made=0 trainings=0 lives=0
while ((made < kills)); do
  out=$scratch/run$trainings
  while :; do
    lives=$((lives + 1))
    begin "$out"
    killed=false
    if ((made < kills)) && kill_one; then made=$((made + 1)) killed=true; fi
    status=0
    wait "$life" || status=$?
    ((SECONDS - since < most_seconds)) || die "a life of the training hung"
    require_all_gone
    require_whole "$out"
    ((status != 0)) || break
    $killed || die "a life failed that nobody had ended"
    ((lives <= 20 * (kills + 5))) || die "the training does not come to its end"
  done
  found=$(hash_of "$out")
  [[ "$found" == "$expected" ]] || die "after kills the parameters are others: $found, expected $expected"
  trainings=$((trainings + 1))
  rm -rf "$out"
  printf '%d kills in %d lives: %d trainings ended as the undisturbed one\n' "$made" "$lives" "$trainings"
done
