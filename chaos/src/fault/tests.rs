//! Goal: schedules come again and stay within what may be lost. Method: statuses by hand.

use std::collections::{BTreeMap, BTreeSet};

use placement::{Slot, Table};
use proto::cluster::{Heartbeat, NodeStatus, PartitionReport};
use proto::map::{ClusterMap, Disk, Node, Partition, PartitionKind, ROOT, Role};
use types::{ClusterId, DiskId, DiskUuid, Epoch, GcEpoch, Profile};

use super::*;

const OTHER: PartitionId = PartitionId(1);

fn heartbeat(id: u64) -> Heartbeat {
    let address = ([127, 0, 0, 1], 7400).into();
    let report = |id, leading, term| PartitionReport { id, leading, term, applied: 1 };
    Heartbeat {
        node: NodeId(id),
        native: address,
        control: address,
        epoch: Epoch(1),
        disks: BTreeMap::new(),
        // Node 1 still believes that it leads the other partition.
        partitions: vec![report(ROOT, id == 1, 1), report(OTHER, id == 1 || id == 2, id)],
        syncing_slots: 0,
        bytes_received: 0,
        bytes_sent: 0,
    }
}

/// Eight nodes with a disk each, three of them voters, all well.
fn status() -> ClusterStatus {
    let ids = 1..=8u8;
    let address = ([127, 0, 0, 1], 7400).into();
    let node =
        Node { zone: "z".into(), native: address, control: address, roles: vec![Role::Block], up: true };
    let disk =
        |id: u8| Disk { node: NodeId(id.into()), uuid: DiskUuid([id; 16]), capacity: 1, healthy: true };
    let map = ClusterMap {
        cluster: ClusterId([1; 16]),
        epoch: Epoch(1),
        gc_epoch: GcEpoch(0),
        profile: Profile { k: 1, m: 1 },
        pg_count: 1,
        nodes: ids.clone().map(|id| (NodeId(id.into()), node.clone())).collect(),
        disks: ids.clone().map(|id| (DiskId(id.into()), disk(id))).collect(),
        table: Some(Table { pgs: vec![vec![Slot::serving(DiskId(1)), Slot::serving(DiskId(2))]] }),
        relaxed_count: 0,
        partitions: vec![
            Partition { id: ROOT, kind: PartitionKind::Root },
            Partition { id: OTHER, kind: PartitionKind::Namespace },
        ],
        voters: vec![NodeId(1), NodeId(2), NodeId(3)],
    };
    let heard = |id: u8| NodeStatus { silent_ms: Some(1), last: Some(heartbeat(id.into())) };
    ClusterStatus { map, nodes: ids.map(|id| (NodeId(id.into()), heard(id))).collect() }
}

#[test]
fn never_two_voters_and_never_more_than_two_nodes() {
    let (status, random) = (status(), Random::seeded(1));
    for _ in 0..500 {
        for (fault, count) in
            [(Fault::KillOne, 1), (Fault::KillTwo, 2), (Fault::Pause, 1), (Fault::KillLeader, 1)]
        {
            let victims = victims(fault, &status, &random);
            let different: BTreeSet<_> = victims.iter().collect();
            assert_eq!((victims.len(), different.len()), (count, count), "{fault}");
            assert!(victims.iter().filter(|node| status.map.voters.contains(node)).count() <= 1);
        }
    }
    assert_eq!(victims(Fault::KillAll, &status, &random).len(), 8);
}

#[test]
fn the_newest_term_leads() {
    assert_eq!(leader(&status(), ROOT), Some(NodeId(1)));
    assert_eq!(leader(&status(), OTHER), Some(NodeId(2)));
    assert_eq!(leader(&status(), PartitionId(9)), None);
}

#[test]
fn a_seed_gives_the_same_schedule_with_every_fault_in_it() {
    let schedule = |seed| {
        let random = Random::seeded(seed);
        (0..200).map(|_| draw(&random)).collect::<Vec<_>>()
    };
    assert_eq!(schedule(1), schedule(1));
    assert_ne!(schedule(1), schedule(2));
    let faults: BTreeSet<Fault> = schedule(1).iter().map(|planned| planned.fault).collect();
    assert_eq!(faults.into_iter().collect::<Vec<_>>(), Fault::ALL);
}

#[track_caller]
fn check(change: impl FnOnce(&mut ClusterStatus), want: &[&str]) {
    let mut status = status();
    change(&mut status);
    assert_eq!(missing(&status, 8), want);
}

#[test]
fn what_a_broken_cluster_lacks() {
    check(|_| {}, &[]);
    check(
        |s| s.map.nodes.get_mut(&NodeId(4)).unwrap().up = false,
        &["7 of 8 nodes up", "7 of 8 disks writable"],
    );
    check(|s| s.map.disks.get_mut(&DiskId(4)).unwrap().healthy = false, &["7 of 8 disks writable"]);
    check(|s| s.map.table.as_mut().unwrap().pgs[0][1].state = SlotState::Syncing, &["1 slots to fill"]);
    check(|s| s.map.table = None, &["no placement table"]);
    check(|s| drop(s.nodes.remove(&NodeId(1))), &["no leader of partition 0"]);
}
