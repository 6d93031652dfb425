#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# ./dev fuzz [SECONDS]: runs every fuzzer of build/asan for so long (default 60), side by side, and tells what came of it. What a
# fuzzer has learnt stays in build/fuzz/corpus for the next time; what it has found stays in build/fuzz/findings, and is run first.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

seconds=${1:-60}
[[ "$seconds" =~ ^[1-9][0-9]*$ ]] || {
  printf 'dev fuzz: expected a number of seconds, found %s\n' "'$seconds'" >&2
  exit 2
}
readonly build=build/fuzz programs=build/asan/bin
readonly limits=(-timeout=10 -rss_limit_mb=2048 -print_final_stats=1)
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_stack_use_after_return=1:strict_string_checks=1:allocator_may_return_null=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}

begin() { # TARGET: in the background, with what it has learnt, what it begins with, and what it found before
  local target=$1 folder more=() longest=16384
  if [[ "$target" == manifest ]]; then longest=1024; fi # TOML is read slowly: what is short is read more often
  mkdir -p "$build/corpus/$target" "$build/findings/$target"
  for folder in "$build/seeds/$target" "tests/fuzz/seeds/$target" "$build/findings/$target"; do
    if [[ -d "$folder" ]]; then more+=("$folder"); fi
  done
  if [[ -f "tests/fuzz/$target.dict" ]]; then more+=("-dict=tests/fuzz/$target.dict"); fi
  nice "$programs/${target}_fuzz" "$build/corpus/$target" "${more[@]}" "${limits[@]}" "-max_len=$longest" \
    "-max_total_time=$seconds" "-artifact_prefix=$build/findings/$target/" >"$build/$target.log" 2>&1 &
}

row() { # TARGET RESULT
  local log=$build/$1.log last
  last=$(sed -nE '/^#[0-9]+.* cov: /p' "$log" | tail -n 1)
  printf '%-12s %12s %8s %8s %10s  %s\n' "$1" "$(sed -nE 's/^stat::number_of_executed_units: //p' "$log")" \
    "$(sed -nE 's/.* cov: ([0-9]+).*/\1/p' <<<"$last")" "$(sed -nE 's/.* ft: ([0-9]+).*/\1/p' <<<"$last")" \
    "$(sed -nE 's/.* corp: ([0-9]+).*/\1/p' <<<"$last")" "$2"
}

tell_finding() { # TARGET: what is needed to see it again
  local log=$build/$1.log file
  file=$(sed -nE 's/^.*Test unit written to (.*)$/\1/p' "$log" | tail -n 1)
  printf '\n---- %s\n' "$1" >&2
  grep -m 1 -A 25 -E '^==[0-9]+== ?ERROR|runtime error:|^ALARM|^INFO: a leak' "$log" >&2 || tail -n 25 "$log" >&2
  printf 'the whole report: %s\nto see it again:  %s_fuzz %s\n' "$log" "$programs/$1" "${file:-"(no input was kept)"}" >&2
}

mkdir -p "$build"
"$programs/seeds" "$build/seeds"
targets=() pids=() failed=()
for program in "$programs"/*_fuzz; do
  target=$(basename "$program" _fuzz)
  begin "$target"
  targets+=("$target")
  pids+=($!)
done
printf '%-12s %12s %8s %8s %10s  %s\n' fuzzer runs edges features corpus "after $seconds s"
for i in "${!targets[@]}"; do
  if wait "${pids[i]}"; then
    row "${targets[i]}" 'nothing found'
  else
    row "${targets[i]}" FOUND
    failed+=("${targets[i]}")
  fi
done
for target in "${failed[@]}"; do tell_finding "$target"; done
((${#failed[@]} == 0))
