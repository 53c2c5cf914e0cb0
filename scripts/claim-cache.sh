#!/usr/bin/env bash
# Makes the build cache this checkout's own. Cargo knows whether a source is newer than what was built from it, but not
# which checkout that was built from: two checkouts that share a cache would be handed each other's binaries.
set -euo pipefail

checkout=$(cd "$(dirname "$0")/.." && pwd)
claim="$CARGO_TARGET_DIR/checkout"
[ "$(cat "$claim" 2>/dev/null)" = "$checkout" ] && exit 0

mkdir -p "$CARGO_TARGET_DIR"
cd "$checkout"
# Sources that are newer than the cache are all it takes; libraries from the registry stay as they are.
find . -name target -prune -o \( -name '*.rs' -o -name 'Cargo.toml' \) -exec touch {} +
echo "$checkout" >"$claim"
