#!/bin/bash
# What a new user does with the packages: installs them, looks around, builds a plugin, and removes them. Runs in the copy of the
# system that overlay.sh makes, in a folder with the packages and a project.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
step() {
  printf '$ %s\n' "$*"
  "$@" 2>&1
}

step dpkg --install ./*.deb
step onebit plugins list
step onebit check /usr/share/onebit/configs/onebit_adam.toml >/dev/null

step cmake -S project -B build # nothing tells it where onebit is
step cmake --build build
step onebit plugins inspect build/plain.so
step build/conformance
read -ra flags <<<"$(pkg-config --cflags onebit-sdk)"
step g++ -std=c++17 -shared -fPIC -fvisibility=hidden "${flags[@]}" -o by_hand.so project/plugin.cpp
step onebit plugins inspect by_hand.so

echo '--- without an MPI library'
find /usr/lib -name 'libmpi*.so*' -delete
step onebit plugins list

step dpkg --purge onebit-dev onebit
echo '--- left behind:'
find /usr /etc /var/lib/dpkg/info -path '*onebit*'
