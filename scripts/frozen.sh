# A cluster of one node in the data directory `data` of the current directory; sourced. It is killed at the end of the
# script, whose trap calls `end_server`.
#
# A node is known to its cluster by its address, so a data directory is opened where it was made. Each has an address of
# its own in 127.0.0.0/8, all of which is this machine: `listen`, which the caller sets.
# shellcheck shell=bash

source scripts/up.sh
home=.
listen=
export CLOUDSYNC_CREDENTIALS=data/admin.cred
