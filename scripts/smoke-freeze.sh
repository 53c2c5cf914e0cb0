#!/usr/bin/env bash
# Every data directory that was ever frozen is opened by this build: everything in it reads as it was, more is written and
# read, and all is there after a restart. When none is frozen, one is taken now, so that the way is always gone.
set -uo pipefail
cd "$(dirname "$0")/.."
source scripts/checks.sh
source scripts/frozen.sh
here=$PWD
work=${WORK:-$(mktemp -d)}
mkdir -p "$work"
trap 'end_server; [ -n "${WORK:-}" ] || rm -rf "$work"' EXIT
ASPECTS=(entries totals history contents trash journal namespaces keys)

describe() { "$here/scripts/frozen.py" describe "$bin" >"$1"; }
same() { "$here/scripts/frozen.py" same "$@"; }

# opens ARCHIVE: all checks on one frozen directory.
opens() {
    local manifest=${1%.tar.xz}.json name aspect
    name=$(basename "${1%.tar.xz}")
    echo "-- $name"
    mkdir "$work/$name" && cd "$work/$name" || exit 1
    check "$name has a manifest" test -s "$manifest"
    check "$name is unpacked" "$here/scripts/frozen.py" unpack "$1" .
    listen=$(value "$manifest" 'v["listen"]')
    # Its address is one, so two gates on one machine open it in turns.
    exec 8>"${TMPDIR:-/tmp}/cloudsync-frozen-$listen.lock"
    check "nobody else has it open" flock --wait 300 8
    check "this build starts on it" start
    [ -n "$server" ] && kill -0 "$server" 2>/dev/null || return
    check "and describes it" describe opened.json
    for aspect in "${ASPECTS[@]}"; do
        check "its $aspect are what they were" same "$manifest" opened.json "$aspect"
    done
    check "every version of every file reads as it was" "$here/scripts/frozen.py" contents "$bin" "$manifest" /new/copies

    head -c 150000 /dev/urandom >chunked
    head -c 2500 /dev/urandom >inline
    local file first
    file=$(value "$manifest" 'next(p for p, e in sorted(v["trees"]["home"]["entries"].items()) if e["kind"] == "file")')
    first=$(value "$manifest" 'next(i for i in sorted(v["trees"]["home"]["trash"], key=int))')
    check "new files are stored" cloudsync put chunked /new/chunked
    check "also inline" cloudsync put inline /new/inline
    check "an old file gets a new version" cloudsync put inline "$file"
    check "something comes back from the old trash" cloudsync trash restore "$first" /new/back
    check "keys are rotated" cloudsync admin key rotate
    check "a file under the new key" cloudsync put chunked /new/again
    check "what was new is described" describe written.json
    check "the old journal is the beginning of the new one" same "$manifest" written.json journal
    check "Ctrl-C" stop INT 0
    check "and up again" start
    check "all of it is described again" describe after.json
    for aspect in "${ASPECTS[@]}"; do
        check "its $aspect are the same after a restart" same written.json after.json "$aspect"
    done
    check "the new file reads" bash -c "'$bin' cat /new/chunked | cmp - chunked"
    check "so does the old one's new version" bash -c "'$bin' cat '$file' | cmp - inline"
    check "a healthy cluster" exits 0 cloudsync admin cluster status
    check "and stops" stop INT 0
    exec 8>&-
    cd "$here" || exit 1
}

shopt -s nullglob
archives=("$here"/frozen/*.tar.xz)
if [ ${#archives[@]} -eq 0 ]; then
    check "nothing is frozen yet: one is taken now" scripts/freeze.sh take now "$work/frozen"
    archives=("$work"/frozen/*.tar.xz)
fi
check "there is something to open" test ${#archives[@]} -gt 0
for archive in "${archives[@]}"; do
    opens "$archive"
    cd "$here" || exit 1
done
sum_up
