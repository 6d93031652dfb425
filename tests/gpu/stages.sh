# SPDX-License-Identifier: Apache-2.0
# Part of gpu.sh: what it runs once all is built, one function a stage. Each leaves a row in the table, whatever happens.
# shellcheck shell=bash
# shellcheck disable=SC2154 # set there, and in machine.sh

limited() { timeout -k 10 "$limit" "$@"; } # COMMAND...

can_run() { # STAGE PROGRAM: or says why not
  if [[ -z "$gpu" ]]; then
    row "$1" SKIPPED 'no GPU'
  elif [[ ! -x "$2" ]]; then
    row "$1" SKIPPED "$2 was not built"
  else
    return 0
  fi
  return 1
}

run_plugins() {
  local bad log=$logs/plugins.log
  can_run plugins "$onebit" || return 0
  if ! limited "$onebit" plugins list >"$log" 2>&1; then
    row plugins FAILED "onebit plugins list: $log"
  elif bad=$(grep -E '^[a-z]+ +[a-z_0-9]+ +cuda .*\(unavailable' "$log"); then
    row plugins FAILED "$(wc -l <<<"$bad") unavailable; $(head -n 1 <<<"$bad" | sed 's/.*(/(/')"
  else
    row plugins passed "$(grep -cE '^[a-z]+ +[a-z_0-9]+ +cuda ' "$log") components for CUDA"
  fi
}

# A test that finds no device where there is one has failed.
skipped_test() { # NAME
  local reason
  reason=$(awk -v name="$1" '/ Testing: / {here = substr($0, index($0, "Testing: ") + 9) == name}
    here && sub(/.*SKIPPED: /, "") {print; exit}' "$folder/Testing/Temporary/LastTest.log")
  if [[ -n "$gpu" && "$reason" == *'no CUDA device can be used'* ]]; then
    row "$1" FAILED "$reason"
  else
    row "$1" SKIPPED "$reason"
  fi
}

readonly ctest_line='^ *[0-9]+/[0-9]+ Test +.[0-9]+: (.*[^ .]) \.\.+ *([A-Za-z ]*\*\*\*)?([A-Z][A-Za-z: ]*[a-z:]) +([0-9.]+) sec.*'
run_tests() { # each test is a row; without a GPU, too: they say so themselves
  local log=$logs/tests.log status=0 before=$failures name result seconds
  [[ -x "$folder/bin/gpu_test" ]] || { row tests FAILED 'gpu_test was not built' && return; }
  limited "${cmake%cmake}ctest" --test-dir "$folder" -L '^gpu$' --no-tests=error --output-on-failure >"$log" 2>&1 || status=$?
  while IFS='|' read -r name result seconds; do
    case $result in
      Passed) row "$name" passed "$seconds" ;;
      Skipped) skipped_test "$name" ;;
      *) row "$name" FAILED "$result, $seconds; $log" ;;
    esac
  done < <(sed -nE "s#$ctest_line#\1|\3|\4#p" "$log")
  if ((status == 124 || status == 137)); then
    row 'ctest -L gpu' FAILED "took longer than $limit seconds; $log"
  elif ((status && failures == before)); then
    row 'ctest -L gpu' FAILED "exit status $status: $(tail -n 1 "$log")"
  fi
}

run_sanitizer() { # memcheck or racecheck
  local sanitizer log=$logs/$1.log status=0 seconds=$SECONDS checked complaint
  can_run "$1" "$folder/bin/gpu_test" || return 0
  sanitizer=$(find_tool compute-sanitizer "$(dirname "$nvcc")" /usr/local/cuda/bin /usr/local/cuda/compute-sanitizer) ||
    { row "$1" SKIPPED 'there is no compute-sanitizer' && return; }
  local options=(--tool "$1" --target-processes all --error-exitcode 99)
  [[ "$1" != memcheck ]] || options+=(--report-api-errors no) # NCCL asks for what may not be there; our own calls are all checked
  limited "$sanitizer" "${options[@]}" \
    "$folder/bin/gpu_test" --test-case="$cases" >"$log" 2>&1 || status=$?
  checked=$(grep -cE '(ERROR|RACECHECK) SUMMARY: 0 ' "$log" || true)
  complaint=$(grep -m 1 -E '=+ (Error|Invalid|.*SUMMARY: [1-9])' "$log" || true)
  if [[ -n "$complaint" ]] || ((status)); then
    row "$1 of '$cases'" FAILED "exit status $status; $log: ${complaint:-$(tail -n 1 "$log")}"
  elif ((checked == 0)) || grep -q SKIPPED: "$log"; then
    row "$1 of '$cases'" FAILED "nothing was checked; $log"
  else
    row "$1 of '$cases'" passed "$((SECONDS - seconds)); $checked processes clean"
  fi
}

run_bench() {
  local status=0 seconds=$SECONDS
  can_run bench "$folder/bin/onebit_gpu_bench" || return 0
  limited "$folder/bin/onebit_gpu_bench" --json "$folder/bench.json" >"$logs/bench.log" 2>&1 || status=$?
  if ((status)); then
    row bench FAILED "exit status $status; $logs/bench.log"
  else
    row bench passed "$((SECONDS - seconds)); $folder/bench.json"
  fi
}

# Two processes, as torchrun would start them. Where they share a GPU, NCCL must take them for hosts of their own.
train_rank() { # RANK ARGUMENT...
  local environment=(RANK="$1" WORLD_SIZE=2 LOCAL_RANK="$1" LOCAL_WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=29533
    TORCHELASTIC_RUN_ID="gpu-$$" NCCL_SOCKET_IFNAME=lo)
  ((gpus > 1)) || environment+=(NCCL_HOSTID="rank$1" NCCL_MULTI_RANK_GPU_ENABLE=1)
  limited env "${environment[@]}" "$onebit" train configs/nccl.toml --out "$folder/train" --set optimizer.freeze_step=60 "${@:2}"
}

run_train() {
  local status=0 seconds=$SECONDS other figures data=() images=/usr/share/datasets/fashion-mnist
  if [[ $torch == OFF ]]; then row train SKIPPED "built without torch: $torch_note" && return; fi
  can_run train "$onebit" || return 0
  if [[ -d $images ]]; then
    data=(--set train.epochs=1) # of its 60,000 images
  elif [[ -d "$deps/data/fortunes" ]]; then
    data=(--set train.model=gpt --set train.data=fortunes --set train.data_folder="$deps/data/fortunes"
      --set train.samples=25600 --set train.epochs=1) # 200 steps
  else
    row train SKIPPED "no data set: neither $images nor $deps/data/fortunes" && return
  fi
  rm -rf "$folder/train"
  train_rank 1 "${data[@]}" >"$logs/train-rank1.log" 2>&1 &
  other=$!
  train_rank 0 "${data[@]}" >"$logs/train.log" 2>&1 || status=$?
  wait $other || status=$?
  if ((status)) || [[ ! -f "$folder/train/summary.json" ]]; then
    row train FAILED "exit status $status; $logs/train.log, $logs/train-rank1.log"
  else
    figures=$(grep -E '"(final_[a-z_]+|train_seconds|steps)"' "$folder/train/summary.json" | tr -d '\n "') || true
    row train passed "$((SECONDS - seconds)); ${figures%,}"
  fi
}
