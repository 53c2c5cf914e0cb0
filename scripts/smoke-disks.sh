#!/usr/bin/env bash
# Disks that are not what they were, at a start and while the node runs: the node runs with those it has, says what is wrong
# with the others, formats nothing that is not new, and takes back what returns. The long form is accept-disks.sh.
set -uo pipefail
cd "$(dirname "$0")/.."
source scripts/checks.sh
source scripts/server.sh
source scripts/disk-faults.sh

check "up with eight disks" start --disks 8
check "it is healthy at once: all disks were named together" whole 20
check "files are stored" fill_up
check "it stops" stop TERM 0
check "fewer disks than it has are refused" says "this cluster has 8 disks" cloudsync up --data "$home/data" --listen "$listen" --disks 6
check "a plain up starts" start
check "with all eight" until_disks 20 "len(v) == 8 and all(d['state'] == 'healthy' for d in v)"
check "exit code 0" exits 0 cloudsync admin disk list
check "it stops" stop TERM 0

mv "$(dir 3)" "$work/three"
mv "$(dir 6)" "$work/six"
mkdir "$(dir 6)"
swap "$(dir 4)" "$(dir 5)"
check "one disk is gone, one directory is empty, two are exchanged: it starts" start
check "the first is missing" disk_is 3 missing "is not there: mount it"
check "the second is missing" disk_is 6 missing "is empty: mount it"
check "the other six serve" until_disks 20 "len([d for d in v if d['state'] == 'healthy']) == 6"
check "the list: exit code 3" exits 3 cloudsync admin disk list
check "the status: exit code 3" exits 3 cloudsync admin cluster status
check "it names both" problem "disk3 is missing"
check "all files are there" files_there
check "a put works" puts a
check "nothing was formatted in the empty directory" is_empty "$(dir 6)"
mv "$work/three" "$(dir 3)"
rmdir "$(dir 6)"
mv "$work/six" "$(dir 6)"
check "both come back: they serve without a restart" until_disks 30 "all(d['state'] == 'healthy' for d in v)"
check "and the cluster is whole" whole 60

mv "$(dir 2)" "$work/two"
check "a disk vanishes while it runs: it is missing" disk_is 2 missing
check "all files are there" files_there
lost=$(id 2)
check "taking it out is refused while data counts on it" exits 4 cloudsync admin disk remove-lost "$lost" --yes
check "with --force the plan is shown first" exits 4 cloudsync admin disk remove-lost "$lost" --force
check "and with --yes it is done" cloudsync admin disk remove-lost "$lost" --force --yes
check "the node forgets it" until_disks 20 "len(v) == 7"
check "what it had goes to others" whole 120
check "heal status says so: exit code 0" exits 0 cloudsync admin heal status
check "and what was made" bash -c "'$bin' admin heal status -o json | python3 -c 'import json, sys; sys.exit(sum(d[\"made\"] for d in json.load(sys.stdin)[\"disks\"]) == 0)'"
mv "$work/two" "$(dir 2)"
check "it returns: it is named and left alone" problem "was removed from the cluster: wipe it"
rm -rf "$(dir 2)"
mkdir "$(dir 2)"
check "emptied: it is named and left alone" problem "is empty, and a disk was here"
check "and empty" is_empty "$(dir 2)"
check "given to the node: it is a new disk" cloudsync admin disk adopt "$(dir 2)"
check "the cluster is whole" whole 120
mkdir "$work/extra"
check "a directory that no configuration names is a disk, too" cloudsync admin disk adopt "$work/extra"
check "a directory that is not there is none" exits 1 cloudsync admin disk adopt "$work/nothing"
check "a directory with other things is none" exits 1 cloudsync admin disk adopt "$work/base"
check "the cluster is whole" whole 120
check "it stops" stop TERM 0
check "and starts" start
check "with nine disks" until_disks 20 "len(v) == 9 and all(d['state'] == 'healthy' for d in v)"

fault "1 any hang"
check "a disk hangs: the others serve" files_there
check "a put works" puts b
check "it is said to have failed" disk_is 1 failed "does not answer"
fault
check "it answers again: it serves again" disk_is 1 healthy
fault "7/seg read EIO" "8/seg read flip"
check "a disk cannot be read and another one lies: all files are there" files_there
fault
check "what was lost is made again" whole 120
check "nothing is lost" says "nothing is lost" cloudsync admin lost list
check "and that is exit code 0" exits 0 cloudsync admin lost list
check "nobody panicked" no_panic
check "SIGTERM stops it, exit code 0" stop TERM 0
sum_up
