# Sourced by accept-meta.sh: what happens to the metadata store of one node, and to copies of it.
# shellcheck shell=bash

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

# A node has the metadata of another one, which has its own. Two that have each other's are two stores that are lost, and
# where both vote that is the majority: see fault_majority_lost.
fault_exchanged() {
    begin exchanged
    check "exchanged: nodes 3 and 4 stop" stop 3 4
    rm -r "$(data 3)/meta"
    cp -a "$(data 4)/meta" "$(data 3)/meta"
    start 3 4 >/dev/null
    check "exchanged: node 3 gives it up" logged 3 "$GIVEN_UP"
    check "exchanged: node 4 keeps its own" logged 4 "$OPEN"
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
    sleep 3
    status
    local settled
    settled=$(value "$work/status.json" 'v["epoch"]')
    sleep 5
    status
    check "cloned: the map does not follow now one, now the other" holds "$work/status.json" "v['epoch'] <= $settled + 1"
    check "cloned: writes go on meanwhile" cloudsync --timeout 10 mkdir "/h/meanwhile"
    kill -TERM "$pid"
    check "cloned: the copy stops when asked" is_gone "$pid" 10
    check "cloned: three voters, none behind" votes
    end
}
