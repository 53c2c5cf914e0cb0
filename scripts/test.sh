#!/usr/bin/env bash
# The gate: format, lints, house rules, all tests, real clients. Changes nothing in the tree.
#
# Every step runs even when an earlier one failed, so that one run shows everything there is to do. The last line adds
# up the tests of cargo and of the smoke scripts, each of which ends with a line `N passed, N failed`.
set -uo pipefail
cd "$(dirname "$0")/.."

log=$(mktemp)
trap 'rm -f "$log"' EXIT
failed_steps=()

step() {
    local name=$1
    shift
    echo "== $name"
    "$@" || failed_steps+=("$name")
}

step format cargo fmt --all --check
step lints cargo clippy --release --workspace --all-targets --locked -- -D warnings
step tidy cargo xtask tidy
tests() { cargo test --release --workspace --locked --no-fail-fast 2>&1 | tee -a "$log"; }
step tests tests
for script in scripts/smoke-*.sh; do
    [ -e "$script" ] || continue
    smoke() { "$script" 2>&1 | tee -a "$log"; }
    step "$(basename "$script" .sh)" smoke
done

# `test result: ok. 5 passed; 0 failed; …` by cargo, `5 passed, 0 failed` by a smoke script.
count() { grep -oE "[0-9]+ $1[;,]?" "$log" | awk '{ sum += $1 } END { print sum + 0 }'; }
results=$(grep -E '^test result: |^[0-9]+ passed, [0-9]+ failed$' "$log")
echo "$results" >"$log"
[ ${#failed_steps[@]} -eq 0 ] || echo "failed steps: ${failed_steps[*]}"
echo "$(count passed) passed, $(count failed) failed"
[ ${#failed_steps[@]} -eq 0 ]
