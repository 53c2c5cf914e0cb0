# A cluster of one node for a script to play with; sourced. Sets `bin`, `work` (kept when the caller names it), `port`,
# and `server` (the process, empty while none runs); whatever runs at the end of the script is killed.

bin=$(scripts/binary.sh) || exit 1
work=${WORK:-$(mktemp -d)}
mkdir -p "$work"
export CLOUDSYNC_CREDENTIALS="$work/data/admin.cred"
unset CLOUDSYNC_LOG
server=
cloudsync() { "$bin" "$@"; }
finish() {
    [ -z "$server" ] || kill -9 "$server" 2>/dev/null
    [ -n "${WORK:-}" ] || rm -rf "$work"
}
trap finish EXIT

# Three neighbouring ports that nobody uses.
port=$(python3 - <<'PYTHON'
import socket
while True:
    with socket.socket() as a, socket.socket() as b, socket.socket() as c:
        a.bind(("127.0.0.1", 0))
        try:
            b.bind(("127.0.0.1", a.getsockname()[1] + 1))
            c.bind(("127.0.0.1", a.getsockname()[1] + 2))
        except (OSError, OverflowError):
            continue
        print(a.getsockname()[1])
        break
PYTHON
)

# Starts the cluster and waits until it says that it is up.
start() {
    : >"$work/up.out"
    "$bin" up --data "$work/data" --listen "127.0.0.1:$port" >"$work/up.out" 2>"$work/up.log" &
    server=$!
    until grep -q "CloudSync is up" "$work/up.out"; do
        kill -0 "$server" 2>/dev/null || { cat "$work/up.log"; return 1; }
        sleep 0.05
    done
}

# stop SIGNAL CODE: sends the signal and waits for the end; true when the exit code is the expected one.
stop() {
    local code=0
    kill "-$1" "$server"
    wait "$server" || code=$?
    server=
    [ "$code" -eq "$2" ] || { echo "exit code $code instead of $2"; cat "$work/up.log"; return 1; }
}
