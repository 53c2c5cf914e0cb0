#!/usr/bin/env bash
# What is stored, in the forms it keeps: attributes, the journal, the sums of directories and sealing, on a real process
# that is stopped, killed and started again; then the box, whose followers of the journal begin at random moments.
#
#   scripts/accept-formats.sh        in about two minutes, and what SEEDS seeds of the box take (200; 0 for none)
#
# WORK names the directory to work in, which is then kept.
set -uo pipefail
cd "$(dirname "$0")/.."
source scripts/checks.sh
source scripts/server.sh
SEEDS=${SEEDS:-200}

json() {
    local file=$1
    shift
    cloudsync -o json "$@" >"$work/$file"
}
# changes CURSOR FILE [PATH]: what happened after a position, as a list.
changes() {
    cloudsync -o json watch --after "$1" --once "${3:-/}" |
        python3 -c 'import json, sys; print(json.dumps([json.loads(line) for line in sys.stdin]))' >"$work/$2"
}
head_of_journal() { changes 0 head.json && value "$work/head.json" 'v[-1]["cursor"] if v else 0'; }
up() { start >"$work/start.out" 2>&1; }
# again SIGNAL CODE: the server ends with the signal and starts again.
again() { stop "$1" "$2" && up; }

# same_attributes FILE DIR TOP: true when a listing says of every file below a local directory what `stat` says of it.
same_attributes() {
    python3 - "$@" <<'PYTHON'
import json, os, sys
listing, local, top = sys.argv[1:]
entries = {e["path"]: e for e in json.load(open(listing))}
wrong = count = 0
for at, _, names in os.walk(local):
    for name in names:
        path = os.path.join(at, name)
        found = os.lstat(path)
        entry = entries.get(top + path[len(local):], {})
        mode = found.st_mode & 0o7777
        want = {"kind": "file", "size": found.st_size, "modified_ns": found.st_mtime_ns, "version": 1,
                "mode": f"{mode:04o}", "executable": bool(mode & 0o111), "target": None, "media_type": ""}
        count += 1
        for key, value in want.items():
            if entry.get(key, "nothing") != value:
                wrong += 1
                print(f"{path}: {key} is {entry.get(key, 'nothing')!r} instead of {value!r}")
print(f"{count} files compared")
sys.exit(1 if wrong or not count else 0)
PYTHON
}

# recount FILE: true when what every directory says is below it is what a listing of everything says.
recount() {
    local dir
    value "$1" '"\n".join(["/"] + [e["path"] for e in v if e["kind"] == "dir"])' >"$work/dirs"
    while IFS= read -r dir; do
        cloudsync -o json du "$dir" || return
    done <"$work/dirs" >"$work/du.lines"
    python3 - "$1" "$work/du.lines" <<'PYTHON'
import json, sys
entries = json.load(open(sys.argv[1]))
decoder, text, said = json.JSONDecoder(), open(sys.argv[2]).read(), []
while text.strip():
    found, end = decoder.raw_decode(text.strip())
    said.append(found)
    text = text.strip()[end:]
wrong = 0
for one in said:
    top = one["path"].rstrip("/") + "/"
    below = [e for e in entries if e["path"].startswith(top)]
    dirs = sum(e["kind"] == "dir" for e in below)
    # A link counts as a file without bytes.
    want = (len(below) - dirs, dirs, sum(e["size"] for e in below if e["kind"] == "file"))
    if (one["files"], one["dirs"], one["bytes"]) != want:
        wrong += 1
        print(f"{one['path']}: says {one['files'], one['dirs'], one['bytes']}, has {want}")
print(f"{len(said)} directories counted again")
sys.exit(1 if wrong or len(said) < 2 else 0)
PYTHON
}

check "up" up
[ "$failed" -eq 0 ] || exit 1

echo "-- attributes"
mkdir -p "$work/local/deep/er"
# A file of each mode, with times around all that a clock has ever been wrong about.
times=(1901-12-13T20:45:51.999999999Z 1965-03-01T12:00:00.123456789Z 1969-12-31T23:59:59.999999999Z
    1970-01-01T00:00:00Z 1970-01-01T00:00:00.000000001Z 2038-01-19T03:14:08.5Z 2262-04-11T23:00:00.000000007Z)
modes=(0400 0600 0640 0644 0700 0751 0777)
for i in "${!times[@]}"; do
    head -c $((i * 1500)) /dev/urandom >"$work/local/deep/$i"
    chmod "${modes[i]}" "$work/local/deep/$i"
    touch -d "${times[i]}" "$work/local/deep/$i"
done
head -c 300000 /dev/urandom >"$work/local/deep/er/chunked"
touch -d 1965-03-01T12:00:00.123456789Z "$work/local/deep/er/chunked"
check "files are stored" cloudsync put "$work/local" /a
json ls.json ls -R /a
check "with kind, size, mode and time to the nanosecond" same_attributes "$work/ls.json" "$work/local" /a
check "they come back" cloudsync get /a "$work/back"
check "with their content" diff -r "$work/local" "$work/back"

printf 'one' >"$work/f" && chmod 0640 "$work/f" && touch -d 1960-01-01T00:00:00.5Z "$work/f"
check "a version" cloudsync put "$work/f" /f
printf 'second' >"$work/f" && chmod 0755 "$work/f" && touch -d 2000-01-01T00:00:00.25Z "$work/f"
check "and another one" cloudsync put "$work/f" /f
check "an old version comes back as a new one" says "as version 3" cloudsync restore /f --version 1
json history.json history /f
check "versions are numbered 3, 2, 1" holds "$work/history.json" '[x["version"] for x in v] == [3, 2, 1]'
check "each says what it came from" holds "$work/history.json" '[x["base"] for x in v] == [2, 1, None]'
check "and has its own size and time" holds "$work/history.json" \
    '[(x["size"], x["modified_ns"]) for x in v[1:]] == [(6, 946684800250000000), (3, -315619199500000000)] and v[0]["size"] == 3'
check "what comes back is modified when it comes back" holds "$work/history.json" \
    'v[0]["modified_ns"] // 1_000_000 == v[0]["committed_ms"]'
json stat.json stat /f
check "and has its old mode" holds "$work/stat.json" \
    '(v["size"], v["mode"], v["executable"], v["version"]) == (3, "0640", False, 3)'
check "a copy of an old version" cloudsync cp --version 2 /f /copy
json copy.json stat /copy
check "has the attributes of that version, and is its own version 1" holds "$work/copy.json" \
    '(v["size"], v["mode"], v["executable"], v["modified_ns"], v["version"]) == (6, "0755", True, 946684800250000000, 1)'
check "a link" cloudsync ln $'../nowhere/\xc3\xa9 x' /a/link
json link.json stat /a/link
check "keeps its text" holds "$work/link.json" '(v["kind"], v["target"], v["version"]) == ("link", "../nowhere/\u00e9 x", 1)'
check "a rename over a file" cloudsync mv -f /copy /a/deep/1
json moved.json stat /a/deep/1
check "keeps everything but the path" holds "$work/moved.json" \
    "[v[k] for k in ('inode', 'mode', 'modified_ns', 'version', 'content')] == [w[k] for k in ('inode', 'mode', 'modified_ns', 'version', 'content')]$(
        printf ' if (w := json.load(open("%s"))) else False' "$work/copy.json")"
json trash.json trash list
check "what had the path is in the trash" holds "$work/trash.json" '(v[0]["path"], v[0]["size"]) == ("/a/deep/1", 1500)'
check "and comes back" cloudsync trash restore "$(value "$work/trash.json" 'v[0]["id"]')" /second
json second.json stat /second
check "with its attributes" holds "$work/second.json" \
    '(v["size"], v["mode"], v["modified_ns"], v["version"]) == (1500, "0600", -152625599876543211, 1)'
check "a file is removed and stays in the trash" cloudsync rm /a/deep/2
everything() { { cloudsync -o json ls -R / && cloudsync -o json trash list && cloudsync -o json history /f; } >"$work/$1"; }
everything before
check "the server stops" again INT 0
everything after
check "all of it is the same after a restart" cmp "$work/before" "$work/after"
check "the server is killed" again KILL 137
everything after
check "all of it is the same after that" cmp "$work/before" "$work/after"

echo "-- the journal"
cursor=$(head_of_journal)
printf 'x' >"$work/g"
tell() { printf '%s\n' "$1" >>"$work/told"; }
: >"$work/told"
{
    cloudsync mkdir /j && tell 'created /j dir'
    cloudsync put "$work/g" /j/g && tell 'created /j/g file'
    printf 'yz' >"$work/g" && cloudsync put "$work/g" /j/g && tell 'modified /j/g file'
    cloudsync ln there /j/l && tell 'created /j/l link'
    cloudsync cp /j/g /j/h && tell 'created /j/h file'
    cloudsync mv /j/h /j/i && tell 'moved /j/i file from /j/h'
} >"$work/acts" 2>&1
check "everything was done" test "$(wc -l <"$work/told")" -eq 6
# happened FILE: what a watch says, in the words of `tell`.
happened() { value "$1" '"\n".join(" ".join([r["action"], r["path"], r["kind"]] + (["from", r["from"]] if "from" in r else [])) for r in v)'; }
same_as_told() {
    changes "$1" now.json && happened "$work/now.json" | tail -n "$2" >"$work/happened"
    diff "$work/happened" <(tail -n "$2" "$work/told") && holds "$work/now.json" "[r['cursor'] for r in v] == list(range($1 + 1, $1 + 1 + $2))"
}
check "a watch from a position says exactly what happened" same_as_told "$cursor" 6
check "and from one in the middle" same_as_told $((cursor + 4)) 2
check "and from the newest nothing" same_as_told $((cursor + 6)) 0
cp "$work/now.json" "$work/empty.json"
changes "$cursor" first.json

# Somebody watches while the server goes away and comes back: whenever the watch ends, from the last line it printed.
follow() {
    local after=$1 watching
    trap 'kill "$watching" 2>/dev/null; exit' TERM
    while true; do
        "$bin" -o json watch --after "$after" >>"$work/live.out" 2>>"$work/live.err" &
        watching=$!
        wait "$watching"
        [ ! -s "$work/live.out" ] || after=$(tail -1 "$work/live.out" | python3 -c 'import json, sys; print(json.load(sys.stdin)["cursor"])')
        sleep 0.1
    done
}
: >"$work/live.out"
follow $((cursor + 3)) &
watch=$!
for ((i = 0; i < 300; i++)); do [ "$(wc -l <"$work/live.out")" -ge 3 ] && break; sleep 0.1; done
check "the server stops" again TERM 0
changes "$cursor" second.json
check "after a restart the journal is the same" cmp "$work/first.json" "$work/second.json"
{
    cloudsync mv -f /j/i /j/g && tell 'moved /j/g file from /j/i'
    cloudsync rm /j/g && tell 'removed /j/g file'
    cloudsync restore /j/g && tell 'restored /j/g file'
} >>"$work/acts" 2>&1
check "the server is killed" again KILL 137
{
    cloudsync put "$work/f" /j/last && tell 'created /j/last file'
} >>"$work/acts" 2>&1
check "from the same position everything, before and after" same_as_told "$cursor" 10
for ((i = 0; i < 300; i++)); do [ "$(wc -l <"$work/live.out")" -ge 7 ] && break; sleep 0.1; done
kill "$watch" 2>/dev/null
wait "$watch" 2>/dev/null
python3 -c 'import json, sys; print(json.dumps([json.loads(line) for line in sys.stdin]))' <"$work/live.out" >"$work/live.json"
check "who watched all the time saw the same, each change once" diff <(happened "$work/live.json") <(tail -n 7 "$work/told")
changes "$cursor" below.json /j/l
check "of a path only what concerns it" holds "$work/below.json" '[r["path"] for r in v] == ["/j", "/j/l"]'

echo "-- sums"
mkdir "$work/sums"
for i in {0..40}; do
    dir="$work/sums/$((i % 3))/$((i % 5))/$((i % 2))"
    mkdir -p "$dir" && head -c $((i * 97)) /dev/urandom >"$dir/$i"
done
check "a tree" cloudsync put "$work/sums" /s
{
    cloudsync mv /s/0/1 /s/2/moved && cloudsync rm -r /s/1/2 && cloudsync cp /s/2/moved/0/6 /s/1/copy &&
        cloudsync ln text /s/2/moved/link && cloudsync put "$work/f" /s/2/moved/0/6 && cloudsync mkdir -p /s/e/m/p/t/y
} >"$work/acts" 2>&1
check "is changed at many places" test $? -eq 0
json all.json ls -R /
check "every directory says what a listing of everything counts" recount "$work/all.json"
check "all copies have equal digests" cloudsync admin meta compare
check "the server is killed" again KILL 137
check "and counts the same" recount "$work/all.json"
python3 - "$work/all.json" "$work/wrong.json" <<'PYTHON'
import json, sys
entries = json.load(open(sys.argv[1]))
entries.remove(next(e for e in entries if e["kind"] == "file" and e["path"].count("/") > 3))
json.dump(entries, open(sys.argv[2], "w"))
PYTHON
check "a listing without one file does not agree" exits 1 recount "$work/wrong.json"

echo "-- sealing"
head -c 2000000 /dev/urandom >"$work/chunked"
head -c 3000 /dev/urandom >"$work/inline"
check "a file of chunks" cloudsync put "$work/chunked" /chunked
check "one that is inline" cloudsync put "$work/inline" /inline
check "the keys are rotated" cloudsync admin key rotate
json keys.json admin key list
check "there is an old key and a new one" holds "$work/keys.json" \
    'sorted(k["state"] for k in v["keys"] if k["tenant"] == 1) == ["current", "old"]'
head -c 700000 /dev/urandom >"$work/chunked2"
head -c 4000 /dev/urandom >"$work/inline2"
check "a file of chunks under the new key" cloudsync put "$work/chunked2" /chunked2
check "one that is inline" cloudsync put "$work/inline2" /inline2
reads() {
    local name
    for name in "$@"; do cloudsync cat "/$name" | cmp - "$work/$name" || return; done
}
check "old and new ones read" reads chunked inline chunked2 inline2
check "also after a restart" again INT 0
check "old and new ones read" reads chunked inline chunked2 inline2
plain() { scripts/plain.py "$@" "$work/chunked" "$work/inline" "$work/chunked2" "$work/inline2"; }
check "no 16 bytes of them are anywhere in the data directory" plain "$work/data"
scripts/plain.py "$work/data" "$work/chunked" | head -1 | sed 's/^/      /'
# The search must be able to find: 16 bytes of each, at a place that fits nothing, at the end of a large file.
for name in chunked inline; do
    mkdir "$work/planted"
    head -c 20000001 /dev/urandom >"$work/planted/file"
    tail -c +1236 "$work/$name" | head -c 16 >>"$work/planted/file"
    head -c 3 /dev/urandom >>"$work/planted/file"
    check "16 bytes of the $name one that were planted are found" exits 1 plain "$work/planted"
    truncate -s -4 "$work/planted/file"
    check "15 are not" plain "$work/planted"
    rm -r "$work/planted"
done

check "keys are not destroyed by mistake" exits 4 cloudsync admin key destroy 1
check "they are with --yes" cloudsync admin key destroy 1 --yes
# Nodes forget them within a minute; what they have forgotten they do not learn again.
forgotten() { for ((i = 0; i < 75; i++)); do says "$1" cloudsync cat "$2" && return; sleep 1; done >/dev/null; says "$1" cloudsync cat "$2"; }
old=$(value "$work/keys.json" '[k["key"] for k in v["keys"] if k["tenant"] == 1 and k["state"] == "old"][0]')
new=$(value "$work/keys.json" '[k["key"] for k in v["keys"] if k["tenant"] == 1 and k["state"] == "current"][0]')
check "an inline file names the key that is gone" forgotten "key $old of tenant 1 was destroyed" /inline
check "so does one of the other key" forgotten "key $new of tenant 1 was destroyed" /inline2
check "so does one of chunks" forgotten "key $old of tenant 1 was destroyed" /chunked
check "and that is an error" exits 1 cloudsync cat /inline
check "names and attributes are still there" cloudsync stat /inline
check "the server stops" stop INT 0

if [ "$SEEDS" -gt 0 ]; then
    echo "-- the box"
    cargo_target=${CARGO_TARGET_DIR:-${CLOUDSYNC_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/cloudsync}/target}
    export CARGO_TARGET_DIR=$cargo_target ROCKSDB_STATIC=1 PATH="$PATH:$HOME/.cargo/bin"
    ROCKSDB_LIB_DIR=${ROCKSDB_LIB_DIR:-$(scripts/rocksdb.sh)}
    export ROCKSDB_LIB_DIR
    check "the box is built" cargo build --release --locked --quiet --package sim
    check "$SEEDS seeds keep all promises, for followers from random moments too" "$cargo_target/release/sim" batch --seeds "$SEEDS"
fi
sum_up
