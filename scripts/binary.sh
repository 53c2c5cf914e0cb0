#!/usr/bin/env bash
# Prints the path of the cloudsync binary of this checkout; builds it first when it is missing or not current.
# CLOUDSYNC_BIN names another one, which is used as it is.
# Options, such as --features next-level, are cargo's.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ -n "${CLOUDSYNC_BIN:-}" ]; then
    echo "$CLOUDSYNC_BIN"
    exit
fi
cache=${CLOUDSYNC_CACHE:-${XDG_CACHE_HOME:-${HOME:?}/.cache}/cloudsync}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$cache/target} ROCKSDB_STATIC=1
export PATH="$PATH:$HOME/.cargo/bin"
ROCKSDB_LIB_DIR=${ROCKSDB_LIB_DIR:-$(scripts/rocksdb.sh)}
export ROCKSDB_LIB_DIR
cargo build --release --locked --quiet --package cloudsync "$@" >&2
echo "$CARGO_TARGET_DIR/release/cloudsync"
