#!/usr/bin/env bash
# Everything that happens to disks, in one node with twelve of them, 4+2: what is found at a start, what happens while it runs,
# damaged indexes, and more disks lost than the profile survives. After each: what the cluster says, that all bytes are right
# or named as lost, and that redundancy comes back.
#
#   scripts/accept-disks.sh                    in about eight minutes
#   scripts/accept-disks.sh hang full          only these
set -uo pipefail
cd "$(dirname "$0")/.."
source scripts/checks.sh
source scripts/server.sh
source scripts/disk-faults.sh

now() { date +%s; }
# at_start NAME DISK DAMAGE REPAIR STATE TEXT: damage is done to a disk while the node is stopped, and undone while it runs.
at_start() {
    local name=$1 disk=$2 damage=$3 repair=$4 state=$5 text=$6
    check "$name: it stops" stop TERM 0
    "$damage" "$disk"
    check "$name: it starts" start
    check "$name: the disk is $state: $text" disk_is "$disk" "$state" "$text"
    check "$name: eleven serve" until_disks 20 "len([d for d in v if d['state'] == 'healthy']) == 11"
    check "$name: list and status: exit code 3" exits 3 cloudsync admin disk list
    check "$name: exit code 3" exits 3 cloudsync admin cluster status
    check "$name: all files are there" files_there
    check "$name: a put works" puts "-$name"
    "$repair" "$disk"
    check "$name: whole again without a restart" whole 120
}
away() { mv "$(dir "$1")" "$work/away"; }
back() {
    rm -rf "$(dir "$1")"
    mv "$work/away" "$(dir "$1")"
}
emptied() {
    away "$1"
    mkdir "$(dir "$1")"
}
cloned() {
    away "$1"
    cp -a "$(dir 1)" "$(dir "$1")"
}
foreign() {
    away "$1"
    mkdir "$(dir "$1")"
    echo "my thesis" >"$(dir "$1")/thesis.tex"
}
other_cluster() {
    away "$1"
    cp -a "$work/other/disk1" "$(dir "$1")"
}
damaged() {
    cp "$(dir "$1")"/SUPER.* "$work/"
    garble "$(dir "$1")"
}
undamaged() { cp "$work"/SUPER.* "$(dir "$1")/"; }
read_only() { fault "$1 open EROFS"; }
unreadable() { fault "$1 any EIO"; }
no_fault() { fault; }

fault_missing() { at_start missing 3 away back missing "is not there: mount it"; }
fault_emptied() {
    at_start emptied 4 emptied back missing "is empty: mount it"
}
fault_cloned() { at_start cloned 5 cloned back missing "another disk is in its place"; }
fault_foreign() {
    at_start foreign 6 foreign back failed "thesis.tex"
}
fault_other_cluster() {
    "$bin" up --data "$work/other" --listen 127.0.0.9:7400 >"$work/other.out" 2>&1 &
    local pid=$!
    until grep -q "CloudSync is up" "$work/other.out"; do sleep 0.1; done
    kill -TERM "$pid"
    wait "$pid"
    at_start other_cluster 7 other_cluster back missing "another disk is in its place"
}
fault_superblocks() { at_start superblocks 8 damaged undamaged failed "no good superblock"; }
fault_read_only() { at_start read_only 9 read_only no_fault failed "os error 30"; }
fault_unreadable() { at_start unreadable 10 unreadable no_fault failed "os error 5"; }
fault_exchanged() {
    check "exchanged: it stops" stop TERM 0
    swap "$(dir 1)" "$(dir 2)"
    swap "$(dir 3)" "$(dir 12)"
    check "exchanged: it starts" start
    check "exchanged: whole" whole 60
    check "exchanged: all files are there" files_there
}

# index NAME DAMAGE: the index of a disk is damaged while the node is stopped: it is made again.
index() {
    local name=$1
    check "$name: it stops" stop TERM 0
    check "$name: it is done" "$2" "$(dir 3)/index"
    check "$name: it starts" start
    check "$name: whole" whole 120
    check "$name: all files are there" files_there
}
index_gone() { rm -r "$1"; }
current_gone() { rm "$1/CURRENT"; }
table_flipped() {
    python3 - "$1" <<'PYTHON'
import glob, os, sys
files = [f for f in glob.glob(sys.argv[1] + "/*") if f.endswith((".sst", ".log")) and os.path.getsize(f) > 100]
if not files: sys.exit("nothing to damage")
for path in files:
    with open(path, "r+b") as f:
        f.seek(60); byte = f.read(1); f.seek(60); f.write(bytes([byte[0] ^ 16]))
PYTHON
}
fault_index_gone() { index index_gone index_gone; }
fault_index_current() { index index_current current_gone; }
fault_index_bit() { index index_bit table_flipped; }

# while_running NAME DISK STATE TEXT RULE…: what goes wrong while it runs, and stops.
while_running() {
    local name=$1 disk=$2 state=$3 text=$4
    shift 4
    fault "$@"
    check "$name: all files are there" files_there
    check "$name: a put works" puts "-$name"
    [ -z "$state" ] || check "$name: the disk is $state: $text" disk_is "$disk" "$state" "$text"
    check "$name: all files are there" files_there
    fault
    check "$name: whole again" whole 180
}
fault_hang() { while_running hang 1 failed "does not answer" "1 any hang"; }
# Whoever is told to stop does not wait for a disk that never answers.
fault_hang_stop() {
    fault "1 any hang"
    check "hang_stop: it is said to have failed" disk_is 1 failed "does not answer"
    local begun=$SECONDS
    kill -TERM "$server"
    wait "$server"
    echo "      ended with $? after $((SECONDS - begun)) s"
    check "hang_stop: SIGTERM ends it" test $((SECONDS - begun)) -lt 45
    fault
    check "hang_stop: it starts" start
    check "hang_stop: whole again" whole 120
    check "hang_stop: all files are there" files_there
}
fault_slow() { while_running slow 2 "" "" "2 read delay 300" "2 sync delay 300"; }
fault_full() { while_running full 3 full "" "3 any full"; }
fault_lies() { while_running lies 4 "" "" "4/seg read flip"; }
fault_eio_reads() { while_running eio_reads 5 "" "" "5/seg read EIO"; }
fault_descriptors() { while_running descriptors 6 "" "" "6/seg open EMFILE"; }
fault_vanishes() {
    mv "$(dir 7)" "$work/away"
    check "vanishes: it is missing" disk_is 7 missing "is not there"
    check "vanishes: all files are there" files_there
    check "vanishes: a put works" puts -vanishes
    mv "$work/away" "$(dir 7)"
    check "vanishes: whole again" whole 120
}
# A write error is final: the disk is emptied of what it has, then replaced.
fault_eio_writes() {
    fault "8/seg write EIO"
    check "eio_writes: puts work" puts -eio1
    until_disks 30 "any(d['path'] == '$(dir 8)' and d['state'] == 'read-only' for d in v)" >/dev/null || puts -eio2
    check "eio_writes: it is read-only" disk_is 8 read-only
    fault
    check "eio_writes: its slots go to others" until_disks 180 "all(d['slots'] == 0 for d in v if d['path'] == '$(dir 8)')"
    check "eio_writes: all files are there" files_there
    filled() {
        local deadline=$((SECONDS + 180))
        until cloudsync admin cluster status -o json >"$work/status.json" 2>/dev/null; [ "$(value "$work/status.json" 'v["slots"]["syncing"]')" = 0 ]; do
            [ "$SECONDS" -lt "$deadline" ] || { cloudsync admin cluster status; return 1; }
            sleep 1
        done
    }
    check "eio_writes: and are filled there" filled
    disks
    local lost
    lost=$(id 8)
    rm -rf "$(dir 8)"
    mkdir "$(dir 8)"
    check "eio_writes: the old one is missing" disk_is 8 missing
    check "eio_writes: and is taken out without force" cloudsync admin disk remove-lost "$lost" --yes
    check "eio_writes: a new one takes its place" cloudsync admin disk adopt "$(dir 8)"
    check "eio_writes: whole again" whole 180
}

# wiped DISK…: what is on the disks is gone for good, and that is said.
wiped() {
    local disk
    disks
    for disk in "$@"; do lost+=("$(id "$disk")"); done
    for disk in "$@"; do rm -rf "$(dir "$disk")"; done
    for disk in "$@"; do mkdir "$(dir "$disk")"; done
}
fault_wiped() {
    local lost=() id file named=0 wrong=0
    wiped 9 10
    check "wiped: two are missing" until_disks 30 "len([d for d in v if d['state'] == 'missing']) == 2"
    check "wiped: all files are there" files_there
    wiped 11
    check "wiped: a third one is missing" until_disks 30 "len([d for d in v if d['state'] == 'missing']) == 3"
    check "wiped: repair waits, and says so" problem "repair waits: 3 disks in 1 node are away at once"
    for id in "${lost[@]}"; do
        check "wiped: disk $id is taken out" cloudsync admin disk remove-lost "$id" --force --yes
    done
    until_lost() {
        local deadline=$((SECONDS + 180))
        until [ "$(value "$work/status.json" 'v["chunks"]["lost"] > 0 and v["chunks"]["thin"] == 0 and v["slots"]["syncing"] == 0' 2>/dev/null)" = True ]; do
            [ "$SECONDS" -lt "$deadline" ] || { cloudsync admin cluster status; return 1; }
            cloudsync admin cluster status -o json >"$work/status.json" 2>/dev/null
            sleep 1
        done
    }
    check "wiped: what is left is whole, the rest is lost" until_lost
    check "wiped: that is exit code 3" exits 3 cloudsync admin lost list
    cloudsync --timeout 30 admin lost list -o json >"$work/lost.json"
    for file in "$work"/base/*; do
        if [ "$(value "$work/lost.json" "any(f['path'] == '/base/$(basename "$file")' and f['newest'] for f in v['files'])")" = True ]; then
            named=$((named + 1))
        elif ! cloudsync --timeout 10 cat "/base/$(basename "$file")" | cmp - "$file" >/dev/null 2>&1; then
            wrong=$((wrong + 1))
        fi
    done
    echo "      $named of 20 files are named, $(value "$work/lost.json" "len(v['chunks'])") chunks"
    check "wiped: whatever is not named is right" test "$wrong" -eq 0
    check "wiped: some are named" test "$named" -gt 0
    check "wiped: storing the same again heals" cloudsync --timeout 30 put "$work/base" /base
    check "wiped: nothing of these is lost any more" bash -c "'$bin' admin lost list -o json | python3 -c 'import json, sys; sys.exit(any(f[\"path\"].startswith(\"/base\") for f in json.load(sys.stdin)[\"files\"]))'"
    check "wiped: all files are there" files_there
    for file in 9 10 11; do check "wiped: a new disk $file" cloudsync admin disk adopt "$(dir "$file")"; done
}

FAULTS="missing emptied cloned foreign other_cluster superblocks read_only unreadable exchanged index_gone index_current
    index_bit hang hang_stop slow full lies eio_reads descriptors vanishes eio_writes wiped"
check "up with twelve disks" start --disks 12
check "whole at once" whole 30
check "files are stored" fill_up
for fault in ${*:-$FAULTS}; do
    echo "-- $fault"
    begun=$(now)
    "fault_$fault"
    check "$fault: nobody panicked" no_panic
    echo "      $(($(now) - begun)) s"
done
check "SIGTERM stops it, exit code 0" stop TERM 0
sum_up
