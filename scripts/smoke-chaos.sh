#!/usr/bin/env bash
# Chaos, short: a cluster under load loses two nodes, then a leader, has a node paused, loses all nodes at once, and
# keeps its promises. Ends with `N passed, N failed`, one per promise; one that was not exercised counts as failed.
set -euo pipefail
cd "$(dirname "$0")/.."

# chaos starts the cloudsync binary next to it, no other.
unset CLOUDSYNC_BIN
bin=$(scripts/binary.sh)
export CARGO_TARGET_DIR=${bin%/release/cloudsync} ROCKSDB_STATIC=1 PATH="$PATH:$HOME/.cargo/bin"
ROCKSDB_LIB_DIR=${ROCKSDB_LIB_DIR:-$(scripts/rocksdb.sh)}
export ROCKSDB_LIB_DIR
cargo build --release --locked --quiet --package chaos >&2

work=$(mktemp -d)
# What a failed run leaves explains it.
trap 'code=$?; [ $code -ne 0 ] && echo "kept for inspection: $work" >&2 || rm -rf "$work"' EXIT
"${bin%cloudsync}chaos" smoke --dir "$work/run"
