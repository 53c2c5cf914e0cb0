//! Goal: what counts as degraded, missing and leading. Method: statuses of small clusters, changed by hand.

use std::collections::BTreeSet;

use proto::cluster::{Heartbeat, PartitionReport};
use proto::map::{DiskState, ROOT};
use types::limits::REPLICA_BEHIND_MS_MAX;
use types::{PartitionId, ReplicaId};

use super::*;
use crate::testing::{report, status};

#[track_caller]
fn check(status: &ClusterStatus, want: &[&str]) {
    let health = Health::of(status);
    assert_eq!(health.problems, want);
    assert_eq!(health.is_good(), want.is_empty());
}

#[test]
fn all_is_well() {
    check(&status(3), &[]);
    assert_eq!(Health::of(&status(3)).notes, [""; 0]);
}

#[test]
fn nodes_that_are_down() {
    let mut status = status(2);
    status.map.nodes.get_mut(&NodeId(2)).unwrap().up = false;
    status.nodes.get_mut(&NodeId(2)).unwrap().silent_ms = Some(61_500);
    check(&status, &["node 2 (zone2, 127.0.0.1:7404) is down: silent for 61 s"]);
    status.nodes.remove(&NodeId(2));
    let want = "node 2 (zone2, 127.0.0.1:7404) is down: not heard from since the leader started listening";
    check(&status, &[want]);
}

#[test]
fn disks_that_are_broken() {
    let mut status = status(2);
    last(&mut status, 1).disks.clear();
    status.map.disks.get_mut(&DiskId(1)).unwrap().state = DiskState::Missing;
    check(&status, &["disk 1 of node 1 is missing"]);
    let mut say = |state, problem: &str| {
        status.map.disks.get_mut(&DiskId(1)).unwrap().state = state;
        let report = client_report(state, problem);
        last(&mut status, 1).disks.insert(DiskId(1), report);
        status.clone()
    };
    check(&say(DiskState::ReadOnly, ""), &["disk 1 of node 1 in /mnt/1 is read-only"]);
    check(&say(DiskState::Healthy, "is filthy"), &["disk 1 of node 1 in /mnt/1 is filthy"]);
    let missing = "disk 1 of node 1 in /mnt/1 is missing: its directory is empty";
    let mut status = say(DiskState::Missing, "its directory is empty");
    check(&status, &[missing]);
    for (ms, want) in [(30_000, "30 s"), (0, "0 s"), (500_500, "9 min")] {
        status.waits_ms.insert(DiskId(1), ms);
        check(&status, &[&format!("{missing}; waited for {want} more")]);
    }
    status.map.disks.get_mut(&DiskId(1)).unwrap().is_out = true;
    check(&status, &[&format!("{missing}; out: what it had goes to others")]);
}

fn client_report(state: DiskState, problem: &str) -> proto::cluster::DiskReport {
    let (problem, path) = (problem.to_owned(), "/mnt/1".to_owned());
    proto::cluster::DiskReport { state, problem, path, ..Default::default() }
}

#[test]
fn directories_that_are_no_disk() {
    let mut status = status(2);
    last(&mut status, 2).disk_problems = vec!["/mnt/x: belongs to another cluster".to_owned()];
    check(&status, &["node 2: /mnt/x: belongs to another cluster"]);
}

#[test]
fn disks_of_nodes_that_are_down_are_waited_for_together() {
    let mut status = status(3);
    status.map.nodes.get_mut(&NodeId(2)).unwrap().up = false;
    status.waits_ms.insert(DiskId(2), 90_000);
    let node = "node 2 (zone2, 127.0.0.1:7404) is down: silent for 0 s; its disks are";
    check(&status, &[&format!("{node} waited for 90 s more")]);
    status.map.disks.get_mut(&DiskId(2)).unwrap().is_out = true;
    check(&status, &[&format!("{node} out: what it had goes to others")]);
}

#[test]
fn a_storm_is_no_failure() {
    let mut status = status(4);
    for disk in [1, 2, 3] {
        status.map.disks.get_mut(&DiskId(disk)).unwrap().state = DiskState::Missing;
    }
    let health = Health::of(&status);
    let storm =
        "repair waits: 3 disks in 3 nodes are away at once, which looks like a mistake; bring them back";
    assert!(health.problems.iter().any(|problem| problem.starts_with(storm)), "{:?}", health.problems);
    assert!(health.problems[0].ends_with("is missing: waited for"), "{:?}", health.problems);
}

#[test]
fn chunks_that_are_not_whole() {
    let judge = |displaced, thin, lost| {
        let mut health = Health::default();
        health.judge_chunks(&IndexStats { displaced, thin, lost, ..IndexStats::default() });
        (health.problems, health.notes)
    };
    assert_eq!(judge(0, 0, 0), (vec![], vec![]));
    let (problems, notes) = judge(5, 2, 1);
    assert!(problems[0].starts_with("1 chunk cannot be read: `cloudsync admin lost list`"), "{problems:?}");
    assert_eq!(problems[1], "2 chunks being given back parts that are lost");
    assert_eq!(notes, ["3 chunks with parts on other disks than their own: they go home by and by"]);
}

#[test]
fn clocks_that_are_apart() {
    let mut status = status(4);
    status.nodes.get_mut(&NodeId(2)).unwrap().ahead_ms = CLOCK_APART_MS_MAX;
    check(&status, &[]);
    status.nodes.get_mut(&NodeId(2)).unwrap().ahead_ms = -10_800_000;
    let of = |id, how| {
        format!("the clock of node {id} is {how} the others: set it, or what it is asked may be refused")
    };
    check(&status, &[&of(2, "10800 s behind")]);
    // When the one that was asked is wrong it is the only one that agrees with itself.
    for id in [1, 2, 3] {
        status.nodes.get_mut(&NodeId(id)).unwrap().ahead_ms = 60_000;
    }
    status.nodes.get_mut(&NodeId(4)).unwrap().ahead_ms = 0;
    check(&status, &[&of(4, "60 s behind")]);
}

#[test]
fn metadata_that_is_not_well() {
    let mut status = status(2);
    let last = status.nodes.get_mut(&NodeId(2)).unwrap().last.as_mut().unwrap();
    last.store_problem = "is closed: its log is gone".to_owned();
    last.partitions[0].problem = "I/O error".to_owned();
    let store = "the metadata store of node 2 is closed: its log is gone";
    check(&status, &[store, "partition 0 on node 2 does not serve: I/O error"]);
    status.map.nodes.get_mut(&NodeId(2)).unwrap().up = false;
    assert_eq!(meta_problems(&status, NodeId(2)), [""; 0], "what it said before it went down");
}

/// Three nodes that all vote in the only partition; the first leads.
fn three_voters() -> ClusterStatus {
    let mut status = status(3);
    status.map.partitions.truncate(1);
    status.map.partitions[0].voters = [1, 2, 3].map(NodeId).to_vec();
    group(&mut status).voters = replicas_of([1, 2, 3]);
    status
}

/// What the leader says of the first partition.
fn group(status: &mut ClusterStatus) -> &mut PartitionReport {
    &mut last(status, 1).partitions[0]
}

fn last(status: &mut ClusterStatus, node: u64) -> &mut Heartbeat {
    status.nodes.get_mut(&NodeId(node)).unwrap().last.as_mut().unwrap()
}

fn replicas_of<const N: usize>(nodes: [u64; N]) -> BTreeSet<ReplicaId> {
    nodes.map(|node| ReplicaId::new(NodeId(node), 1)).into()
}

#[test]
fn groups_that_lack_a_voter() {
    check(&three_voters(), &[]);
    let mut status = three_voters();
    group(&mut status).voters = replicas_of([1, 2]);
    check(&status, &["partition 0: the voters are 1, 2, not 1, 2, 3"]);
    group(&mut status).learners = replicas_of([3]);
    check(&status, &["partition 0: the voters are 1, 2, not 1, 2, 3; 3 is being filled"]);

    // One too many, and one whose store was replaced.
    let mut status = three_voters();
    group(&mut status).voters = replicas_of([1, 2, 3, 4]);
    check(&status, &["partition 0: the voters are 1, 2, 3, 4, not 1, 2, 3"]);
    let mut status = three_voters();
    status.map.nodes.get_mut(&NodeId(2)).unwrap().store.as_mut().unwrap().number = 2;
    check(&status, &["partition 0: the voters are 1, 2, 3, not 1, 2 (store 2), 3"]);
    status.map.nodes.get_mut(&NodeId(2)).unwrap().store = None;
    check(&status, &["partition 0: the voters are 1, 2, 3, not 1, 2 (without a store), 3"]);
}

#[test]
fn voters_that_do_not_take_part_or_lag() {
    let mut status = three_voters();
    last(&mut status, 2).partitions.clear();
    check(&status, &["partition 0: voter 2 takes no part"]);

    let mut status = three_voters();
    status.nodes.get_mut(&NodeId(3)).unwrap().behind_ms.insert(ROOT, REPLICA_BEHIND_MS_MAX + 1);
    check(&status, &["partition 0: voter 3 is behind and does not catch up"]);
    status.nodes.get_mut(&NodeId(3)).unwrap().behind_ms.insert(ROOT, REPLICA_BEHIND_MS_MAX);
    check(&status, &[]);
    // That a node is down says it all.
    last(&mut status, 3).partitions.clear();
    status.map.nodes.get_mut(&NodeId(3)).unwrap().up = false;
    check(&status, &["node 3 (zone3, 127.0.0.1:7406) is down: silent for 0 s"]);
}

#[test]
fn what_many_partitions_have_is_said_once() {
    let mut status = status(2);
    last(&mut status, 1).partitions.iter_mut().for_each(|report| report.leading = report.id == ROOT);
    check(&status, &["partitions 1, 2: no node says that it leads: writes wait until one is elected"]);
}

#[test]
fn slots_that_are_not_serving() {
    let mut status = status(2);
    let table = status.map.table.as_mut().unwrap();
    table.pgs[0][0].state = SlotState::Syncing;
    table.pgs[1][0].state = SlotState::Offline;
    table.pgs[1][1].state = SlotState::Offline;
    assert_eq!(Slots::of(&status.map), Slots { serving: 1, syncing: 1, offline: 2 });
    assert_eq!(Slots::on_disk(&status.map, DiskId(1)), 2);
    let filled = "1 slot being filled: redundancy is being restored";
    let offline =
        "2 slots on disks that are down, with no disk to take their place: bring nodes back or add some";
    check(&status, &[filled, offline]);
}

#[test]
fn too_few_disks() {
    let mut status = status(1);
    status.map.table = None;
    check(
        &status,
        &["the cluster has 1 disk, its profile 1+1 needs 2: files cannot be stored until disks are added"],
    );
}

#[test]
fn relaxed_placement_is_a_problem_of_clusters_only() {
    let mut many = status(2);
    many.map.relaxed_count = 1;
    let want = "1 of 2 placement groups have too many shards on one node or in one zone: add nodes or zones";
    check(&many, &[want]);
    let mut one = status(1);
    one.map.relaxed_count = 2;
    check(&one, &[]);
    let note = "one node holds everything: any 1 of its disks may fail, but not the node";
    assert_eq!(Health::of(&one).notes, [note]);
}

#[test]
fn a_leader_is_up_and_has_the_newest_term() {
    let mut status = status(3);
    assert_eq!(leader(&status, ROOT), Some(NodeId(1)));
    assert_eq!(leader(&status, PartitionId(7)), None, "nobody says so");
    let mut says_leading = |node: u64, term| {
        let last = status.nodes.get_mut(&NodeId(node)).unwrap().last.as_mut().unwrap();
        last.partitions = vec![PartitionReport { term, ..report(ROOT, true) }];
    };
    says_leading(2, 5);
    says_leading(3, 4);
    assert_eq!(leader(&status, ROOT), Some(NodeId(2)), "node 1 was cut off and does not know");
    status.map.nodes.get_mut(&NodeId(2)).unwrap().up = false;
    assert_eq!(leader(&status, ROOT), Some(NodeId(3)));
    status.nodes.clear();
    assert_eq!(leader(&status, ROOT), None, "not heard of is not leading");
}

#[test]
fn what_is_missing() {
    let want = Complement { nodes: 3, disks: 3, voters: 1 };
    let whole = || {
        let mut status = status(3);
        status.map.partitions.truncate(1);
        status
    };
    assert_eq!(missing(&whole(), want), [""; 0]);
    assert_eq!(missing(&whole(), Complement { voters: 3, ..want }), ["partition 0: 1 of 3 voters up"]);

    let mut status = whole();
    status.map.nodes.get_mut(&NodeId(3)).unwrap().up = false;
    assert_eq!(missing(&status, want), ["2 of 3 nodes up", "2 of 3 disks writable"]);
    status.map.partitions[0].voters = vec![NodeId(1), NodeId(3)];
    let more = Complement { nodes: 2, disks: 2, voters: 2 };
    let lacking = ["partition 0: 1 of 2 voters up", "partition 0: the voters are 1, not 1, 3"];
    assert_eq!(missing(&status, more), lacking, "one that is away has no vote to give");

    let mut status = whole();
    status.map.table.as_mut().unwrap().pgs[0][0].state = SlotState::Syncing;
    assert_eq!(missing(&status, want), ["1 slot to fill"]);
    status.map.table.as_mut().unwrap().pgs[1][0].state = SlotState::Offline;
    assert_eq!(missing(&status, want), ["2 slots to fill"]);
    status.map.table = None;
    assert_eq!(missing(&status, want), ["3 disks, 2 needed"]);

    let mut status = whole();
    status.nodes.get_mut(&NodeId(1)).unwrap().last = None;
    let leaderless = "partition 0: no node says that it leads: writes wait until one is elected";
    assert_eq!(missing(&status, want), [leaderless]);
}
