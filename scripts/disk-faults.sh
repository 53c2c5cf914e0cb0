# Sourced by the scripts that break disks of a cluster of one node: what the cluster says of them, and what is done to them.
# `work`, `home` and `cloudsync` are those of scripts/server.sh.
# shellcheck shell=bash

rules=$work/rules
: >"$rules"
export CLOUDSYNC_DISK_FAULTS=$rules

dir() { echo "$home/data/disk$1"; }

# disks: what the cluster says of all disks, in a file.
disks() { cloudsync --timeout 5 admin disk list -o json >"$work/disks.json" 2>"$work/disks.err"; }
# id DISK: the number under which the cluster knows the disk in data/diskN.
id() { value "$work/disks.json" "[d['id'] for d in v if d['path'] == '$(dir "$1")'][0]"; }

# until_disks SECONDS EXPRESSION: waits until the expression is true for the list.
until_disks() {
    local deadline=$((SECONDS + $1))
    until disks; [ "$(value "$work/disks.json" "$2" 2>/dev/null)" = True ]; do
        [ "$SECONDS" -lt "$deadline" ] || { echo "not so: $2"; cat "$work/disks.err"; cloudsync admin disk list; tail -5 "$home/up.log"; return 1; }
        sleep 0.2
    done
}
# disk_is DISK STATE [TEXT]: waits until the disk is said to be in that state, for that reason.
disk_is() { until_disks 30 "any(d['path'] == '$(dir "$1")' and d['state'] == '$2' and '''${3:-}''' in d['problem'] for d in v)"; }

# whole [SECONDS]: waits until nothing is wrong any more.
whole() {
    local deadline=$((SECONDS + ${1:-120}))
    until cloudsync --timeout 5 admin cluster status >"$work/status.out" 2>&1 && cloudsync admin disk list >/dev/null; do
        [ "$SECONDS" -lt "$deadline" ] || { cat "$work/status.out"; cloudsync admin disk list; return 1; }
        sleep 0.3
    done
}
# problem TEXT [SECONDS]: waits until the status says this.
problem() {
    local deadline=$((SECONDS + ${2:-30}))
    until says "$1" cloudsync --timeout 5 admin cluster status >/dev/null; do
        [ "$SECONDS" -lt "$deadline" ] || { says "$1" cloudsync admin cluster status; return 1; }
        sleep 0.3
    done
}

# fault RULE…: from now on these rules hold, and no others. A rule is DISK[/BELOW] OPERATION FAULT…
fault() {
    local rule
    for rule in "$@"; do echo "$home/data/disk$rule"; done >"$rules.new"
    mv "$rules.new" "$rules"
}

# fill_up: files to find again.
fill_up() {
    local i
    mkdir "$work/base"
    for ((i = 0; i < 20; i++)); do head -c $((i * i * 12000)) /dev/urandom >"$work/base/$i"; done
    cloudsync put "$work/base" /base
}
files_there() {
    rm -rf "$work/out"
    cloudsync --timeout 20 get /base "$work/out" && diff -r "$work/base" "$work/out"
}
puts() {
    head -c 900000 /dev/urandom >"$work/new"
    cloudsync --timeout 20 put "$work/new" "/new$1" && cloudsync cat "/new$1" | cmp - "$work/new"
}
is_empty() { [ -d "$1" ] && [ -z "$(ls -A "$1")" ]; }
swap() {
    mv "$1" "$1.other"
    mv "$2" "$1"
    mv "$1.other" "$2"
}
garble() { head -c 80 /dev/urandom | tee "$1/SUPER.a" >"$1/SUPER.b"; }
no_panic() { ! grep "panicked" "$home/up.log"; }
