#!/usr/bin/env bash
# The tree as a person meets it: attributes, links, copies, the trash, watching, namespaces; the same after a restart.
set -uo pipefail
cd "$(dirname "$0")/.."
source scripts/checks.sh
source scripts/server.sh

# json FILE command…: keeps what a command says to programs.
json() {
    local file=$1
    shift
    cloudsync -o json "$@" >"$work/$file"
}

# The watched changes of a run so far, one JSON value per line, as one list.
watched() {
    python3 -c 'import json, sys; print(json.dumps([json.loads(line) for line in sys.stdin]))' >"$work/$1"
}

start >"$work/start.out" 2>&1
check "up" kill -0 "$server"

printf 'one' >"$work/f"
chmod 0751 "$work/f"
touch -d '1965-03-01 12:00:00.123456789 UTC' "$work/f"
check "a file from before 1970 is stored" cloudsync put "$work/f" /f
attributes='(v["modified_ns"], v["mode"], v["executable"], v["version"]) == (-152625599876543211, "0751", True, 1)'
json stat.json stat /f
check "with its time to the nanosecond, its mode, its first version" holds "$work/stat.json" "$attributes"
printf 'three' >"$work/f"
check "a second version" cloudsync put "$work/f" /f
json stat.json stat /f
check "is number 2" holds "$work/stat.json" 'v["version"] == 2 and v["size"] == 5'
check "the first comes back as number 3" says "as version 3" cloudsync restore /f --version 1

check "directories" cloudsync mkdir -p /d/e
check "a link" cloudsync ln "../f" /d/link
json ls.json ls -R /d
check "keeps its text" holds "$work/ls.json" '[e["target"] for e in v if e["kind"] == "link"] == ["../f"]'
check "a copy" cloudsync cp /f /d/e
check "of an old version" cloudsync cp --version 2 /f /d/old
check "a copy in the way of another is refused" exits 1 cloudsync cp /f /d/old
json du.json du /d
check "a directory knows what is below it" holds "$work/du.json" '(v["files"], v["dirs"], v["bytes"]) == (3, 1, 8)'
json ls.json ls --sort size --reverse /d
check "entries by size" holds "$work/ls.json" '[e["name"] for e in v] == ["old", "link", "e"]'
check "a rename in the way of another is refused" says "already exists" cloudsync mv /f /d/old
check "unless it takes its place" cloudsync mv -f /f /d/old
json trash.json trash list
check "what had the place is in the trash" holds "$work/trash.json" 'v[0]["path"] == "/d/old" and v[0]["size"] == 5'
check "and comes back elsewhere" cloudsync trash restore "$(value "$work/trash.json" 'v[0]["id"]')" /back
check "with its content" bash -c "[ \"\$('$bin' cat /back)\" = three ]"
check "a file is removed" cloudsync rm /d/e/f
check "and its directory renamed" cloudsync mv /d /moved
json trash.json trash list /d
check "it comes back to where its directory is now" cloudsync trash restore "$(value "$work/trash.json" 'v[0]["id"]')"
check "there" cloudsync stat /moved/e/f

cloudsync -o json watch --after 0 --once | watched all.json
check "every change was told, without a gap" holds "$work/all.json" '[r["cursor"] for r in v] == list(range(1, len(v) + 1))'
check "and what it was" holds "$work/all.json" \
    '[r["action"] for r in v if r["path"] == "/f"][:3] == ["created", "modified", "modified"]'
middle=$(value "$work/all.json" 'v[len(v) // 2]["cursor"]')
cloudsync -o json watch --after "$middle" --once | watched rest.json
check "a watch goes on from a cursor" holds "$work/rest.json" "v[0]['cursor'] == $middle + 1"
"$bin" -o json watch --after "$(value "$work/rest.json" 'v[-1]["cursor"]')" /watched >"$work/live.out" &
watch=$!
cloudsync mkdir /elsewhere
cloudsync mkdir /watched
for ((i = 0; i < 100; i++)); do [ -s "$work/live.out" ] && break; sleep 0.05; done
kill "$watch"
wait "$watch" 2>/dev/null
watched live.json <"$work/live.out"
check "a change is seen as it happens, and only what concerns the path" holds "$work/live.json" '[r["path"] for r in v] == ["/watched"]'

check "a namespace for somebody" cloudsync admin namespace create team --owner user/ann
check "belongs to one" exits 1 cloudsync admin namespace create team --owner user/bob
check "changes hands" cloudsync admin namespace owner team user/bob
json split.json admin namespace split /moved
id=$(value "$work/split.json" 'v["namespace"]')
check "a directory becomes a namespace" cloudsync --namespace "id:$id" stat /e/f
check "and leaves the one it was in" exits 1 cloudsync stat /moved
cloudsync --namespace "id:$id" -o json watch --after 0 --once | watched begun.json
check "its journal says where it comes from" holds "$work/begun.json" 'v[0]["action"] == "begun" and v[0]["split_from"][1] > 0'
json list.json admin namespace list
check "all are listed, with what is in them" holds "$work/list.json" \
    'sorted((n["name"], n["owner"], n["files"]) for n in v) == [("", "admin/admin", 3), ("home", "admin/admin", 1), ("team", "user/bob", 0)]'
check "an empty one is deleted" cloudsync admin namespace delete team
check "another one only with --yes" exits 4 cloudsync admin namespace delete home

cloudsync -o json ls -R / >"$work/before.json"
cloudsync --namespace "id:$id" -o json ls -R / >>"$work/before.json"
check "Ctrl-C" stop INT 0
start >"$work/start.out" 2>&1
check "and up again" kill -0 "$server"
cloudsync -o json ls -R / >"$work/after.json"
cloudsync --namespace "id:$id" -o json ls -R / >>"$work/after.json"
check "everything is as it was, attributes included" cmp "$work/before.json" "$work/after.json"

sum_up
