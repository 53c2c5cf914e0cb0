#!/usr/bin/env bash
# The embedded default as a person meets it: start, the tour of the README line by line, Ctrl-C, start again, kill -9,
# and the messages when something is wrong.
set -uo pipefail
cd "$(dirname "$0")/.."
source scripts/checks.sh
source scripts/server.sh
export CLOUDSYNC_BIN=$bin

# True when a page of the node has this status and matches this pattern.
page() {
    python3 - "http://127.0.0.1:$((port + 2))$1" "$2" "$3" <<'PYTHON'
import re, sys, urllib.error, urllib.request
try:
    answer = urllib.request.urlopen(sys.argv[1], timeout=5)
except urllib.error.HTTPError as error:
    answer = error
text = answer.read().decode()
found = answer.status == int(sys.argv[2]) and re.search(sys.argv[3], text, re.MULTILINE)
sys.exit(0 if found else f"{answer.status}: {text}")
PYTHON
}

check "without credentials the error says what to do" says "run \`cloudsync up\` here" cloudsync ls /
check "and the exit code is 1" exits 1 cloudsync ls /
check "a bad path is a usage error" exits 2 cloudsync stat relative/path
check "so is one with '..'" exits 2 cloudsync stat /a/../b
check "so is one that is not UTF-8" exits 2 cloudsync stat $'/a\xff'
check "so is an empty one" exits 2 cloudsync stat ""
check "errors come as JSON too" says '{"error":{"kind":"invalid"' cloudsync -o json stat relative/path

start >"$work/start.out" 2>&1
check "up" kill -0 "$server"
check "it says what to try next" grep -q "cloudsync put README.md" "$work/up.out"
check "credentials are for their owner only" test "$(stat -c %a "$work/data/admin.cred")" = 600
check "a second start on the same data is refused" says "in use by a running node" cloudsync up --data "$work/data" --listen "127.0.0.1:$port"
check "a port in use is named" says "127.0.0.1:$port" timeout 20 "$bin" up --data "$work/other" --listen "127.0.0.1:$port"
check "and is an error" exits 1 timeout 20 "$bin" up --data "$work/other" --listen "127.0.0.1:$port"

mkdir -p "$work/tour/scripts"
cp -r docs README.md "$work/tour/"
cp scripts/binary.sh "$work/tour/scripts/"
awk '/<!-- tour -->/ { tour = 1; next } tour && /^```sh/ { lines = 1; next } lines && /^```/ { exit } lines' README.md >"$work/tour.sh"
check "the README has a tour" test -s "$work/tour.sh"
check "the tour works line by line" bash -c "cd '$work/tour' && bash -euxo pipefail '$work/tour.sh'"
check "its pages say that it is alive" page /healthz 200 '^ok$'
check "and ready" page /readyz 200 '^ready$'
check "its numbers are there" page /metrics 200 '^cloudsync_partition_leading.partition="0". 1$'
check "other pages are not" page /else 404 '^404'
check "a healthy cluster: exit code 0" exits 0 cloudsync admin cluster status

head -c 3000000 /dev/urandom >"$work/file"
check "put" cloudsync put "$work/file" /kept
check "put again sends next to nothing" bash -c "'$bin' put '$work/file' /kept -o json >'$work/put.json'"
check "and changes nothing" holds "$work/put.json" 'v["unchanged"] == 1 and v["bytes_sent"] < 10_000'
check "a range" bash -c "cmp <('$bin' cat --range 1000000-1999999 /kept) <(tail -c +1000001 '$work/file' | head -c 1000000)"
ln -s "$work/file" "$work/link"
check "a link is not stored silently" says "links" cloudsync put "$work/link" /link
mkdir -p "$work/mixed"
cp "$work/file" "$work/mixed/good"
ln -s good "$work/mixed/link"
check "a tree with a link: exit code 1" exits 1 cloudsync put "$work/mixed" /mixed
check "which names the link" says "mixed/link" cloudsync put "$work/mixed" /mixed
check "and stores the rest" bash -c "'$bin' cat /mixed/good | cmp - '$work/file'"
check "rm of a full directory is refused as unsafe" exits 4 cloudsync rm /mixed
check "what does not exist: exit code 1" exits 1 cloudsync stat /missing

printf 'data = "%s"\nnative = "127.0.0.1:1"\ncontrol = "127.0.0.1:2"\n' "$work/foreign" >"$work/foreign.toml"
check "another cluster is created" cloudsync init --config "$work/foreign.toml"
check "only once" says "already" cloudsync init --config "$work/foreign.toml"
sed "s/127.0.0.1:1/127.0.0.1:$port/" "$work/foreign/admin.cred" >"$work/foreign.cred"
check "its credentials are not accepted here" says "cluster" cloudsync --credentials "$work/foreign.cred" ls /
check "and that is an error" exits 1 timeout 20 "$bin" --credentials "$work/foreign.cred" ls /
sed 's/^native/natvie/' "$work/foreign.toml" >"$work/typo.toml"
check "an unknown key names the known one" says "did you mean \`native\`" cloudsync node --config "$work/typo.toml"
check "a bad token says so" says "admin token create" cloudsync join --config "$work/foreign.toml" --token x

check "Ctrl-C stops it, exit code 0" stop INT 0
check "then commands fail, and fail soon" exits 1 timeout 20 "$bin" --timeout 3 ls /
start >"$work/start.out" 2>&1
check "it starts again" kill -0 "$server"
check "and finds everything" bash -c "'$bin' cat /kept | cmp - '$work/file'"
check "kill -9" stop KILL 137
start >"$work/start.out" 2>&1
check "it starts after that" kill -0 "$server"
check "and finds everything" bash -c "'$bin' cat /kept | cmp - '$work/file'"
check "and is healthy" exits 0 cloudsync admin cluster status
check "SIGTERM stops it, exit code 0" stop TERM 0
mv "$work/data/disk3" "$work/disk3"
check "without one of its disks it starts" start
names_disk3() { local i; for ((i = 0; i < 20; i++)); do "$bin" admin disk list >"$work/disks"; [ $? -eq 3 ] && grep missing "$work/disks" | grep -q disk3 && return; sleep 1; done; cat "$work/disks"; return 1; }
check "and names it: exit code 3" names_disk3
sum_up
