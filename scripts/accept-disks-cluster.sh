#!/usr/bin/env bash
# Disks of eight nodes, 4+2: nodes that restart under load, one disk that vanishes and comes back, a machine that dies and whose disk moves to another one, more
# that go at once than failures explain, and disks that are wiped.
#
#   scripts/accept-disks-cluster.sh            in about eight minutes
set -uo pipefail
cd "$(dirname "$0")/.."
bin=$(scripts/binary.sh) || exit 1
source scripts/dev-nodes.sh

DOWN_OUT=12
disk_of() { echo "$cluster/node$1/disk1"; }
disk_json() { cloudsync --timeout 5 admin disk list -o json >"$work/disks.json" 2>"$work/disks.err"; }
until_disks() {
    local deadline=$((SECONDS + $1))
    until disk_json; [ "$(value "$work/disks.json" "$2" 2>/dev/null)" = True ]; do
        [ "$SECONDS" -lt "$deadline" ] || { echo "not so: $2"; cloudsync --timeout 5 admin disk list; return 1; }
        sleep 0.3
    done
}
problem() { until_status "${2:-30}" "any('''$1''' in p for p in v['problems'])"; }
puts() {
    head -c 900000 /dev/urandom >"$work/new"
    cloudsync --timeout 20 put "$work/new" "/new$1" && cloudsync cat "/new$1" | cmp - "$work/new"
}

# traffic NAME: stores and reads files until there is a file `stop`; then says how many, and how many of them failed.
traffic() {
    local count=0 failed=0
    while [ ! -e "$work/stop" ]; do
        count=$((count + 1))
        head -c 300000 /dev/urandom >"$work/load.$1"
        { cloudsync --timeout 30 put "$work/load.$1" "/load/$1-$count" && cloudsync --timeout 30 cat "/load/$1-$count" | cmp - "$work/load.$1"; } >>"$work/load.log" 2>&1 ||
            failed=$((failed + 1))
    done
    echo "$count $failed" >"$work/done.$1"
}
healing() { cloudsync --timeout 10 admin heal status -o json >"$work/$1" 2>/dev/null; [ -s "$work/$1" ]; }
# restart NODE: says what it was given back, and what others copied because of it.
restart() {
    heals 120 && healing before.json && dev restart "$1" && heals 120 && healing after.json || return
    python3 - "$work" "$1" <<'PYTHON'
import json, sys
work, node = sys.argv[1], int(sys.argv[2])
before, after = (json.load(open(f"{work}/{name}.json"))["disks"] for name in ("before", "after"))
of = lambda disks: {d["disk"]: d["bytes"] for d in disks if d["node"] != node}
others = sum(of(after).values()) - sum(of(before).values())
own = sum(d["bytes"] for d in after if d["node"] == node)
print(f"      node {node} was given back {own} bytes; the others made {others} bytes", file=open(f"{work}/restarts", "a"))
PYTHON
}

check "a cluster of eight" dev up --nodes 8 --zones 4
for node in 1 2 3 4 5 6 7 8; do sed -i "s/^down_out = .*/down_out = $DOWN_OUT/" "$(config "$node")"; done
check "whose nodes do not wait long" dev restart 1 2 3 4 5 6 7 8
check "is healthy" heals 120
check "files are stored" fill

echo "-- ten restarts under load"
: >"$work/restarts"
cloudsync mkdir /load
loads=()
for name in a b; do
    traffic "$name" &
    loads+=($!)
done
background+=("${loads[@]}")
for node in 1 2 3 4 5 6 7 8 1 2; do check "node $node starts again: the cluster is whole" restart "$node"; done
touch "$work/stop"
wait "${loads[@]}"
cat "$work/restarts"
read -r a_count a_failed <"$work/done.a"
read -r b_count b_failed <"$work/done.b"
echo "      $((a_count + b_count)) files were stored and read meanwhile"
check "no request failed" test $((a_failed + b_failed)) -eq 0 -a $((a_count + b_count)) -gt 20
check "no disk was given up, no slot moved" until_status 5 "v['slots']['syncing'] == 0"
check "the files are there" files_there

echo "-- two nodes are down for a moment"
for node in 6 7; do dev kill "$node" >/dev/null; done
check "they are down" until_status 30 "v['nodes_up'] == 6"
check "a put works" puts two
check "what it stored is flagged" until_status 10 "v['chunks']['displaced'] + v['chunks']['thin'] > 0"
check "both start again" dev restart 6 7
check "nothing is flagged any more" until_status 60 "v['chunks']['displaced'] + v['chunks']['thin'] == 0"
check "the cluster is whole" heals 120

echo "-- a disk vanishes and comes back"
mv "$(disk_of 5)" "$work/five"
check "it is missing" until_disks 30 "any(d['node'] == 5 and d['state'] == 'missing' for d in v)"
check "and waited for" problem "waited for"
check "the files are there" files_there
check "a put works" puts a
check "then it is out" until_disks 60 "any(d['node'] == 5 and d['out'] for d in v)"
check "its slots are filled elsewhere" until_status 120 "v['slots']['syncing'] == 0 and v['slots']['offline'] == 0"
mv "$work/five" "$(disk_of 5)"
check "it comes back and is in" until_disks 30 "any(d['node'] == 5 and d['state'] == 'healthy' and not d['out'] for d in v)"
check "the cluster is whole" heals 180

echo "-- a machine dies, its disk moves"
check "node 8 is killed" dev kill 8
mkdir "$work/moved"
mv "$(disk_of 8)" "$work/moved/disk"
check "its disk is refused by a node that was not told" exits 1 cloudsync admin disk adopt "$work/moved/nothing" --node 7
check "node 8 is down" until_status 30 "v['nodes_up'] == 7"
check "given to node 7" cloudsync --timeout 20 admin disk adopt "$work/moved/disk" --node 7
check "it serves there" until_disks 60 "any(d['node'] == 7 and d['path'].endswith('moved/disk') and d['state'] == 'healthy' for d in v)"
check "the files are there" files_there
check "node 7 starts again" dev restart 7
check "and still has it" until_disks 60 "any(d['node'] == 7 and d['path'].endswith('moved/disk') and d['state'] == 'healthy' for d in v)"
check "node 8 starts again, without a disk" dev restart 8
check "and says so" problem "node 8: no disk is there" 60
mkdir -p "$(disk_of 8)"
check "it gets a new one" cloudsync --timeout 20 admin disk adopt "$(disk_of 8)" --node 8
check "the cluster is whole" heals 240

echo "-- more go at once than failures explain"
for node in 2 3 4; do mv "$(disk_of $node)" "$work/gone$node"; done
check "that is a storm" until_status 30 "v['storm']"
check "repair waits, and says so" problem "repair waits: 3 disks in 3 nodes are away at once"
sleep $((DOWN_OUT + 4))
check "nothing was given up" until_disks 10 "not any(d['out'] for d in v)"
for node in 2 3 4; do mv "$work/gone$node" "$(disk_of $node)"; done
check "they come back: the cluster is whole" heals 180
check "the files are there" files_there

echo "-- two disks are wiped at once"
for node in 5 6; do rm -rf "$(disk_of $node)"; mkdir "$(disk_of $node)"; done
check "they are missing" until_disks 30 "len([d for d in v if d['state'] == 'missing']) == 2"
check "the files are there" files_there
check "they are out" until_disks 60 "len([d for d in v if d['out']]) == 2"
check "and replaced" bash -c "for node in 5 6; do '$bin' --timeout 20 admin disk adopt '$cluster/node'\$node/disk1 --node \$node || exit; done"
check "what they had is made again" until_status 180 "v['slots']['syncing'] == 0 and v['slots']['offline'] == 0 and v['chunks']['thin'] == 0"
disk_json
for disk in $(value "$work/disks.json" "' '.join(str(d['id']) for d in v if d['state'] == 'missing')"); do
    check "disk $disk is taken out" cloudsync admin disk remove-lost "$disk" --yes
done
check "the cluster is whole" heals 240
check "nothing is lost" says "nothing is lost" cloudsync admin lost list
check "the files are there" files_there
check "nobody panicked" no_panic
sum_up
