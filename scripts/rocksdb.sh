#!/usr/bin/env bash
# Prints the directory of librocksdb.a; builds it first when it is missing (decision 0003).
#
# It is the very source that Cargo.lock names, compiled once per version and kept outside every checkout, so that no
# `cargo clean`, profile or branch costs another eight minutes of C++. For cargo: ROCKSDB_LIB_DIR=<this> ROCKSDB_STATIC=1.
set -euo pipefail
cd "$(dirname "$0")/.."

cache=${CLOUDSYNC_CACHE:-${XDG_CACHE_HOME:-${HOME:?}/.cache}/cloudsync}
version=$(awk '$1 == "name" { wanted = ($3 == "\"librocksdb-sys\"") } wanted && $1 == "version" { gsub(/"/, "", $3); print $3; exit }' Cargo.lock)
[ -n "$version" ] || { echo "rocksdb: Cargo.lock names no librocksdb-sys" >&2; exit 1; }
target="$cache/rocksdb/${version//+/-}-lz4"
build="$cache/rocksdb-build"

if [ ! -f "$target/librocksdb.a" ]; then
    mkdir -p "$target"
    # Two builds at once would be slower than one after another; the second finds the archive of the first.
    exec 9>"$cache/rocksdb.lock"
    flock 9
fi

if [ ! -f "$target/librocksdb.a" ]; then
    PATH="$PATH:${HOME:-}/.cargo/bin"
    echo "rocksdb: compiling RocksDB $version once, about eight minutes on two cores" >&2
    # An interrupted build continues where it stopped: its directory is removed only after success.
    env -u ROCKSDB_LIB_DIR -u ROCKSDB_STATIC CC=clang CXX=clang++ CARGO_TARGET_DIR="$build" \
        cargo build --release --locked --package librocksdb-sys >&2
    archive=$(find "$build/release/build" -path '*/librocksdb-sys-*/out/librocksdb.a' -print -quit)
    [ -n "$archive" ] || { echo "rocksdb: the build left no librocksdb.a in $build" >&2; exit 1; }
    cp "$archive" "$target/librocksdb.a.new"
    mv "$target/librocksdb.a.new" "$target/librocksdb.a"
    rm -rf "$build"
fi
echo "$target"
