#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs the tests of DataParallel and DistributedSampler with the libtorch of a Python's PyTorch, beside the build in build/release,
# which has another one or none.
# usage: tests/host/libtorch/other_libtorch.sh PYTHON      (one in which `import torch` works, for instance in a virtual environment)
set -euo pipefail
[[ $# == 1 ]] || { sed -n 's/^# usage: //p' "$0" >&2; exit 2; }
source=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)
build=$source/build/release
[[ -e $build/lib/libonebit_host.a ]] || { echo "$0: build first, by ./dev build" >&2; exit 1; }
torch=$("$1" -c 'import os, torch; print(os.path.dirname(torch.__file__))')
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

includes=()
for include in "$torch"/include{,/torch/csrc/api/include}; do includes+=(-isystem "$include"); done
for include in tests tests/host/libtorch host host/include core core/include sdk/include; do includes+=("-I$source/$include"); done
for suite in data_parallel_test distributed_sampler_test; do
  echo "#include \"host/libtorch/$suite.cpp\""
done >"$folder/suites.cpp"
flags=(-std=c++20 -O1 -DSPDLOG_COMPILED_LIB -DSPDLOG_FMT_EXTERNAL -DSPDLOG_SHARED_LIB "${includes[@]}")
for unit in "$folder/suites.cpp" "$source/tests/support/main.cpp"; do
  g++ "${flags[@]}" -c "$unit" -o "$folder/$(basename "$unit").o"
done
# what libtorch itself needs for CUDA is found through its own run paths
g++ "$folder"/*.o "$build/lib/libonebit_host.a" -L"$build/lib" -lonebit_core -L"$torch/lib" -ltorch -ltorch_cpu -lc10 \
  -lspdlog -lfmt -Wl,-rpath,"$build/lib:$torch/lib" -Wl,--allow-shlib-undefined -o "$folder/tests"
"$1" -c 'import torch; print("libtorch", torch.__version__)'
"$folder/tests"
