#!/usr/bin/env bash
# All acceptance scripts, one after the other: what is too long for the gate. Names on the command line choose some:
#
#   scripts/accept.sh resume
set -uo pipefail
cd "$(dirname "$0")/.."

names=("$@")
[ ${#names[@]} -gt 0 ] || for script in scripts/accept-*.sh; do
    name=${script#scripts/accept-}
    names+=("${name%.sh}")
done

failed=()
for name in "${names[@]}"; do
    echo "== accept-$name"
    "scripts/accept-$name.sh" || failed+=("$name")
done
[ ${#failed[@]} -eq 0 ] || { echo "failed: ${failed[*]}"; exit 1; }
