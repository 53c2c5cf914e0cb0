# How a script runs a cluster of one node with `cloudsync up`; sourced. The caller sets `home`, where its data directory and
# what it says are, and `listen`; `server` is the process, empty while none runs.
# shellcheck shell=bash

bin=$(realpath "$(scripts/binary.sh)") || exit 1
unset CLOUDSYNC_LOG
server=
cloudsync() { "$bin" "$@"; }
end_server() { [ -z "$server" ] || kill -9 "$server" 2>/dev/null; }

# start [OPTION…]: starts the cluster and waits until it says that it is up.
start() {
    : >"$home/up.out"
    "$bin" up --data "$home/data" --listen "$listen" "$@" >"$home/up.out" 2>"$home/up.log" &
    server=$!
    until grep -q "CloudSync is up" "$home/up.out"; do
        kill -0 "$server" 2>/dev/null || { cat "$home/up.log"; return 1; }
        sleep 0.05
    done
}

# stop SIGNAL CODE: sends the signal and waits for the end; true when the exit code is the expected one.
stop() {
    local code=0
    kill "-$1" "$server"
    wait "$server" || code=$?
    server=
    [ "$code" -eq "$2" ] || { echo "exit code $code instead of $2"; cat "$home/up.log"; return 1; }
}
