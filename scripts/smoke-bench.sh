#!/usr/bin/env bash
# The benchmark at a tiny size: every measurement runs once and works. It fails on errors, never on speed.
set -uo pipefail
cd "$(dirname "$0")/.."
source scripts/checks.sh

# bench starts the cloudsync binary next to it, no other.
unset CLOUDSYNC_BIN
bin=$(scripts/binary.sh) || exit 1
export CARGO_TARGET_DIR=${bin%/release/cloudsync} PATH="$PATH:$HOME/.cargo/bin"
check "bench builds" cargo build --release --locked --quiet --package bench
check "bench measures everything once" cargo run --release --locked --quiet --package bench -- --smoke
sum_up
