#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What a new user does with the packages: installs them, looks around, writes a plugin from an empty folder, and removes them. Runs in
# the copy of the system that overlay.sh makes, in a folder with the packages.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
step() {
  printf '$ %s\n' "$*"
  "$@" 2>&1
}

step dpkg --install ./*.deb
step grep -H "^Copyright: .*The onebit authors" /usr/share/doc/onebit/copyright /usr/share/doc/onebit-dev/copyright
step onebit plugins list
step onebit check /usr/share/onebit/configs/onebit_adam.toml >/dev/null

# The way of the template's README: nothing tells where onebit is.
step onebit plugins new --kind optimizer mine
cd mine
step cmake -S . -B build
step cmake --build build
step ctest --test-dir build --output-on-failure
step onebit plugins verify build/mine.so
if [[ $(dpkg-deb --field ../onebit_*.deb Depends) == *libtorch* && -d /usr/share/datasets/fashion-mnist ]]; then
  step onebit train demo.toml --set train.samples=512
else
  echo 'onebit train is left out: it is not in this package, or there are no data to train on'
fi

read -ra flags <<<"$(pkg-config --cflags onebit-sdk)"
step g++ -std=c++17 -shared -fPIC -fvisibility=hidden "${flags[@]}" -o by_hand.so plugin.cpp
step onebit plugins inspect by_hand.so

echo '--- without an MPI library'
find /usr/lib -name 'libmpi*.so*' -delete
step onebit plugins list

step dpkg --purge onebit-dev onebit
echo '--- left behind:'
find /usr /etc /var/lib/dpkg/info -path '*onebit*'
