#!/usr/bin/env bash
# Freezes a data directory of the formats as they are now, for every later version to open (docs/formats/README.md):
#
#   scripts/freeze.sh take NAME [DIR]      writes DIR/NAME.tar.xz and DIR/NAME.json; DIR is `frozen` unless given
#
# In it: files, inline and of chunks, in several versions, from before 1970 too; directories, links, copies; the trash;
# namespaces, one of them split off; keys that were rotated. NAME.json says what must be read back.
set -euo pipefail
cd "$(dirname "$0")/.."
usage() { sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p}' "$0" >&2; exit 2; }
[ $# -ge 2 ] && [ "$1" = take ] || usage
name=$2
[[ "$name" =~ ^[A-Za-z0-9._-]+$ ]] || usage
mkdir -p "${3:-frozen}"
target=$(realpath "${3:-frozen}")/$name
[ ! -e "$target.tar.xz" ] || { echo "$target.tar.xz is there: what was frozen stays as it is" >&2; exit 1; }

here=$PWD
source scripts/frozen.sh
listen=127.$((RANDOM % 200 + 50)).$((RANDOM % 250 + 1)).$((RANDOM % 250 + 1)):7400
work=$(mktemp -d)
trap 'end_server; rm -rf "$work"' EXIT
cd "$work"
quietly() { "$@" >>said 2>&1 || { cat said >&2; return 1; }; }

# put PATH SIZE [TIME]: stores a new file of that size, and notes what it is.
declare -A next=()
: >versions
put() {
    head -c "$2" /dev/urandom >file
    chmod "${mode:-0644}" file
    touch -d "${3:-2026-01-02T03:04:05.678901234Z}" file
    quietly cloudsync --namespace "${namespace:-home}" put file "$1"
    next[$1]=$((${next[$1]:-0} + 1))
    printf '%s\t%s\t%s\t%s\n' "${namespace:-home}" "$1" "${next[$1]}" "$(sha256sum file | cut -d' ' -f1)" >>versions
}

quietly start
quietly cloudsync mkdir -p /dir/below/deep
put /inline 1000
put /empty 0
mode=0751 put /dir/old 3000 1965-03-01T12:00:00.123456789Z
put /dir/chunked 120000
put /dir/versions 90000
put /dir/versions 500
put /dir/below/gone 2000
quietly cloudsync admin key rotate
put /dir/versions 100000 1969-12-31T23:59:59.999999999Z
put /after-rotation 70000
put /dir/below/replaced 700
quietly cloudsync ln ../inline /dir/link
quietly cloudsync cp /dir/old /dir/below/copy
quietly cloudsync mv /after-rotation /dir/below/deep/moved
quietly cloudsync mv -f /dir/below/copy /dir/below/replaced
quietly cloudsync rm /dir/below/gone
quietly cloudsync mkdir /split
put /split/file 60000
quietly cloudsync admin namespace split /split
quietly cloudsync admin namespace create team --owner user/ann
namespace=team put /theirs 4000
quietly cloudsync mkdir -p /removed/with
put /removed/with/content 1500
quietly cloudsync rm -r /removed
"$here/scripts/frozen.py" describe "$bin" >described
quietly stop INT 0

# Versions of what is still at the path where it was stored.
python3 - described versions "$name" "$listen" "$("$bin" --version)" >"$target.json.new" <<'PYTHON'
import json, sys
described, versions, name, listen, by = sys.argv[1:]
manifest = json.load(open(described))
manifest.update({"name": name, "listen": listen, "made_by": by, "versions": {}})
for line in open(versions):
    namespace, path, number, digest = line.rstrip("\n").split("\t")
    if path in manifest["trees"][namespace]["history"]:
        manifest["versions"].setdefault(namespace, {}).setdefault(path, {})[number] = digest
# What took another's place has versions of its own.
manifest["versions"]["home"].pop("/dir/below/replaced", None)
print(json.dumps(manifest, indent=1, sort_keys=True))
PYTHON
"$here/scripts/frozen.py" pack data "$target.tar.xz.new"
mv "$target.json.new" "$target.json"
mv "$target.tar.xz.new" "$target.tar.xz"
echo "$target.tar.xz: $(stat -c %s "$target.tar.xz") bytes; $target.json: $(stat -c %s "$target.json") bytes"
