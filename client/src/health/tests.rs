//! Goal: what counts as degraded, missing and leading. Method: statuses of small clusters, changed by hand.

use proto::cluster::PartitionReport;
use proto::map::ROOT;

use super::*;
use crate::testing::status;

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
    status.nodes.clear();
    let want = "node 2 (zone2, 127.0.0.1:7404) is down: not heard from since the leader started listening";
    check(&status, &[want]);
}

#[test]
fn disks_that_are_broken() {
    let mut status = status(2);
    status.map.disks.get_mut(&DiskId(1)).unwrap().healthy = false;
    check(&status, &["disk 1 of node 1 cannot be written or is missing"]);
    let report =
        status.nodes.get_mut(&NodeId(1)).unwrap().last.as_mut().unwrap().disks.get_mut(&DiskId(1)).unwrap();
    report.healthy = false;
    report.problem = "write failed: I/O error".to_owned();
    check(&status, &["disk 1 of node 1: write failed: I/O error"]);
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
    assert_eq!(leader(&status, PartitionId(1)), None, "nobody says so");
    let mut says_leading = |node: u64, term| {
        let last = status.nodes.get_mut(&NodeId(node)).unwrap().last.as_mut().unwrap();
        last.partitions = vec![PartitionReport {
            id: ROOT,
            leading: true,
            term,
            applied: 1,
            problem: String::new(),
            restarts: 0,
        }];
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
    assert_eq!(missing(&whole(), Complement { voters: 3, ..want }), ["1 of 3 voters up"]);

    let mut status = whole();
    status.map.nodes.get_mut(&NodeId(3)).unwrap().up = false;
    assert_eq!(missing(&status, want), ["2 of 3 nodes up", "2 of 3 disks writable"]);
    status.map.voters = vec![NodeId(1), NodeId(3)];
    let more = Complement { nodes: 2, disks: 2, voters: 2 };
    assert_eq!(missing(&status, more), ["1 of 2 voters up"], "one that is away has no vote to give");

    let mut status = whole();
    status.map.table.as_mut().unwrap().pgs[0][0].state = SlotState::Syncing;
    assert_eq!(missing(&status, want), ["1 slot to fill"]);
    status.map.table.as_mut().unwrap().pgs[1][0].state = SlotState::Offline;
    assert_eq!(missing(&status, want), ["2 slots to fill"]);
    status.map.table = None;
    assert_eq!(missing(&status, want), ["3 disks, 2 needed"]);

    let mut status = whole();
    status.nodes.get_mut(&NodeId(1)).unwrap().last = None;
    assert_eq!(missing(&status, want), ["no leader of partition 0"]);
}
