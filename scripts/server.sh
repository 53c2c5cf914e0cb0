# A cluster of one node for a script to play with; sourced. Sets `work` (kept when the caller names it), `port` and what
# `scripts/up.sh` does; whatever runs at the end of the script is killed.

source scripts/up.sh
work=${WORK:-$(mktemp -d)}
mkdir -p "$work"
home=$work
export CLOUDSYNC_CREDENTIALS="$work/data/admin.cred"
finish() {
    end_server
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
listen=127.0.0.1:$port
