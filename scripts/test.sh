#!/usr/bin/env bash
# The gate: format, lints, house rules, all tests, real clients. Changes nothing in the tree.
#
# Every step runs even when an earlier one failed, so that one run shows everything there is to do. The last line adds
# up the tests of cargo and of the smoke scripts, each of which ends with a line `N passed, N failed`.
#
# Every step has a budget in seconds, on two cores. Compiling is not part of it: all of it is done before, in a step of
# its own. A step over its budget is named, and fails the gate where nothing else takes the machine's time (CI=true).
# What hangs is ended after HANG seconds: the last test named is the one.
set -uo pipefail
cd "$(dirname "$0")/.."

log=$(mktemp)
trap 'rm -f "$log"' EXIT
failed_steps=()
timings=()
HANG=900

# step NAME SECONDS COMMAND…
step() {
    local name=$1 budget=$2 start=$SECONDS
    shift 2
    echo "== $name"
    "$@" || failed_steps+=("$name")
    local took=$((SECONDS - start)) note=
    if [ "$took" -gt "$budget" ]; then
        note=', over budget'
        [ "${CI:-}" != true ] || failed_steps+=("$name (budget)")
    fi
    timings+=("$(printf '%-14s %4d s of %4d s%s' "$name" "$took" "$budget" "$note")")
}

step format 20 cargo fmt --all --check
# From nothing this takes a quarter of an hour. The programs that the smoke scripts run are built alone, as those scripts
# do: cargo then gives their libraries other features than beside the rest of the workspace.
build() {
    local program
    for program in cloudsync bench chaos; do
        cargo build --release --package "$program" --locked --quiet || return
    done
    cargo test --release --workspace --locked --no-run --quiet
}
step build 2400 build
step lints 900 cargo clippy --release --workspace --all-targets --locked -- -D warnings
# A build with the next level is made by accept-mixed.sh only: here that it can be.
step next-level 300 cargo check --release --locked -p tree --features next-level
step tidy 60 cargo xtask tidy
tests() { timeout $HANG cargo test --release --workspace --locked --no-fail-fast 2>&1 | tee -a "$log"; }
step tests 300 tests
declare -A budgets=([bench]=180 [chaos]=150 [cluster]=120 [disks]=240 [freeze]=90 [meta]=90 [tree]=60 [up]=60)
for script in scripts/smoke-*.sh; do
    [ -e "$script" ] || continue
    name=$(basename "$script" .sh)
    smoke() { timeout $HANG "$script" 2>&1 | tee -a "$log"; }
    step "$name" "${budgets[${name#smoke-}]:-60}" smoke
done
printf '== time\n'
printf '%s\n' "${timings[@]}"

# `test result: ok. 5 passed; 0 failed; …` by cargo, `5 passed, 0 failed` by a smoke script.
count() { grep -oE "[0-9]+ $1[;,]?" "$log" | awk '{ sum += $1 } END { print sum + 0 }'; }
results=$(grep -E '^test result: |^[0-9]+ passed, [0-9]+ failed$' "$log")
# Said again where it is seen: the end of the output is what an operator of the gate looks at.
grep -E '^test .* FAILED$|^error: |process did.* exit successfully|^FAIL ' "$log" | head -40
echo "$results" >"$log"
[ ${#failed_steps[@]} -eq 0 ] || echo "failed steps: ${failed_steps[*]}"
echo "$(count passed) passed, $(count failed) failed"
[ ${#failed_steps[@]} -eq 0 ]
