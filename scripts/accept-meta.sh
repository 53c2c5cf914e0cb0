#!/usr/bin/env bash
# Breaks the metadata of real processes, one fault after the other, while somebody writes and reads. After each: what the
# cluster said, that every acknowledged write is there, that nothing old or empty was shown without its mark, that it
# healed by itself or by the command that it named.
#
#   scripts/accept-meta.sh                      all faults, in about ten minutes
#   scripts/accept-meta.sh short                those of `make test`
#   scripts/accept-meta.sh FAULT…               these functions, such as fault_removed
#
# WORK names the directory to work in, which is then kept; `history.*` in it say what was written and read.
#
# Not here: a clock that is hours off (nodes have no hook for it and a fake clock needs a preloaded library: `sim` skews
# clocks) and 5,000 long polls (no command waits for changes: metaserver/src/server/tests/lanes.rs).
set -uo pipefail
cd "$(dirname "$0")/.."
source scripts/checks.sh

SHORT=(fault_removed fault_copied_back fault_log_bit fault_first_removed fault_leader_frozen fault_embedded)
ALL=(
    fault_removed fault_first_removed fault_emptied fault_copied_back fault_set_back fault_exchanged fault_cloned
    fault_current fault_table_bit fault_log_bit fault_label_bit fault_two_apart fault_leader_frozen fault_leader_killed
    fault_leader_silent fault_full fault_stopped_early fault_embedded fault_moved fault_half_joined fault_node_removed
    fault_majority_lost
)

bin=$(scripts/binary.sh) || exit 1
work=${WORK:-$(mktemp -d)}
mkdir -p "$work"
work=$(realpath "$work")
cluster=$work/cluster
export CLOUDSYNC_CREDENTIALS="$cluster/admin.cred"
unset CLOUDSYNC_LOG
background=()
mounted=
cloudsync() { "$bin" "$@"; }
dev() { "$bin" dev cluster --dir "$cluster" "$@"; }

finish() {
    local pid
    for pid in "${background[@]}"; do
        kill -CONT "$pid" 2>/dev/null
        kill -9 "$pid" 2>/dev/null
    done
    for pid in $(pids); do kill -CONT "$pid" 2>/dev/null; done
    dev down >/dev/null 2>&1
    [ -z "$mounted" ] || umount "$mounted"
    [ -n "${WORK:-}" ] || rm -rf "$work"
}
trap finish EXIT

# --- nodes

data() { echo "$cluster/node$1/data"; }
config() { echo "$cluster/node$1/node.toml"; }
pids() { [ ! -e "$cluster/cluster.json" ] || value "$cluster/cluster.json" '" ".join(str(n["pid"]) for n in v["nodes"] if n["pid"])'; }
pid() { value "$cluster/cluster.json" "v['nodes'][$1 - 1]['pid']"; }

# A process that has ended and that nobody has waited for yet does not run.
is_running() { kill -0 "$1" 2>/dev/null && [ "$(cut -d' ' -f3 "/proc/$1/stat" 2>/dev/null)" != Z ]; }

# is_gone PID SECONDS: waits for the end of a process.
is_gone() {
    local deadline=$((SECONDS + $2))
    while is_running "$1"; do
        [ "$SECONDS" -lt "$deadline" ] || { echo "process $1 still runs after $2 s"; return 1; }
        sleep 0.05
    done
}

# stop NODE…: asks nodes to stop.
stop() {
    local node
    for node in "$@"; do kill -TERM "$(pid "$node")"; done
    for node in "$@"; do is_gone "$(pid "$node")" 10 || return; done
}
start() { dev restart "$@"; }

# The directory of the store that a node uses: the one it has last written to.
store() { find "$(data "$1")/meta" -type f -printf '%T@ %P\n' | sort -n | tail -1 | sed "s|^[^ ]* \([^/]*\)/.*|$(data "$1")/meta/\1|"; }

# Ports on loopback that nobody uses.
free_ports() {
    python3 - "$1" <<'PYTHON'
import random, socket, sys
held = []
while len(held) < int(sys.argv[1]):
    try:
        port = random.randrange(10_000, 32_768)
        pair = socket.socket(), socket.socket(type=socket.SOCK_DGRAM)
        for one in pair:
            one.bind(("127.0.0.1", port))
        held.append((port, pair))
    except OSError:
        pass
print(*(port for port, _ in held))
PYTHON
}

# flip FILE OFFSET: turns a bit around; an offset below zero counts from the middle.
flip() {
    python3 - "$1" "$2" <<'PYTHON'
import os, sys
with open(sys.argv[1], "r+b") as f:
    size, offset = os.path.getsize(sys.argv[1]), int(sys.argv[2])
    if size == 0:
        sys.exit("nothing to turn around")
    at = min(offset, size - 1) if offset >= 0 else size // 2
    f.seek(at)
    byte = f.read(1)
    f.seek(at)
    f.write(bytes([byte[0] ^ 0x10]))
    print(f"bit of byte {at} of {size}")
PYTHON
}

# --- what nodes say

declare -A seen=()
# From here on `logged` looks at new lines only.
watch_logs() {
    local log
    for log in "$cluster"/node*/log; do seen[$log]=$(stat -c %s "$log"); done
}
new_lines() { tail -c "+$((${seen[$1]:-0} + 1))" "$1"; }

# logged NODE TEXT [SECONDS]: waits until a node has logged a text.
logged() {
    local log=$cluster/node$1/log deadline=$((SECONDS + ${3:-20}))
    until new_lines "$log" | grep -qF -- "$2"; do
        [ "$SECONDS" -lt "$deadline" ] || { echo "node $1 has not logged \"$2\" but:"; new_lines "$log" | tail -12; return 1; }
        sleep 0.2
    done
}
no_panic() { ! grep -h "panicked" "$cluster"/node*/log; }

status() { cloudsync --timeout 5 admin cluster status -o json >"$work/status.json" 2>"$work/status.err"; }

# until_status SECONDS EXPRESSION: waits until the expression is true for the status.
until_status() {
    local deadline=$((SECONDS + $1))
    until status; [ "$(value "$work/status.json" "$2" 2>/dev/null)" = True ]; do
        [ "$SECONDS" -lt "$deadline" ] || { echo "not so: $2"; cat "$work/status.err"; cloudsync --timeout 5 admin cluster status; return 1; }
        sleep 0.3
    done
}

# Three voters, and every partition has a leader and three copies that vote, take part and are not behind.
WHOLE='len(v["voters"]) == 3 and all(p["leader"] and len([r for r in p["replicas"] if r["votes"] and not r["problem"] and r["lag"] <= 50]) == 3 for p in v["partitions"])'
votes() { until_status "${1:-60}" "$WHOLE"; }
heals() { until_status "${1:-90}" "v['state'] == 'healthy' and $WHOLE"; }

# --- what was written and read

fault=
declare -A history=()
# begin NAME: somebody writes and reads from here on.
begin() {
    fault=$1
    echo "-- $fault"
    watch_logs
    cloudsync mkdir -p "/h/$fault" || return
    scripts/history.py run "$bin" "/h/$fault" "$work/history.$fault" &
    history[run]=$!
    background+=($!)
    sleep 1
}

# The epoch and the id of the cluster, with an expression that is true when they went on.
same_cluster() {
    status || true
    holds "$work/status.json" "v['cluster'] == '$cluster_id' and v['epoch'] >= ${epoch:-0}" || return
    epoch=$(value "$work/status.json" 'v["epoch"]')
}
files_there() {
    rm -rf "$work/out"
    cloudsync get /base "$work/out" && diff -r "$work/base" "$work/out"
}

# The end of a fault: the checks that all have in common.
end() {
    kill "${history[run]}"
    wait "${history[run]}" 2>/dev/null
    check "$fault: nothing acknowledged is missing, nothing old unmarked" scripts/history.py judge "$work/history.$fault"
    scripts/history.py judge "$work/history.$fault" | tail -1 | sed 's/^/      /'
    check "$fault: the files are there" files_there
    check "$fault: cluster id and epoch go on" same_cluster
    check "$fault: nobody panicked" no_panic
}

# fault_while_down NAME NODE DAMAGE TEXT…: a node is stopped, damaged, started, and logs the texts; then all votes.
while_down() {
    local name=$1 node=$2 damage=$3 text
    shift 3
    begin "$name"
    check "$name: node $node stops" stop "$node"
    check "$name: it is done to it" "$damage" "$node"
    start "$node" >/dev/null
    for text in "$@" "$OPEN"; do check "$name: node $node says: $text" logged "$node" "$text"; done
    check "$name: three voters, none behind" votes
    end
}

GIVEN_UP="is given up, the others fill store"
OPEN="the metadata store is open"

# --- faults of one store

remove_meta() { rm -r "$(data "$1")/meta"; }
empty_meta() { find "$(data "$1")/meta" -type f -delete; }
damage_current() { rm "$(store "$1")"/state*/CURRENT; }
damage_label() { flip "$(store "$1")/log/STORE" -1; }
damage_log() { flip "$(find "$(store "$1")/log" -name '*.raftlog' -size +0 | sort | head -1)" -1; }
damage_table() {
    local table
    table=$(find "$(store "$1")" -name '*.sst' -printf '%s %p\n' | sort -n | tail -1 | cut -d' ' -f2-)
    [ -n "$table" ] || { echo "there is no table yet"; return 1; }
    flip "$table" 60
}

fault_removed() { while_down removed 2 remove_meta "is gone" "$GIVEN_UP"; }
fault_first_removed() { while_down first_removed 1 remove_meta "is gone" "$GIVEN_UP"; }
fault_emptied() { while_down emptied 3 empty_meta "is gone" "$GIVEN_UP"; }
fault_current() { while_down current 2 damage_current "begins its states anew"; }
fault_table_bit() { while_down table_bit 3 damage_table "begins its states anew"; }
fault_log_bit() { while_down log_bit 3 damage_log "$GIVEN_UP"; }
fault_label_bit() { while_down label_bit 2 damage_label "$GIVEN_UP"; }

fault_two_apart() {
    while_down two_apart_a 2 remove_meta "$GIVEN_UP"
    while_down two_apart_b 3 remove_meta "$GIVEN_UP"
    check "two_apart: the only one that never lost anything is killed" dev kill 1
    check "two_apart: the files are there" files_there
    check "two_apart: and what was written meanwhile" says "/h/two_apart_b/1" cloudsync ls /h/two_apart_b -o json
    start 1 >/dev/null
    check "two_apart: three voters, none behind" votes
}

# put_back NAME NODE DIR TEXT: DIR of the node is put back as it was some writes and a start ago.
put_back() {
    local name=$1 node=$2 dir=$3 text=$4
    begin "$name"
    check "$name: node $node stops" stop "$node"
    cp -a "$dir" "$work/copy"
    start "$node" >/dev/null
    votes >/dev/null
    sleep 2
    check "$name: it stops again" stop "$node"
    rm -r "$dir"
    mv "$work/copy" "$dir"
    watch_logs
    start "$node" >/dev/null
    check "$name: it says: $text" logged "$node" "$text"
    check "$name: and gives it up" logged "$node" "$GIVEN_UP"
    check "$name: and opens another" logged "$node" "$OPEN"
    check "$name: three voters, none behind" votes
    end
}
fault_copied_back() { put_back copied_back 3 "$(data 3)/meta" "is an old copy"; }
# All that the node knows is old: only the others can tell.
fault_set_back() { put_back set_back 2 "$(data 2)" "this store takes no part any more"; }

# The metadata of a voter and of a node that does not vote, each in the other's place. Two voters that are exchanged are
# a majority that is lost, see fault_majority_lost.
fault_exchanged() {
    begin exchanged
    check "exchanged: nodes 3 and 4 stop" stop 3 4
    mv "$(data 3)/meta" "$work/meta3"
    mv "$(data 4)/meta" "$(data 3)/meta"
    mv "$work/meta3" "$(data 4)/meta"
    start 3 4 >/dev/null
    check "exchanged: node 3 gives it up" logged 3 "$GIVEN_UP"
    check "exchanged: node 4 gives it up" logged 4 "$GIVEN_UP"
    check "exchanged: three voters, none behind" votes
    end
}

# A copy of a running node, started with ports of its own.
fault_cloned() {
    local clone=$work/clone ports
    begin cloned
    mkdir "$clone"
    kill -STOP "$(pid 2)"
    cp -a "$(data 2)" "$clone/data"
    kill -CONT "$(pid 2)"
    read -ra ports < <(free_ports 2)
    printf 'data = "%s"\nzone = "zone2"\nroles = ["meta"]\nnative = "127.0.0.1:%s"\ncontrol = "127.0.0.1:%s"\nadmin = "off"\n' \
        "$clone/data" "${ports[@]}" >"$clone/node.toml"
    "$bin" node --config "$clone/node.toml" >"$clone/log" 2>&1 &
    local pid=$!
    background+=("$pid")
    either_logged() {
        local deadline=$((SECONDS + 20))
        until { cat "$clone/log"; new_lines "$cluster/node2/log"; } | grep -qF -- "$1"; do
            [ "$SECONDS" -lt "$deadline" ] || { tail -5 "$clone/log"; return 1; }
            sleep 0.2
        done
    }
    check "cloned: one of the two is refused" either_logged "this store takes no part any more"
    check "cloned: and told which process takes part as node 2" either_logged "takes part as node 2: stop it, or this one"
    sleep 5
    check "cloned: writes go on meanwhile" cloudsync --timeout 10 mkdir "/h/meanwhile"
    kill -TERM "$pid"
    check "cloned: the copy stops when asked" is_gone "$pid" 10
    check "cloned: three voters, none behind" votes
    end
}

# --- leaders

frozen_rounds=3
# A leader that was frozen must not answer from what it knew, not even who asks nobody else.
fault_leader_frozen() {
    begin leader_frozen
    local leader address frozen
    leader=$(dev leader)
    frozen=$(pid "$leader")
    address=$(value "$cluster/cluster.json" "v['nodes'][$leader - 1]['native']")
    sed "s/^endpoints.*/endpoints = [\"$address\"]/" "$cluster/admin.cred" >"$work/leader.cred"
    for ((round = 1; round <= frozen_rounds; round++)); do
        kill -STOP "$frozen"
        CLOUDSYNC_CREDENTIALS=$work/leader.cred scripts/history.py read "$bin" /h/leader_frozen "$work/history.frozen.$round" &
        history[read]=$!
        background+=($!)
        sleep 6
        [ "$round" -gt 1 ] || check "leader_frozen: another leads meanwhile" test "$(dev leader)" != "$leader"
        kill -CONT "$frozen"
        sleep 2
        kill "${history[read]}"
        wait "${history[read]}" 2>/dev/null
    done
    check "leader_frozen: nor does it show old answers to who asks only it" \
        scripts/history.py judge "$work"/history.leader_frozen "$work"/history.frozen.*
    check "leader_frozen: three voters, none behind" votes
    end
}

# lose_leaders NAME LOSE RETURN: twenty times the leader is lost and comes back; prints how long writes waited.
lose_leaders() {
    local name=$1 lose=$2 return=$3 times=() leader
    begin "$name"
    for ((i = 0; i < ${LEADERS:-20}; i++)); do
        leader=$(dev leader) || { sleep 1; leader=$(dev leader); }
        times+=("$(date +%s.%3N)")
        "$lose" "$leader" >/dev/null
        sleep 2.5
        "$return" "$leader" >/dev/null
        votes 30 >/dev/null || echo "      not whole after the leader's return: $leader"
    done
    scripts/history.py gaps "$work/history.$name" "${times[@]}" >"$work/gaps.json"
    value "$work/gaps.json" '"      %(times)d times: writes waited %(largest_ms)d ms at most, %(median_ms)d ms in half of the cases; 99 %% of %(writes)d writes within %(p99_of_writes_ms)d ms of the one before" % v'
    check "$name: writes never waited longer than $gap_ms_max ms" holds "$work/gaps.json" "v['largest_ms'] <= $gap_ms_max"
    check "$name: three voters, none behind" votes
    end
}
gap_ms_max=10000
lose_killed() { dev kill "$1"; }
lose_frozen() { kill -STOP "$(pid "$1")"; }
return_thawed() { kill -CONT "$(pid "$1")"; }
fault_leader_killed() { lose_leaders leader_killed lose_killed start; }
fault_leader_silent() { lose_leaders leader_silent lose_frozen return_thawed; }

# --- a node and its machine

# The disk of a voter's metadata is full: the others go on, and it comes back when there is room.
fault_full() {
    local dir
    dir=$(data 3)
    begin full
    check "full: node 3 stops" stop 3
    mv "$dir" "$work/full"
    mkdir "$dir"
    if ! mount -t tmpfs -o "size=$(($(du -sm "$work/full" | cut -f1) + 24))m" tmpfs "$dir" 2>"$work/mount.err"; then
        echo "skip  full: $(cat "$work/mount.err")"
        rmdir "$dir"
        mv "$work/full" "$dir"
        start 3 >/dev/null
        votes
        end
        return
    fi
    mounted=$dir
    cp -a "$work/full/." "$dir"
    start 3 >/dev/null
    check "full: it starts on a small disk" votes
    # What RocksDB and the log have reserved stays theirs: again, until nothing more fits.
    for _ in 1 2 3 4 5; do
        cat /dev/zero >>"$dir/filler" 2>/dev/null
        sleep 1
    done
    check "full: writes go on" cloudsync --timeout 10 mkdir /h/full-1
    check "full: the status names the node" says "node 3" cloudsync admin cluster status
    check "full: and is not healthy" exits 3 cloudsync admin cluster status
    rm "$dir/filler"
    check "full: with room again, three voters, none behind" votes 90
    check "full: node 3 stops" stop 3
    cp -a "$dir/." "$work/full"
    umount "$dir" && mounted=
    rmdir "$dir"
    mv "$work/full" "$dir"
    start 3 >/dev/null
    check "full: and starts on its old disk" votes
    end
}

# SIGTERM at ten moments of a start ends the process within 5 s: with the others running, and with nobody to talk to.
fault_stopped_early() {
    begin stopped_early
    local ms pid late=0
    stop 3
    stop_after() {
        "$bin" node --config "$(config 3)" >>"$cluster/node3/log" 2>&1 &
        pid=$!
        background+=("$pid")
        sleep "$(awk "BEGIN { print $1 / 1000 }")"
        kill -TERM "$pid" 2>/dev/null
        is_gone "$pid" 5 || { late=$((late + 1)); kill -9 "$pid"; }
        wait "$pid" 2>/dev/null
    }
    for ms in 0 10 30 60 100 200 400 800 1500 3000; do stop_after "$ms"; done
    check "stopped_early: ten starts end within 5 s of SIGTERM" test "$late" -eq 0
    stop 1 2
    late=0
    for ms in 50 500 2000; do stop_after "$ms"; done
    check "stopped_early: also with nobody to talk to" test "$late" -eq 0
    start 1 2 3 >/dev/null
    check "stopped_early: three voters, none behind" votes
    end
}

# A cluster of one process that has lost its metadata has nobody to fill it, and must not begin another.
fault_embedded() {
    echo "-- embedded"
    local dir=$work/embedded port cred pid
    read -r port < <(free_ports 1)
    cred=$dir/admin.cred
    # True when it says that it is up, in which case it goes on in the background.
    up() {
        : >"$work/up.out"
        "$bin" up --data "$dir" --listen "127.0.0.1:$port" >"$work/up.out" 2>"$work/up.log" &
        pid=$!
        background+=("$pid")
        until grep -q "CloudSync is up" "$work/up.out"; do
            is_running "$pid" || { cat "$work/up.log"; return 1; }
            sleep 0.1
        done
    }
    refuses() { ! up && exits 1 wait "$pid"; }
    check "embedded: a cluster is made" up
    check "embedded: and a directory in it" "$bin" --credentials "$cred" mkdir /kept
    kill "$pid"
    check "embedded: it stops" is_gone "$pid" 10
    mv "$dir/meta" "$work/meta.away"
    check "embedded: without its metadata it does not start: exit code 1" refuses
    check "embedded: it says what it sees" grep "is gone: it was started 1 times" "$work/up.log"
    check "embedded: and what to do" grep "put the directory meta/.* back as it was" "$work/up.log"
    check "embedded: nor does it start the next time" refuses
    rm -rf "$dir/meta"
    mv "$work/meta.away" "$dir/meta"
    check "embedded: put back, it starts" up
    check "embedded: and has everything" says kept "$bin" --credentials "$cred" ls /
    kill "$pid"
    is_gone "$pid" 10
}

# --- many nodes

# All addresses change while all nodes are stopped.
fault_moved() {
    begin moved
    kill "${history[run]}"
    wait "${history[run]}" 2>/dev/null
    check "moved: all stop" dev down
    local addresses node
    # Absent voters are replaced after 5 s from here on, for the faults that follow.
    python3 - "$cluster" $(free_ports 18) <<'PYTHON'
import json, pathlib, re, sys
root, ports = pathlib.Path(sys.argv[1]), sys.argv[2:]
plan = json.loads((root / "cluster.json").read_text())
credentials = (root / "admin.cred").read_text()
for node in plan["nodes"]:
    file = root / f"node{node['number']}" / "node.toml"
    text = re.sub(r"down_out = .*", "down_out = 5", file.read_text())
    for key in ["native", "control", "admin"]:
        address = f"127.0.0.1:{ports.pop()}"
        text = text.replace(node[key], address)
        credentials = credentials.replace(node[key], address)
        node[key] = address
    file.write_text(text)
(root / "cluster.json").write_text(json.dumps(plan))
(root / "admin.cred").write_text(credentials)
PYTHON
    read -ra addresses < <(value "$cluster/cluster.json" '" ".join("%(number)d=%(native)s" % n for n in v["nodes"])')
    for node in 1 2 3 4 5 6; do
        check "moved: node $node is told" cloudsync admin node readdress --config "$(config "$node")" "${addresses[@]}"
    done
    check "moved: all start" dev up
    check "moved: healthy" heals
    scripts/history.py read "$bin" /h/moved "$work/history.moved.after" &
    history[read]=$!
    sleep 1
    kill "${history[read]}"
    wait "${history[read]}" 2>/dev/null
    check "moved: what was written before is there" scripts/history.py judge "$work/history.moved" "$work/history.moved.after"
    check "moved: the files are there" files_there
    check "moved: cluster id and epoch go on" same_cluster
}

# Three nodes join and do not live to know it.
fault_half_joined() {
    begin half_joined
    short_wait
    local token dir=$work/late ports node
    token=$(cloudsync admin token create)
    mkdir -p "$dir/disk1"
    node_count() { status || true; value "$work/status.json" 'v["nodes"]'; }
    half_join() {
        read -ra ports < <(free_ports 2)
        printf 'data = "%s"\nzone = "zone1"\nnative = "127.0.0.1:%s"\ncontrol = "127.0.0.1:%s"\nadmin = "off"\ndisks = ["%s"]\n' \
            "$dir/data" "${ports[@]}" "$dir/disk1" >"$dir/node.toml"
        # It is killed when it writes down the map that it was answered with.
        (ulimit -c 0 -f 1; exec "$bin" join --config "$dir/node.toml" --token "$token") 2>&1 | cat
    }
    local before
    before=$(node_count)
    for _ in 1 2 3; do half_join >/dev/null 2>&1; done
    check "half_joined: the cluster counts three more" test "$(node_count)" -eq $((before + 3))
    check "half_joined: which are not there" exits 3 cloudsync admin node list
    check "half_joined: writes go on" cloudsync --timeout 10 mkdir /h/half
    check "half_joined: they are forgotten" until_status 30 "v['nodes'] == $before"
    check "half_joined: and the cluster is healthy" heals
    rm -rf "$dir/data"
    check "half_joined: the fourth time it joins" cloudsync join --config "$dir/node.toml" --token "$token"
    check "half_joined: as one more" test "$(node_count)" -eq $((before + 1))
    # A new disk must be registered: without a quorum its first start waits, and ends when told to.
    local voters pid
    read -ra voters < <(value "$work/status.json" '" ".join(map(str, v["voters"]))')
    stop "${voters[@]:0:2}"
    "$bin" node --config "$dir/node.toml" >"$dir/log" 2>&1 &
    pid=$!
    background+=("$pid")
    sleep 2
    check "half_joined: its first start waits for a quorum" is_running "$pid"
    kill -TERM "$pid"
    check "half_joined: and ends within 5 s of SIGTERM" is_gone "$pid" 5
    start "${voters[@]:0:2}" >/dev/null
    votes >/dev/null
    # It has said that it knows of its node, so somebody must remove it.
    node=$(cloudsync admin node list -o json >"$work/nodes.json"; value "$work/nodes.json" 'max(n["id"] for n in v)')
    check "half_joined: it is removed by hand" cloudsync admin node remove "$node" --yes
    check "half_joined: three voters, none behind" votes
    end
}

# The faults below need meta.down_out at its least.
short_wait() {
    grep -q "down_out = 5$" "$(config 1)" && return
    sed -i "s/down_out = .*/down_out = 5/" "$cluster"/node*/node.toml
    local node
    for node in 1 2 3 4 5 6; do
        start "$node" >/dev/null
        votes >/dev/null
    done
    heals
}

fault_node_removed() {
    begin node_removed
    check "node_removed: not while it is up: exit code 4" exits 4 cloudsync admin node remove 6
    check "node_removed: and says so" says "is up: stop it first" cloudsync admin node remove 6 --yes
    check "node_removed: it stops" stop 6
    check "node_removed: it is down" until_status 20 "v['nodes_up'] == v['nodes'] - 1"
    elsewhere() { until_status 90 "v['slots']['syncing'] == 0 and v['slots']['offline'] == 0"; }
    check "node_removed: its data is elsewhere" elsewhere
    check "node_removed: first the plan: exit code 4" exits 4 cloudsync admin node remove 6
    check "node_removed: with what to add" says "add --yes" cloudsync admin node remove 6
    check "node_removed: then it is removed" cloudsync admin node remove 6 --yes
    check "node_removed: and gone from the list" bash -c "'$bin' admin node list -o json >'$work/nodes.json'; ! grep -q '\"id\": *6\\b' '$work/nodes.json'"
    watch_logs
    start 6 >/dev/null
    check "node_removed: the node is told" logged 6 "was removed from the cluster"
    stop 6
    check "node_removed: healthy" heals
    end
}

# Two of three voters are lost for good, and one of them comes back after all.
fault_majority_lost() {
    begin majority_lost
    local survivor lost=() all=()
    status
    read -ra all < <(value "$work/status.json" '" ".join(map(str, v["voters"]))')
    survivor=${all[0]}
    lost=("${all[@]:1}")
    kill "${history[run]}"
    wait "${history[run]}" 2>/dev/null
    check "majority_lost: voters ${lost[*]} are killed" dev kill "${lost[@]}"
    # Until its lease ends the leader may answer what it knows.
    sleep 3
    check "majority_lost: the status has no quorum: exit code 3" exits 3 timeout 15 "$bin" --timeout 5 admin cluster status
    check "majority_lost: a write fails, and fails soon" exits 1 timeout 15 "$bin" --timeout 5 mkdir /h/no
    check "majority_lost: recover is refused while the node runs" exits 1 cloudsync admin meta recover --config "$(config "$survivor")" --yes
    check "majority_lost: node $survivor stops" stop "$survivor"
    check "majority_lost: the plan: exit code 4" exits 4 cloudsync admin meta recover --config "$(config "$survivor")"
    check "majority_lost: says what may be lost" says "Lost is what only they had" cloudsync admin meta recover --config "$(config "$survivor")"
    check "majority_lost: with --yes it is done" cloudsync admin meta recover --config "$(config "$survivor")" --yes
    watch_logs
    start "$survivor" >/dev/null
    alone() { local deadline=$((SECONDS + 30)); until cloudsync --timeout 5 mkdir "/h/alone$SECONDS"; do [ "$SECONDS" -lt "$deadline" ] || return; done; }
    check "majority_lost: it goes on alone" alone
    scripts/history.py read "$bin" /h/majority_lost "$work/history.alone" &
    history[read]=$!
    sleep 2
    kill "${history[read]}"
    wait "${history[read]}" 2>/dev/null
    check "majority_lost: all that was acknowledged is there" scripts/history.py judge "$work/history.majority_lost" "$work/history.alone"
    check "majority_lost: the files are there" files_there
    start "${lost[0]}" >/dev/null
    check "majority_lost: voter ${lost[0]} comes back and is refused" logged "${lost[0]}" "this store takes no part any more"
    check "majority_lost: and is filled again" logged "${lost[0]}" "$GIVEN_UP"
    start "${lost[1]}" >/dev/null
    check "majority_lost: so is voter ${lost[1]}" logged "${lost[1]}" "$GIVEN_UP"
    check "majority_lost: three voters, none behind" votes
    check "majority_lost: cluster id and epoch go on" same_cluster
    check "majority_lost: nobody panicked" no_panic
}

# --- all of it

faults=("$@")
[ "${1:-}" != short ] || { faults=("${SHORT[@]}"); frozen_rounds=1; }
[ ${#faults[@]} -gt 0 ] || faults=("${ALL[@]}")

check "six nodes start, four of them with metadata" dev up --nodes 6 --zones 4 --profile 2+1
status
cluster_id=$(value "$work/status.json" 'v["cluster"]')
epoch=$(value "$work/status.json" 'v["epoch"]')
mkdir "$work/base"
for ((i = 0; i < 30; i++)); do head -c $((i * 3000)) /dev/urandom >"$work/base/$i"; done
check "files are stored" cloudsync put "$work/base" /base
for name in "${faults[@]}"; do
    started=$SECONDS
    "$name"
    echo "      $((SECONDS - started)) s"
done
check "all nodes stop when asked" dev down
sum_up
