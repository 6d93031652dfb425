#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs a script as root on a private copy of this system, on which it may install packages: / is an overlay whose upper layer is
# memory, in a mount namespace that is gone afterwards. The system itself stays as it is.
#   overlay.sh SCRATCH GIVEN [FOLDER-TO-HIDE...]
# SCRATCH: an empty folder to mount on. GIVEN: a folder that is /given in there, with run.sh, which is run. Folders to hide are
# empty in there. The exit status is that of run.sh; 69: this can't be had here, and why.
set -euo pipefail
readonly unavailable=69 # as in sysexits.h

refuse() { # REASON
  printf 'no private copy of the system can be had: %s\n' "$1"
  exit $unavailable
}

if [[ ${1:-} != --inside ]]; then
  ((EUID == 0)) || refuse 'only root can make one'
  command -v dpkg >/dev/null || refuse 'there is no dpkg to use in it'
  reason=$(unshare --mount --propagation private true 2>&1) || refuse "no mount namespace: $reason"
  exec unshare --mount --propagation private "$0" --inside "$@"
fi
shift
scratch=$1 given=$2 system=$1/system

reason=$(mount -t tmpfs -o mode=755 tmpfs "$scratch" 2>&1) || refuse "no tmpfs: $reason"
mkdir "$scratch"/{upper,work,system}
reason=$(mount -t overlay -o "lowerdir=/,upperdir=$scratch/upper,workdir=$scratch/work" overlay "$system" 2>&1) ||
  refuse "no overlay: $reason"
[[ -x $system/usr/bin/dpkg ]] || refuse '/usr is not in the file system of /'
mount --bind /proc "$system/proc"
mount --rbind /dev "$system/dev"
for folder in "${@:3}"; do
  if [[ -d $system$folder ]]; then mount -t tmpfs tmpfs "$system$folder"; fi
done
mkdir "$system/given"
cp -R "$given/." "$system/given"
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/given LC_ALL=C.UTF-8 chroot "$system" /given/run.sh
