#!/usr/bin/env bash
# Updates a cluster of real processes from one build to the next, which knows a feature level more, node by node, while
# somebody writes and reads. No request may fail. The level goes up when the last meta node is updated, never before; from
# then on the old build is refused.
#
#   scripts/accept-mixed.sh                     in about three minutes, and what two builds take
#
# CLOUDSYNC_BIN and NEXT_BIN name the two programs; what is not named is built.
set -uo pipefail
cd "$(dirname "$0")/.."
source scripts/dev-nodes.sh

# A build with other features takes the place of the one before.
next=$work/cloudsync-next
bin=$work/cloudsync
built=$(CLOUDSYNC_BIN=${NEXT_BIN:-} scripts/binary.sh --features next-level) && cp "$built" "$next" || exit 1
built=$(scripts/binary.sh) && cp "$built" "$bin" || exit 1
STORAGE=(4 5)
META=(1 2 3)

# update NODE…: replaces a node's process by one of the next build.
update() { "$next" dev cluster --dir "$cluster" restart "$@"; }

# An expression: every copy of every partition is at a level and well.
level() { echo "all(p['level'] == $1 and all(r['level'] == $1 and not r['problem'] for r in p['replicas']) for p in v['partitions'])"; }
# stays SECONDS EXPRESSION: true when the expression is true for the status all the time.
stays() {
    local deadline=$((SECONDS + $1))
    while [ "$SECONDS" -lt "$deadline" ]; do
        status || true
        holds "$work/status.json" "$2" || return
        sleep 0.5
    done
}
equal() { cloudsync --timeout 10 admin meta compare; }

# How many commands a directory takes, in the partition of its namespace.
commands_of_a_write() {
    local partition before after
    partition=$(value <(dev leader -o json) 'v["partition"]')
    before=$(value <(cloudsync admin meta compare "$partition" -o json) 'v[0]["position"]')
    cloudsync mkdir "$1" || return
    after=$(value <(cloudsync admin meta compare "$partition" -o json) 'v[0]["position"]')
    echo $((after - before))
}

times=()
# One node after the other; between them the cluster is whole.
roll() {
    local node
    for node in "$@"; do
        times+=("$(date +%s.%3N)")
        check "node $node is updated" update "$node"
        check "node $node takes part, and so do all" heals
    done
}

check "five nodes start, three of them with metadata" dev up --nodes 5 --zones 3 --profile 2+1
[ "$failed" -eq 0 ] || exit 1
check "files are stored" fill
check "a write is one command" test "$(commands_of_a_write /one)" -eq 1
begin mixed
cloudsync mkdir /h/mixed-next
scripts/history.py run "$next" /h/mixed-next "$work/history.mixed-next" &
history[next]=$!
background+=("${history[next]}")

roll "${STORAGE[@]}" "${META[@]:0:2}"
check "with one old node the level stays, and its copies are well" stays 8 "$(level 1)"
check "all copies are equal, whichever build has them" equal
roll "${META[@]:2}"
updated=$SECONDS
check "after the last one the level goes up in every partition" until_status 20 "$(level 2)"
echo "      $((SECONDS - updated)) s"
check "all copies are equal" equal

watch_logs
times+=("$(date +%s.%3N)")
check "node 3 goes back to the old build" start 3
check "it is refused, and told the levels and what to do" \
    logged 3 "is at feature level 2, this build knows levels up to 1: update this node"
check "the status names it" until_status 20 "v['state'] == 'degraded' and any('node 3' in p for p in v['problems'])"
check "the cluster goes on without it" cloudsync --timeout 5 mkdir /without
check "and says which copy cannot be compared" exits 3 equal
times+=("$(date +%s.%3N)")
check "node 3 is updated again" update 3
check "it takes part again" heals
check "all are at the new level" until_status 20 "$(level 2)"
check "all copies are equal" equal

kill "${history[next]}"
wait "${history[next]}" 2>/dev/null
end
check "nothing acknowledged is missing for clients of the next build" scripts/history.py judge "$work/history.mixed-next"
scripts/history.py judge "$work/history.mixed-next" | tail -1 | sed 's/^/      /'
check "no request failed" scripts/history.py flawless "$work/history.mixed" "$work/history.mixed-next"
scripts/history.py gaps "$work/history.mixed" "${times[@]}" >"$work/gaps.json"
value "$work/gaps.json" '"      %(times)d restarts: writes waited %(largest_ms)d ms at most, %(median_ms)d ms in half of the cases; 99 %% of %(writes)d writes within %(p99_of_writes_ms)d ms of the one before" % v'
check "a write is two commands, the second of the new level" test "$(commands_of_a_write /two)" -eq 2
check "all nodes stop when asked" dev down
sum_up
