# A cluster of one node in the data directory `data` of the current directory; sourced. Sets `bin` and `server` (the
# process, empty while none runs), which is killed at the end of the script.
#
# A node is known to its cluster by its address, so a data directory is opened where it was made. Each has an address of
# its own in 127.0.0.0/8, all of which is this machine: `listen`, which the caller sets.
# shellcheck shell=bash

bin=$(realpath "$(scripts/binary.sh)") || exit 1
export CLOUDSYNC_CREDENTIALS=data/admin.cred
unset CLOUDSYNC_LOG
server=
listen=
cloudsync() { "$bin" "$@"; }
end_server() { [ -z "$server" ] || kill -9 "$server" 2>/dev/null; }

start() {
    : >up.out
    "$bin" up --data data --listen "$listen" >up.out 2>up.log &
    server=$!
    until grep -q "CloudSync is up" up.out; do
        kill -0 "$server" 2>/dev/null || { cat up.log; return 1; }
        sleep 0.05
    done
}

# stop SIGNAL CODE: sends the signal and waits for the end; true when the exit code is the expected one.
stop() {
    local code=0
    kill "-$1" "$server"
    wait "$server" || code=$?
    server=
    [ "$code" -eq "$2" ] || { echo "exit code $code instead of $2"; cat up.log; return 1; }
}
