#!/usr/bin/env bash
# Resuming: a put of 1 GiB is killed with -9 ten times at random points and run again until it completes. The nodes must
# have received at most 1.05 times the file, and give it back unchanged.
#
#   scripts/accept-resume.sh [SIZE_MIB]       WORK names the directory to work in, which is then kept
set -uo pipefail
cd "$(dirname "$0")/.."
source scripts/checks.sh

size=$((${1:-1024} << 20))
kills=10
bin=$(scripts/binary.sh) || exit 1
work=${WORK:-$(mktemp -d)}
mkdir -p "$work"
export CLOUDSYNC_CREDENTIALS="$work/cluster/admin.cred"
dev() { "$bin" dev cluster --dir "$work/cluster" "$@"; }
finish() {
    dev down >/dev/null 2>&1
    [ -n "${WORK:-}" ] || rm -rf "$work"
}
trap finish EXIT

# Bytes that all nodes have received from clients. Nodes report at least twice a second.
received() {
    "$bin" admin node list -o json >"$work/nodes.json" && value "$work/nodes.json" 'sum(n["bytes_received"] or 0 for n in v)'
}

# Bytes on the disks of all nodes, known immediately: 1.5 times what was stored, with 4+2.
stored() { find "$work"/cluster/node*/disk1 -type f -printf '%s\n' | awk '{ sum += $1 } END { printf "%d", sum }'; }

check "eight nodes in three zones start" dev up --nodes 8 --zones 3 --profile 4+2
head -c "$size" /dev/urandom >"$work/large"
sleep 1
before=$(received)
killed=0
for ((i = 1; i <= kills; i++)); do
    # At most a sixteenth of the file per attempt, so that all ten are killed before it is complete.
    share=$((size / 64 + (RANDOM * 32768 + RANDOM) % (size / 24)))
    target=$(($(stored) + share * 3 / 2))
    "$bin" put "$work/large" /large >"$work/put.out" 2>&1 &
    put=$!
    while kill -0 "$put" 2>/dev/null && [ "$(stored)" -lt "$target" ]; do :; done
    if kill -9 "$put" 2>/dev/null; then
        killed=$((killed + 1))
    fi
    wait "$put" 2>/dev/null
    sleep 1
    echo "      attempt $i: $(($(received) - before)) bytes received"
done
check "the put was killed $kills times in the middle" test "$killed" -eq "$kills"
check "nothing is there yet" exits 1 "$bin" stat /large
check "the last attempt completes" "$bin" put "$work/large" /large
sleep 1
total=$(($(received) - before))
echo "      received $total of $size bytes: $(awk "BEGIN { printf \"%.3f\", $total / $size }") times the file"
check "the nodes received at most 1.05 times the file" test "$total" -le $((size / 100 * 105))
check "the file is equal" bash -c "'$bin' cat /large | cmp - '$work/large'"
sum_up
