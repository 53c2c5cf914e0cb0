# Sourced by the acceptance scripts that break or update a development cluster of real processes: its nodes, what they say,
# and what somebody writes and reads meanwhile. Who sources it sets `bin`, the program that nodes and commands run.
#
# WORK names the directory to work in, which is then kept; `history.*` in it say what was written and read.
# shellcheck shell=bash
source scripts/checks.sh

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
WHOLE='all(len(p["voters"]) == 3 and p["leader"] and len([r for r in p["replicas"] if r["votes"] and not r["problem"] and r["lag"] <= 50]) == 3 for p in v["partitions"])'
votes() { until_status "${1:-60}" "$WHOLE"; }
heals() { until_status "${1:-90}" "v['state'] == 'healthy' and $WHOLE"; }

# --- what was written and read

# Stores files to find again, and notes which cluster it is.
fill() {
    local i
    status && cluster_id=$(value "$work/status.json" 'v["cluster"]') || return
    mkdir "$work/base"
    for ((i = 0; i < 30; i++)); do head -c $((i * 3000)) /dev/urandom >"$work/base/$i"; done
    cloudsync put "$work/base" /base
}

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
