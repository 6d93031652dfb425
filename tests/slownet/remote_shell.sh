#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What ssh is elsewhere, for mpirun: has a shell run COMMAND on the host of the rig that has ADDRESS.
# usage: remote_shell.sh ADDRESS COMMAND...
host=${slownet_folder:?is set inside the rig only}/$1
shift
exec nsenter --net="$host.net" --uts="$host.uts" -- sh -c "$*"
