#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# ./dev gpu: builds what it can on a machine with a GPU, a compiler, CMake, nvcc and maybe nothing else, not even a network; runs
# there what needs a GPU, and prints one table of all that. Writes into build/gpu alone.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly folder=build/gpu no_gpu=77 # as in automake's tests: skipped
readonly logs=$folder/logs onebit=$folder/bin/onebit
deps=${ONEBIT_DEPS:-.deps} # what `./dev gpu --pack` filled
all_stages=(plugins tests memcheck racecheck bench train)
# Racecheck and memcheck slow kernels down a hundredfold, and NCCL's ranks wait for each other: one rank runs all kernels of ours.
architectures='' cases='1 rank*' limit=600
stages=()

# shellcheck source=tests/gpu/machine.sh
source tests/gpu/machine.sh
# shellcheck source=tests/gpu/stages.sh
source tests/gpu/stages.sh

usage() {
  cat <<'END_OF_USAGE'
usage: ./dev gpu [OPTION...] [STAGE...]    builds, then runs these stages; all unless named:
  plugins       every component for CUDA can be used
  tests         ctest -L gpu
  memcheck, racecheck   the tests named by --cases again, under compute-sanitizer
  bench         kernels and steps, against this GPU's memory bandwidth
  train         onebit train on two ranks that share a GPU; needs a Python torch with CUDA
options:
  --arch LIST   CUDA architectures, such as "80-real;90-real"; else that of the GPU that is there
  --cases GLOB  which test cases the sanitizers see; "1 rank*" unless told
  --limit S     seconds that a stage may take; 600 unless told
       ./dev gpu --pack    on Debian with a network: fills .deps, or ONEBIT_DEPS, with the dependencies. Copy it along.
Exit status: 0; 1: something failed; 2: wrong arguments; 77: all was built, but there is no GPU to run it on.
END_OF_USAGE
}

say() { printf '==> %s\n' "$*" >&2; }
die() { # STATUS TEXT
  printf 'dev gpu: %s\n' "$2" >&2
  exit "$1"
}

parse() {
  while (($#)); do
    case $1 in
      -h | --help)
        usage
        exit 0
        ;;
      --arch | --cases | --limit)
        (($# > 1)) || die 2 "$1 lacks its value"
        case $1 in --arch) architectures=$2 ;; --cases) cases=$2 ;; --limit) limit=$2 ;; esac
        shift
        ;;
      *)
        [[ " ${all_stages[*]} " == *" $1 "* ]] || die 2 "there is no stage '$1'; there are: ${all_stages[*]}"
        stages+=("$1")
        ;;
    esac
    shift
  done
  [[ "$limit" =~ ^[1-9][0-9]*$ ]] || die 2 "--limit is '$limit'; expected a number of seconds"
  ((${#stages[@]})) || stages=("${all_stages[@]}")
}

# ---- the table -------------------------------------------------------------------------------------------------------
rows=() failures=0
row() { # NAME RESULT [NOTE]; RESULT: found, MISSING, left out, passed, FAILED or SKIPPED
  rows+=("$(printf '%-9s %-60s %s' "$2" "$1" "${3:-}")")
  say "$1: $2${3:+ ($3)}"
  [[ "$2" != FAILED ]] || failures=$((failures + 1))
}

finish() { # also where something ended us early: what is known by then
  local status=$? stage
  printf '\n%-9s %-60s %s\n' result what 'seconds, reasons'
  printf '%s\n' "${rows[@]}"
  for stage in bench train; do
    [[ ! -s "$logs/$stage.log" ]] || printf '\n%s:\n%s\n' "$stage" "$(tail -n 80 "$logs/$stage.log")"
  done
  printf '\n%d failed; logs: %s\n' "$failures" "$logs"
  ((status == 0)) || die "$status" 'ended early: the table has only what was done by then'
  ((failures == 0)) || exit 1
  [[ -n "$gpu" ]] || die $no_gpu "there is NO GPU here: nothing above has run on one"
}

# ---- building --------------------------------------------------------------------------------------------------------
configure() {
  if command -v ccache >/dev/null; then export CMAKE_C_COMPILER_LAUNCHER=ccache CMAKE_CXX_COMPILER_LAUNCHER=ccache; fi
  local arguments=(-G Ninja "-DCMAKE_MAKE_PROGRAM=$ninja" -DCMAKE_BUILD_TYPE=Release "-DCMAKE_CUDA_COMPILER=$nvcc"
    "-DONEBIT_CUDA_ARCHITECTURES=${architectures:-80-real;90-real}" -DONEBIT_WERROR=OFF "-DONEBIT_MPI=$mpi" "-DONEBIT_TORCH=$torch")
  if [[ -d "$deps" ]]; then arguments+=("-DONEBIT_DEPS=$deps"); fi
  "$cmake" -S . -B $folder "${arguments[@]}" >$logs/configure.log 2>&1
}

build() { # WHAT TARGET...
  local seconds=$SECONDS log=$logs/build-${2//\//-}.log target
  local wanted=()
  for target in "${@:2}"; do wanted+=(--target "$target"); done
  say "building $1 (log: $log)"
  if "$cmake" --build $folder -j "${ONEBIT_JOBS:-$(nproc)}" "${wanted[@]}" >"$log" 2>&1; then
    row "build $1" passed $((SECONDS - seconds))
  else
    row "build $1" FAILED "$log: $(grep -m 1 -E 'error|FAILED' "$log" || tail -n 1 "$log")"
  fi
}
has_target() { "$ninja" -C $folder -t query "$1" >/dev/null 2>&1; }

configure_all() { # what torch brings into CMake is not in our hands
  say "configuring $folder"
  configure && return
  if [[ $torch == ON ]]; then
    mv $logs/configure{,-torch}.log
    row 'configuring with torch' FAILED "$logs/configure-torch.log; what needs torch is left out"
    torch=OFF
    configure && return
  fi
  tail -n 30 $logs/configure.log >&2
  die 1 "configuring failed: $logs/configure.log"
}

build_all() {
  configure_all
  build plugins onebit_all_plugins
  build 'GPU tests' tests/gpu/all # whatever that folder's lists name
  if has_target onebit_gpu_bench; then build 'GPU benchmark' onebit_gpu_bench; fi
  build 'command onebit' onebit_command
}

parse "$@"
mkdir -p $logs
rm -f $logs/*
trap finish EXIT
trap 'exit 130' INT TERM
look_around
build_all
for stage in "${stages[@]}"; do
  case $stage in
    memcheck | racecheck) run_sanitizer "$stage" ;;
    *) "run_$stage" ;;
  esac
done
