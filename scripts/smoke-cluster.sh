#!/usr/bin/env bash
# A real cluster, a real tree, and nodes that are killed while it is stored: eight processes in three zones, 4+2.
#
#   scripts/smoke-cluster.sh          a generated tree of about 60 MB and 1,500 files; part of `make test`
#   scripts/smoke-cluster.sh DIR      a given tree, and a 1 GiB file; also holds the cluster to its times
#
# WORK names the directory to work in, which is then kept. The checks are those of the acceptance of the first version:
# kills in the middle of a put, get with nodes down, deduplication, and all nodes killed at once.
set -uo pipefail
cd "$(dirname "$0")/.."
source scripts/checks.sh

tree=${1:-}
bin=$(scripts/binary.sh) || exit 1
work=${WORK:-$(mktemp -d)}
mkdir -p "$work"
export CLOUDSYNC_CREDENTIALS="$work/cluster/admin.cred"
writer=
cloudsync() { "$bin" "$@"; }
dev() { "$bin" dev cluster --dir "$work/cluster" "$@"; }

finish() {
    [ -z "$writer" ] || kill "$writer" 2>/dev/null
    dev down >/dev/null 2>&1
    [ -n "${WORK:-}" ] || rm -rf "$work"
}
trap finish EXIT

if [ -n "$tree" ]; then
    large_size=$((1 << 30))
    gap_ms_max=5000
else
    # On a machine that runs other tests at the same time, only "not forever" can be asked for.
    large_size=$((20 << 20))
    gap_ms_max=30000
    tree="$work/tree"
    python3 - "$tree" <<'PYTHON'
import os, random, sys
random.seed(7)
sizes = [0, 1, 300, 5_000, 9_000, 20_000, 40_000, 70_000]
for i in range(1500):
    place = os.path.join(sys.argv[1], f"a{i % 23}", f"ä {i % 4}")
    os.makedirs(place, exist_ok=True)
    with open(os.path.join(place, f"file {i}"), "wb") as f:
        f.write(random.randbytes(2_000_000 if i % 100 == 0 else sizes[i % len(sizes)]))
PYTHON
fi
tree_bytes=$(find "$tree" -type f -printf '%s\n' | awk '{ sum += $1 } END { printf "%d", sum }')
echo "tree: $(find "$tree" -type f | wc -l) files, $tree_bytes bytes"

# Bytes on the disks of all nodes.
stored() { find "$work"/cluster/node*/disk1 -type f -printf '%s\n' 2>/dev/null | awk '{ sum += $1 } END { printf "%d", sum }'; }

# Waits until the running put has filled disks with this many percent of the tree's bytes; false when it ended before.
# The whole tree takes 1.5 times its bytes, or half of them when it compresses well.
reached() {
    local target=$((stored_before + tree_bytes / 100 * $1))
    until [ "$(stored)" -ge "$target" ]; do
        kill -0 "$put" 2>/dev/null || { echo "the put had already ended"; return 1; }
        sleep 0.02
    done
}

# Stores one small file after another and notes when each was stored.
write_on() {
    local i=0
    while :; do
        i=$((i + 1))
        head -c 5000 /dev/urandom >"$work/probe"
        cloudsync put "$work/probe" "/probe/$((i % 50))" >/dev/null 2>>"$work/writer.errors" && date +%s%3N >>"$work/writer.times"
    done
}

# The longest time between two writes, in milliseconds.
longest_gap() { awk 'NR > 1 && $1 - last > gap { gap = $1 - last } { last = $1 } END { print gap + 0 }' "$work/writer.times"; }

check "eight nodes in three zones start" dev up --nodes 8 --zones 3 --profile 4+2
check "starting them again finds them up" says "already up" dev up
check "a healthy cluster: exit code 0" exits 0 cloudsync admin cluster status
cloudsync mkdir /probe

# Nodes without metadata: only meta nodes vote.
victims=(5 7)
write_on &
writer=$!
stored_before=$(stored)
cloudsync put "$tree" /tree -o json >"$work/put1.json" 2>"$work/put1.errors" &
put=$!
check "a part of it is stored" reached 10
check "two block nodes are killed with -9" dev kill "${victims[@]}"
check "the put continues without them" reached 25
leader=$(dev leader)
check "node $leader, which leads the namespace, is killed with -9" dev kill "$leader"
check "in the middle of the put" kill -0 "$put"
wait "$put"
put_code=$?
check "the put completes" test "$put_code" -eq 0
check "nothing was left out" holds "$work/put1.json" 'v["failures"] == []'
[ "$put_code" -eq 0 ] || cat "$work/put1.errors"
echo "      it took $(value "$work/put1.json" 'v["seconds"]') s"
kill "$writer" && wait "$writer" 2>/dev/null
writer=
echo "      longest time without a finished write: $(longest_gap) ms"
check "other writes continued" test "$(wc -l <"$work/writer.times")" -ge 5
check "and never waited longer than $gap_ms_max ms" test "$(longest_gap)" -le "$gap_ms_max"

check "the leader starts again" dev restart "$leader"
check "a cluster without two nodes: exit code 3" exits 3 cloudsync admin cluster status
check "node list says so too" exits 3 cloudsync admin node list
check "get with two nodes down" cloudsync get /tree "$work/out1"
check "the tree is equal" diff -r "$tree" "$work/out1"

cloudsync du -o json >"$work/du1.json"
check "the same tree under another name" bash -c "'$bin' put '$tree' /again -o json >'$work/put2.json'"
cloudsync du -o json >"$work/du2.json"
echo "      sent $(value "$work/put2.json" 'v["bytes_sent"]') of $tree_bytes bytes"
check "sends less than 1 % of its bytes" holds "$work/put2.json" 'v["bytes_sent"] < v["bytes"] / 100'
check "the unique bytes did not grow" test "$(value "$work/du1.json" 'v["cluster"]["unique_bytes"]')" = "$(value "$work/du2.json" 'v["cluster"]["unique_bytes"]')"
check "the bytes on disk did not grow" test "$(value "$work/du1.json" 'v["cluster"]["disk_bytes"]')" = "$(value "$work/du2.json" 'v["cluster"]["disk_bytes"]')"
check "the logical bytes did" holds "$work/du2.json" "v['bytes'] >= 2 * $tree_bytes"

head -c "$large_size" /dev/urandom >"$work/large"
check "a large file" cloudsync put "$work/large" /large
python3 - "$work/large" <<'PYTHON'
import os, sys
with open(sys.argv[1], "r+b") as f:
    f.seek(os.path.getsize(sys.argv[1]) // 3)
    byte = f.read(1)
    f.seek(-1, os.SEEK_CUR)
    f.write(bytes([byte[0] ^ 1]))
PYTHON
check "the same with one byte changed" bash -c "'$bin' put '$work/large' /large -o json >'$work/put3.json'"
echo "      sent $(value "$work/put3.json" 'v["bytes_sent"]') of $large_size bytes"
check "sends 4 MiB or less" holds "$work/put3.json" 'v["bytes_sent"] <= 4 << 20'

check "all nodes are killed with -9 at once" dev kill 1 2 3 4 5 6 7 8
check "without them commands fail, and fail soon" exits 1 timeout 30 "$bin" --timeout 5 ls /
check "all start again" dev up
# What was written while nodes were down goes home first.
healthy() { local i; for ((i = 0; i < 60; i++)); do cloudsync admin cluster status && return; sleep 1; done; return 1; }
check "the cluster is healthy" healthy
check "get after that" cloudsync get /tree "$work/out2"
check "the tree is still equal" diff -r "$tree" "$work/out2"
check "and its copy" cloudsync get /again "$work/out3"
check "is equal too" diff -r "$tree" "$work/out3"
check "the large file is the changed one" bash -c "'$bin' cat /large | cmp - '$work/large'"
# Without a quorum nothing old is shown to who did not ask for it.
cloudsync -o json admin cluster status >"$work/status.json"
mapfile -t voters < <(value "$work/status.json" '"\n".join(map(str, v["partitions"][0]["voters"]))')
check "two of ${#voters[@]} voters are killed" dev kill "${voters[0]}" "${voters[1]}"
# Nobody can have been elected before its lease ends, so what a leader knows is the newest until then: a quarter second.
lapses() {
    local deadline=$((SECONDS + 3))
    while "$bin" --timeout 5 ls / >/dev/null 2>&1; do [ "$SECONDS" -lt "$deadline" ] || return; done
}
check "a leader among those left stops answering" lapses
check "a read fails, and fails soon" exits 1 timeout 15 "$bin" ls /
check "and says why" says "no leader of partition" "$bin" ls /
check "who accepts an old answer is given one" bash -c "'$bin' ls / --stale-ok -o json >'$work/stale.json' 2>'$work/stale.err'"
check "which is marked" holds "$work/stale.json" 'len(v) >= 3 and all(e["stale"] for e in v)'
check "and announced" grep -q "no leader answers: this is what a replica has, and may be old" "$work/stale.err"
check "they start again" dev restart "${voters[0]}" "${voters[1]}"
check "a read is answered again" says "tree" "$bin" ls /

# Who gets in, and who does not any more (docs/ops/certificates.md). Without a profile: nobody of these is ever started.
spare() {
    local ports
    read -ra ports < <(python3 -c 'import socket
held = [socket.socket() for _ in range(2)]
for s in held: s.bind(("127.0.0.1", 0))
print(*[s.getsockname()[1] for s in held])')
    mkdir -p "$work/$1/disk1"
    printf 'data = "%s"\nzone = "zone1"\nroles = [%s]\nnative = "127.0.0.1:%s"\ncontrol = "127.0.0.1:%s"\nadmin = "off"\ndisks = ["%s"]\n' \
        "$work/$1/data" "$2" "${ports[@]}" "$work/$1/disk1" >"$work/$1.toml"
}
join_as() { cloudsync join --config "$work/$1.toml" --token "$2"; }
spare one '"block"'
spare two '"block"'
spare meta '"meta", "block"'
token=$(cloudsync admin token create)
check "a token for storage lets no meta node in" says "role meta" join_as meta "$token"
check "it lets one node in" join_as one "$token"
check "and no second one" says "was used already" join_as two "$token"
check "the list says so" says "1/1" cloudsync admin token list
second=$(cloudsync -o json admin token create | python3 -c 'import json, sys; v = json.load(sys.stdin); print(v["id"], v["token"])')
check "a token can be revoked" cloudsync admin token revoke "${second% *}"
check "and lets nobody in then" says "was revoked" join_as two "${second#* }"
check "certificates are listed" says "node/8" cloudsync admin cert list
check "the last administrator stays" exits 4 cloudsync admin cert revoke admin
check "there can be another" cloudsync admin cert issue bob --out "$work/bob.cred"
check "who may do as much" says "admin/bob" "$bin" --credentials "$work/bob.cred" admin cert list
check "and revoke the first" "$bin" --credentials "$work/bob.cred" admin cert revoke admin
refused_soon() {
    local deadline=$((SECONDS + 10))
    until says "was revoked" "$bin" --timeout 5 ls /; do [ "$SECONDS" -lt "$deadline" ] || return; sleep 0.2; done
}
check "who is turned away, and is told why" refused_soon
check "a node can be turned away" "$bin" --credentials "$work/bob.cred" admin cert revoke node/8
# Its exit code says only that something is not as it should be: the spare node never started.
node_8_is() { grep -E "^ *8 .* $1 " <<<"$("$bin" --credentials "$work/bob.cred" admin node list)"; }
until_so() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do [ "$SECONDS" -lt "$deadline" ] || return; sleep 0.2; done
}
check "nobody hears it any more" until_so 30 node_8_is down
dev kill 8
renewal=$("$bin" --credentials "$work/bob.cred" admin token create --renew 8)
check "a token brings it back" cloudsync renew --config "$(ls "$work"/cluster/node8/*.toml)" --token "$renewal"
dev restart 8
check "and it is up again" until_so 60 node_8_is up

check "all nodes stop when asked" dev down
sum_up
