#!/bin/bash
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
  say "$2: $1${3:+ ($3)}"
  [[ "$2" != FAILED ]] || failures=$((failures + 1))
}

finish() { # also where something ended us early: what is known by then
  local status=$? line
  printf '\n%-9s %-60s %s\n' result what 'seconds, reasons'
  printf '%s\n' "${rows[@]}"
  for line in bench train; do
    [[ ! " ${stages[*]} " == *" $line "* || ! -s "$logs/$line.log" ]] || printf '\n%s:\n%s\n' "$line" "$(tail -n 80 "$logs/$line.log")"
  done
  printf '\n%d failed; logs: %s\n' "$failures" "$logs"
  ((status == 0)) || exit "$status"
  ((failures == 0)) || exit 1
  [[ -n "$gpu" ]] || die $no_gpu "there is NO GPU here: nothing above has run on one"
}

# ---- what is there ---------------------------------------------------------------------------------------------------
python=$(command -v python3 || true)
ask_python() { [[ -n "$python" ]] && "$python" -c "$@" 2>/dev/null; }

find_tool() { # NAME [FOLDER...]: prints its path: of PATH, of a package of the same name in Python, or in FOLDER
  local place
  command -v "$1" && return
  for place in "$(ask_python "import $1 as m; print(getattr(m, 'BIN_DIR', None) or m.CMAKE_BIN_DIR)" || true)" "${@:2}"; do
    [[ -x "$place/$1" ]] || continue
    printf '%s\n' "$place/$1"
    return
  done
  return 1
}

find_gpu() { # sets gpu, "" where there is none, and gpus
  gpu='' gpus=0
  local smi found
  if smi=$(find_tool nvidia-smi /usr/local/nvidia/bin) &&
    found=$("$smi" --query-gpu=compute_cap,name,driver_version --format=csv,noheader 2>/dev/null) && [[ "$found" == *.* ]]; then
    gpu=$(head -n 1 <<<"$found") gpus=$(wc -l <<<"$found")
    [[ -n "$architectures" ]] || architectures=$(cut -d , -f 1 <<<"$found" | tr -d '. ' | sort -u | sed 's/$/-real/' | paste -sd ';')
  elif [[ -e /dev/nvidia0 ]]; then
    gpu='one that nvidia-smi does not tell about' gpus=1
    architectures=${architectures:-native}
  fi
}

find_nccl() { # sets nccl: the folder of libnccl.so.2, that of a Python package first, as torch takes it; "" where there is none
  local place
  nccl=''
  for place in "$(ask_python 'import importlib.util as i; print(i.find_spec("nvidia.nccl").submodule_search_locations[0])')/lib" \
    "$(ldconfig -p 2>/dev/null | sed -nE 's|.*=> (/.*)/libnccl\.so\.2$|\1|p' | head -n 1)" /usr/local/cuda/lib64; do
    [[ -f "$place/libnccl.so.2" ]] || continue
    nccl=$place
    export LD_LIBRARY_PATH=$nccl${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    nccl_version=$(ask_python 'import ctypes, sys
version = ctypes.c_int()
ctypes.CDLL(sys.argv[1]).ncclGetVersion(ctypes.byref(version))
print(version.value)' "$nccl/libnccl.so.2") || nccl_version=unknown
    return
  done
}

find_torch() { # sets torch: OFF or ON, and torch_note
  torch=OFF
  torch_note=$(ask_python 'import os, torch
headers = os.path.join(torch.utils.cmake_prefix_path, "../../include/torch/csrc/api/include/torch/torch.h")
print(torch.__version__, "CUDA", torch.version.cuda, "headers" if os.path.exists(headers) else "no headers")') ||
    torch_note='python3 has no torch'
  [[ "$torch_note" == *'CUDA '[0-9]*' headers' && "$torch_note" != *'no headers' ]] && torch=ON
  return 0
}

look_around() {
  local without_nccl='neither in python3, nor known to the loader, nor in the CUDA toolkit: what runs over it will fail'
  cmake=$(find_tool cmake) || die 1 "there is no CMake: neither in PATH nor in python3's packages"
  ninja=$(find_tool ninja) || die 1 "there is no ninja: neither in PATH nor in python3's packages"
  nvcc=$(find_tool nvcc /usr/local/cuda/bin) || die 1 "there is no nvcc: neither in PATH nor in /usr/local/cuda/bin"
  find_gpu
  find_nccl
  find_torch
  mpi=OFF
  if command -v mpicc >/dev/null; then mpi=ON; fi
  if [[ -n "$gpu" ]]; then row "GPU: $gpu; $gpus in all" found; else row GPU MISSING 'no nvidia-smi lists one, no /dev/nvidia0'; fi
  row "$("$nvcc" --version | sed -nE 's/.*release ([^,]*).*/nvcc \1/p'), $("${CXX:-g++}" --version | head -n 1)" found "$nvcc"
  if [[ -n "$nccl" ]]; then row "NCCL $nccl_version" found "$nccl"; else row NCCL MISSING "$without_nccl"; fi
  if [[ $torch == ON ]]; then row "torch $torch_note" found; else row 'what trains, onebit::torch' 'left out' "$torch_note"; fi
  if [[ $mpi == ON ]]; then row MPI found "$(command -v mpicc)"; else row 'communicator mpi' 'left out' 'there is no mpicc'; fi
}

# ---- building --------------------------------------------------------------------------------------------------------
configure() {
  local arguments=(-G Ninja "-DCMAKE_MAKE_PROGRAM=$ninja" -DCMAKE_BUILD_TYPE=Release "-DCMAKE_CUDA_COMPILER=$nvcc"
    "-DONEBIT_CUDA_ARCHITECTURES=${architectures:-80-real;90-real}" -DONEBIT_WERROR=OFF "-DONEBIT_MPI=$mpi" "-DONEBIT_TORCH=$torch")
  if [[ -d "$deps" ]]; then
    arguments+=("-DONEBIT_DEPS=$(cd "$deps" && pwd)")
  else
    row "packed dependencies" 'left out' "there is no folder $deps: taken from the system"
  fi
  "$cmake" -S . -B $folder "${arguments[@]}" >$logs/configure.log 2>&1
}

build() { # WHAT TARGET...
  local seconds=$SECONDS log=$logs/build-$2.log target
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

build_all() {
  mkdir -p $logs
  rm -f $logs/*
  say "configuring $folder"
  if ! configure && [[ $torch == ON ]]; then
    row "configure with torch" FAILED "$logs/configure-torch.log; what needs it is left out"
    mv $logs/configure{,-torch}.log
    torch=OFF
    configure || true
  fi
  [[ -f $folder/build.ninja ]] || {
    tail -n 30 $logs/configure.log >&2
    die 1 "configuring failed: $logs/configure.log"
  }
  build plugins onebit_all_plugins
  build 'GPU tests' gpu_test
  if has_target onebit_gpu_bench; then build 'GPU benchmark' onebit_gpu_bench; fi
  build 'onebit' onebit_command
}

# ---- running ---------------------------------------------------------------------------------------------------------
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
  can_run plugins $onebit || return 0
  if ! limited $onebit plugins list >$log 2>&1; then
    row plugins FAILED "onebit plugins list: $log"
  elif bad=$(grep -E '^[a-z]+ +[a-z_0-9]+ +cuda .*\(unavailable' $log); then
    row plugins FAILED "$(wc -l <<<"$bad") unavailable; $(head -n 1 <<<"$bad" | sed 's/.*(/(/')"
  else
    row plugins passed "$(grep -cE '^[a-z]+ +[a-z_0-9]+ +cuda ' $log) components for CUDA"
  fi
}

run_tests() { # each test is a row; without a GPU, too: they say so themselves
  local log=$logs/tests.log status=0 line reason
  [[ -x $folder/bin/gpu_test ]] || { row tests FAILED 'gpu_test was not built' && return; }
  limited "${cmake%cmake}ctest" --test-dir $folder -L '^gpu$' --no-tests=error --output-on-failure >$log 2>&1 || status=$?
  reason=$(grep -m 1 -oE 'SKIPPED: .*' $folder/Testing/Temporary/LastTest.log || true)
  while IFS='|' read -r name result seconds; do
    case $result in
      Passed) row "$name" passed "$seconds" ;;
      Skipped) row "$name" SKIPPED "${reason#SKIPPED: }" ;;
      *) row "$name" FAILED "$result, $seconds; $log" ;;
    esac
  done < <(sed -nE 's/^ *[0-9]+\/[0-9]+ Test +#[0-9]+: (.*[^ .]) \.\.+ *(\*\*\*)?([A-Z][A-Za-z ]*[a-z]) +([0-9.]+) sec.*/\1|\3|\4/p' $log)
  if ((status == 124 || status == 137)); then
    row 'ctest -L gpu' FAILED "took longer than $limit seconds; $log"
  elif ((status)) && ((failures == 0)); then
    row 'ctest -L gpu' FAILED "exit status $status: $(tail -n 1 $log)"
  fi
}

run_sanitizer() { # memcheck or racecheck
  local sanitizer log=$logs/$1.log status=0 seconds=$SECONDS checked
  can_run "$1" $folder/bin/gpu_test || return 0
  sanitizer=$(find_tool compute-sanitizer "$(dirname "$nvcc")" /usr/local/cuda/bin /usr/local/cuda/compute-sanitizer) ||
    { row "$1" SKIPPED 'there is no compute-sanitizer' && return; }
  limited "$sanitizer" --tool "$1" --target-processes all --error-exitcode 99 \
    $folder/bin/gpu_test --test-case="$cases" >"$log" 2>&1 || status=$?
  checked=$(grep -cE '(ERROR|RACECHECK) SUMMARY: 0 ' "$log" || true)
  if ((status)) || grep -qE '(ERROR|RACECHECK) SUMMARY: [1-9]' "$log"; then
    row "$1 of '$cases'" FAILED "exit status $status; $log: $(grep -m 1 -E '=+ (Error|Invalid|.*SUMMARY: [1-9])' "$log" || tail -n 1 "$log")"
  elif ((checked == 0)) || grep -q SKIPPED: "$log"; then
    row "$1 of '$cases'" FAILED "nothing was checked; $log"
  else
    row "$1 of '$cases'" passed "$((SECONDS - seconds)); $checked processes clean"
  fi
}

run_bench() {
  local status=0 seconds=$SECONDS
  can_run bench $folder/bin/onebit_gpu_bench || return 0
  limited $folder/bin/onebit_gpu_bench >$logs/bench.log 2>&1 || status=$?
  if ((status)); then row bench FAILED "exit status $status; $logs/bench.log"; else row bench passed $((SECONDS - seconds)); fi
}

# Two processes, as torchrun would start them. Where they share a GPU, NCCL must take them for hosts of their own.
train_rank() { # RANK ARGUMENT...
  local environment=(RANK="$1" WORLD_SIZE=2 LOCAL_RANK="$1" LOCAL_WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=29533
    TORCHELASTIC_RUN_ID="gpu-$$" NCCL_SOCKET_IFNAME=lo)
  ((gpus > 1)) || environment+=(NCCL_HOSTID="rank$1" NCCL_MULTI_RANK_GPU_ENABLE=1)
  limited env "${environment[@]}" $onebit train configs/nccl.toml --out "$folder/train" --set optimizer.freeze_step=60 "${@:2}"
}

run_train() {
  local status=0 seconds=$SECONDS other data=() images=/usr/share/datasets/fashion-mnist
  if [[ $torch == OFF ]]; then row train SKIPPED "built without torch: $torch_note" && return; fi
  can_run train $onebit || return 0
  if [[ -d $images ]]; then
    data=(--set train.epochs=1)
  elif [[ -d "$deps/data/fortunes" ]]; then
    data=(--set train.model=gpt --set train.data=fortunes --set train.data_folder="$(cd "$deps" && pwd)/data/fortunes"
      --set train.samples=25600 --set train.epochs=1)
  else
    row train SKIPPED "no data set: neither $images nor $deps/data/fortunes" && return
  fi
  train_rank 1 "${data[@]}" >$logs/train-rank1.log 2>&1 &
  other=$!
  train_rank 0 "${data[@]}" >$logs/train.log 2>&1 || status=$?
  wait $other || status=$?
  if ((status)); then
    row train FAILED "exit status $status; $logs/train.log, $logs/train-rank1.log"
  else
    row train passed "$((SECONDS - seconds)); $(grep -E '"(final_[a-z_]+|train_seconds|parameter_hash)"' $folder/train/summary.json |
      tr -d '\n "')"
  fi
}

parse "$@"
mkdir -p $logs
gpu=''
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
