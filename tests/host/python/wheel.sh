#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Tests a wheel as its users have it: in a fresh virtual environment, without the sources and without a build folder.
#   wheel.sh WHEEL PYTHON [PACKAGE...]
# for example   wheel.sh build/wheels/onebit-*.whl python3.13 numpy torch
#               wheel.sh build/wheels/onebit-*.whl python3.9 'numpy<2'
set -euo pipefail
wheel=$(realpath "$1") python=$2
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
unset ONEBIT_PREFIX PYTHONPATH
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "$wheel" "${@:3}"
cp -r "$here"/*.py "$here"/../../../host/python/examples "$folder"
cd "$folder"
venv/bin/python -m onebit plugins list
venv/bin/python -m onebit plugins list | grep -q onebit_adam
for suite in session_test torch_test examples_test; do venv/bin/python -B run.py "$suite"; done
