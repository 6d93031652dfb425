# SPDX-License-Identifier: Apache-2.0
# Part of gpu.sh: finds out what is on this machine, and makes a row of the table of each find and of each lack.
# shellcheck shell=bash
# shellcheck disable=SC2034 # read there

gpu='' # the first one; "": there is none
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

find_gpu() { # sets gpu and gpus, and what to build for, if the user did not say
  gpus=0
  local smi found='' native
  if smi=$(find_tool nvidia-smi /usr/local/nvidia/bin); then
    found=$("$smi" --query-gpu=compute_cap,name,driver_version --format=csv,noheader 2>/dev/null) || found=''
  fi
  if [[ "$found" =~ ^[0-9]+\.[0-9]+, ]]; then
    gpu=$(head -n 1 <<<"$found") gpus=$(wc -l <<<"$found")
    native=$(cut -d , -f 1 <<<"$found" | tr -d '. ' | sort -u | sed 's/$/-real/' | paste -sd ';')
    architectures=${architectures:-$native}
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
value = version.value
print(".".join(str(part) for part in (value // 10000, value // 100 % 100, value % 100)))' "$nccl/libnccl.so.2") || nccl_version=unknown
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
  if [[ -d "$deps" ]]; then
    deps=$(cd "$deps" && pwd)
    row 'packed dependencies' found "$deps"
  else
    row 'packed dependencies' 'left out' "there is no folder $deps, which \`./dev gpu --pack\` fills: the system's are taken"
  fi
}
