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
source scripts/dev-nodes.sh
source scripts/store-faults.sh

SHORT=(fault_removed fault_copied_back fault_log_bit fault_first_removed fault_leader_frozen fault_embedded)
ALL=(
    fault_removed fault_first_removed fault_emptied fault_copied_back fault_set_back fault_exchanged fault_cloned
    fault_current fault_table_bit fault_log_bit fault_label_bit fault_two_apart fault_leader_frozen fault_leader_killed
    fault_leader_silent fault_full fault_stopped_early fault_embedded fault_moved fault_half_joined fault_node_removed
    fault_majority_lost
)

bin=$(scripts/binary.sh) || exit 1

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

# A node joins, three times the same, and does not live to know it.
fault_half_joined() {
    begin half_joined
    short_wait
    local token dir=$work/late ports node
    token=$(cloudsync admin token create --role meta --uses 2)
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
    check "half_joined: the cluster counts one more" test "$(node_count)" -eq $((before + 1))
    check "half_joined: which is not there" exits 3 cloudsync admin node list
    check "half_joined: writes go on" cloudsync --timeout 10 mkdir /h/half
    check "half_joined: it is forgotten" until_status 30 "v['nodes'] == $before"
    check "half_joined: and the cluster is healthy" heals
    rm -rf "$dir/data"
    check "half_joined: the fourth time it joins" cloudsync join --config "$dir/node.toml" --token "$token"
    check "half_joined: as one more" test "$(node_count)" -eq $((before + 1))
    # A new disk must be registered: without a quorum its first start waits, and ends when told to.
    local voters pid
    read -ra voters < <(value "$work/status.json" '" ".join(map(str, v["partitions"][0]["voters"]))')
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
    check "half_joined: it is down" until_status 20 "v['nodes_up'] == v['nodes'] - 1"
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
    check "node_removed: the node is told" logged 6 "join again with an empty data directory"
    stop 6
    check "node_removed: healthy" heals
    end
}

# Two of four nodes with metadata are lost for good, two of three voters in the root partition and in others, and come
# back after all.
fault_majority_lost() {
    begin majority_lost
    local survivor other lost=() all=() recover
    status
    read -ra all < <(value "$work/status.json" '" ".join(map(str, v["partitions"][0]["voters"]))')
    survivor=${all[0]}
    lost=("${all[@]:1}")
    for other in 1 2 3 4; do [[ " ${all[*]} " == *" $other "* ]] || break; done
    recover=(cloudsync admin meta recover --lost "${lost[0]},${lost[1]}" --config)
    kill "${history[run]}"
    wait "${history[run]}" 2>/dev/null
    check "majority_lost: voters ${lost[*]} are killed" dev kill "${lost[@]}"
    # Until its lease ends the leader may answer what it knows.
    sleep 3
    check "majority_lost: the status has no quorum: exit code 3" exits 3 timeout 15 "$bin" --timeout 5 admin cluster status
    check "majority_lost: a write fails, and fails soon" exits 1 timeout 15 "$bin" --timeout 5 mkdir /h/no
    check "majority_lost: recover is refused while the node runs" exits 1 "${recover[@]}" "$(config "$survivor")" --yes
    check "majority_lost: nodes $survivor and $other stop" stop "$survivor" "$other"
    check "majority_lost: the plan: exit code 4" exits 4 "${recover[@]}" "$(config "$survivor")"
    check "majority_lost: says what may be lost" says "Lost is what only they had" "${recover[@]}" "$(config "$survivor")"
    check "majority_lost: with --yes it is done" "${recover[@]}" "$(config "$survivor")" --yes
    check "majority_lost: on the other one, too" "${recover[@]}" "$(config "$other")" --yes
    watch_logs
    start "$survivor" "$other" >/dev/null
    alone() { local deadline=$((SECONDS + 30)); until cloudsync --timeout 5 mkdir "/h/alone$SECONDS"; do [ "$SECONDS" -lt "$deadline" ] || return; done; }
    check "majority_lost: they go on without the others" alone
    scripts/history.py read "$bin" /h/majority_lost "$work/history.alone" &
    history[read]=$!
    sleep 2
    kill "${history[read]}"
    wait "${history[read]}" 2>/dev/null
    check "majority_lost: all that was acknowledged is there" scripts/history.py judge "$work/history.majority_lost" "$work/history.alone"
    start "${lost[0]}" >/dev/null
    check "majority_lost: voter ${lost[0]} comes back and is refused" logged "${lost[0]}" "this store takes no part any more"
    check "majority_lost: and is filled again" logged "${lost[0]}" "$GIVEN_UP"
    start "${lost[1]}" >/dev/null
    check "majority_lost: so is voter ${lost[1]}" logged "${lost[1]}" "$GIVEN_UP"
    check "majority_lost: three voters, none behind" votes
    # Not before: two of the nodes that hold them were down, and they survive the loss of one.
    check "majority_lost: the files are there" files_there
    check "majority_lost: cluster id and epoch go on" same_cluster
    check "majority_lost: nobody panicked" no_panic
}

# --- all of it

faults=("$@")
[ "${1:-}" != short ] || { faults=("${SHORT[@]}"); frozen_rounds=1; }
[ ${#faults[@]} -gt 0 ] || faults=("${ALL[@]}")

check "six nodes start, four of them with metadata" dev up --nodes 6 --zones 4 --profile 2+1
check "files are stored" fill
for name in "${faults[@]}"; do
    started=$SECONDS
    "$name"
    echo "      $((SECONDS - started)) s"
done
check "all nodes stop when asked" dev down
sum_up
