#!/usr/bin/env bash
# The benchmark, tiny: every measurement runs once and works. It fails on errors, never on speed.
set -uo pipefail
cd "$(dirname "$0")/.."

# bench starts the cloudsync binary that lies beside it.
cargo build --release --locked --quiet --package cloudsync --package bench &&
    cargo run --release --locked --quiet --package bench -- --smoke
if [ $? -eq 0 ]; then
    echo "1 passed, 0 failed"
else
    echo "0 passed, 1 failed"
    exit 1
fi
