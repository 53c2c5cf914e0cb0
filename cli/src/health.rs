//! How well a cluster is, decided from what its root partition knows. Pure.
//!
//! Owns: what counts as degraded, and the words for it.
//! Knows nothing of: how the status was fetched.

use placement::SlotState;
use proto::cluster::ClusterStatus;
use proto::map::{ClusterMap, Disk};
use types::{DiskId, NodeId};

use crate::exit::Exit;
use crate::output::count;

/// What is wrong, and what is good to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Each makes the cluster degraded.
    pub problems: Vec<String>,
    /// True, but not a reason to act.
    pub notes: Vec<String>,
}

/// Slots of the placement table by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slots {
    /// Complete.
    pub serving: u64,
    /// Being filled.
    pub syncing: u64,
    /// Without a disk that is up.
    pub offline: u64,
}

impl Health {
    /// Judges a cluster.
    pub fn of(status: &ClusterStatus) -> Self {
        let map = &status.map;
        let mut health = Self::default();
        health.problems.extend(map.nodes.keys().filter_map(|id| node_problem(status, *id)));
        health.problems.extend(map.disks.keys().filter_map(|id| disk_problem(status, *id)));
        health.judge_placement(map);
        health
    }

    /// 0 when all is well, 3 when not.
    pub fn exit(&self) -> Exit {
        if self.problems.is_empty() { Exit::Ok } else { Exit::Degraded }
    }

    fn judge_placement(&mut self, map: &ClusterMap) {
        if map.table.is_none() {
            self.problems.push(format!(
                "the cluster has {}, its profile {} needs {}: files cannot be stored until disks are added",
                count(map.disks.len() as u64, "disk"),
                map.profile,
                map.profile.n()
            ));
        }
        let slots = Slots::of(map);
        if slots.syncing > 0 {
            self.problems
                .push(format!("{} being filled: redundancy is coming back", count(slots.syncing, "slot")));
        }
        if slots.offline > 0 {
            self.problems.push(format!(
                "{} on disks that are down, with no disk to take their place: bring nodes back or add some",
                count(slots.offline, "slot")
            ));
        }
        if map.relaxed_count == 0 {
            return;
        }
        if map.nodes.len() == 1 {
            self.notes.push(format!(
                "one node holds everything: any {} of its disks may fail, but not the node",
                map.profile.m
            ));
        } else {
            self.problems.push(format!(
                "{} of {} placement groups have too many shards on one node or in one zone: add nodes or zones",
                map.relaxed_count, map.pg_count
            ));
        }
    }
}

impl Slots {
    /// Counts the table of a map.
    pub fn of(map: &ClusterMap) -> Self {
        let mut slots = Self::default();
        for slot in map.table.iter().flat_map(|table| table.pgs.iter().flatten()) {
            match slot.state {
                SlotState::Serving => slots.serving += 1,
                SlotState::Syncing => slots.syncing += 1,
                SlotState::Offline => slots.offline += 1,
            }
        }
        slots
    }

    /// Counts the slots of one disk, whatever their state.
    pub fn on_disk(map: &ClusterMap, disk: DiskId) -> u64 {
        let slots = map.table.iter().flat_map(|table| table.pgs.iter().flatten());
        slots.filter(|slot| slot.disk == disk).count() as u64
    }
}

/// Why a node is not well.
pub fn node_problem(status: &ClusterStatus, id: NodeId) -> Option<String> {
    let node = status.map.nodes.get(&id)?;
    if node.up {
        return None;
    }
    let silence = match status.nodes.get(&id).and_then(|n| n.silent_ms) {
        Some(ms) => format!("silent for {} s", ms / 1000),
        None => "not heard of since the leader began to listen".to_owned(),
    };
    Some(format!("node {id} ({}, {}) is down: {silence}", node.zone, node.native))
}

/// Why a disk is not well. That its node is down is the node's problem.
pub fn disk_problem(status: &ClusterStatus, id: DiskId) -> Option<String> {
    let disk: &Disk = status.map.disks.get(&id)?;
    let report = status.nodes.get(&disk.node).and_then(|n| n.last.as_ref()).and_then(|h| h.disks.get(&id));
    let broken = report.filter(|report| !report.healthy || !report.problem.is_empty());
    match broken {
        Some(report) if !report.problem.is_empty() => {
            Some(format!("disk {id} of node {}: {}", disk.node, report.problem))
        }
        Some(_) => Some(format!("disk {id} of node {} cannot be written", disk.node)),
        None if !disk.healthy => {
            Some(format!("disk {id} of node {} cannot be written or is missing", disk.node))
        }
        None => None,
    }
}

#[cfg(test)]
pub mod tests {
    use std::collections::BTreeMap;

    use placement::{Slot, Table};
    use proto::cluster::{DiskReport, Heartbeat, NodeStatus, PartitionReport};
    use proto::map::{Node, Partition, PartitionKind, ROOT, Role};
    use types::{ClusterId, DiskUuid, Epoch, GcEpoch, PartitionId, Profile};

    use super::*;

    fn heartbeat(id: u8, native: std::net::SocketAddr) -> Heartbeat {
        let report = DiskReport {
            healthy: true,
            problem: String::new(),
            used_bytes: 2_000,
            free_bytes: 8_000,
            records: 5,
        };
        Heartbeat {
            node: NodeId(id.into()),
            native,
            control: native,
            epoch: Epoch(9),
            disks: BTreeMap::from([(DiskId(id.into()), report)]),
            partitions: vec![PartitionReport { id: ROOT, leading: id == 1, term: 3, applied: 77 }],
            syncing_slots: 0,
            bytes_received: 1_000_000,
            bytes_sent: 500,
        }
    }

    /// `count` nodes in as many zones with a disk each, 1+1, all well.
    pub fn status(count: u8) -> ClusterStatus {
        let mut map = ClusterMap {
            cluster: ClusterId([1; 16]),
            epoch: Epoch(9),
            gc_epoch: GcEpoch(0),
            profile: Profile { k: 1, m: 1 },
            pg_count: 2,
            nodes: BTreeMap::new(),
            disks: BTreeMap::new(),
            table: None,
            relaxed_count: 0,
            partitions: vec![
                Partition { id: ROOT, kind: PartitionKind::Root },
                Partition { id: PartitionId(1), kind: PartitionKind::Namespace },
                Partition { id: PartitionId(2), kind: PartitionKind::Index },
            ],
            voters: vec![NodeId(1)],
        };
        let mut nodes = BTreeMap::new();
        for id in 1..=count {
            let native = format!("127.0.0.1:{}", 7400 + 2 * u16::from(id)).parse().unwrap();
            let roles = vec![Role::Meta, Role::Block];
            let node = Node { zone: format!("zone{id}"), native, control: native, roles, up: true };
            map.nodes.insert(NodeId(id.into()), node);
            let uuid = DiskUuid([id; 16]);
            map.disks.insert(
                DiskId(id.into()),
                Disk { node: NodeId(id.into()), uuid, capacity: 10_000, healthy: true },
            );
            nodes.insert(
                NodeId(id.into()),
                NodeStatus { silent_ms: Some(120), last: Some(heartbeat(id, native)) },
            );
        }
        let pg = vec![Slot::serving(DiskId(1)), Slot::serving(DiskId(2))];
        map.table = Some(Table { pgs: vec![pg.clone(), pg] });
        ClusterStatus { map, nodes }
    }

    #[track_caller]
    fn check(status: &ClusterStatus, want: &[&str]) {
        let health = Health::of(status);
        assert_eq!(health.problems, want);
        assert_eq!(health.exit() == Exit::Degraded, !want.is_empty());
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
        let want = "node 2 (zone2, 127.0.0.1:7404) is down: not heard of since the leader began to listen";
        check(&status, &[want]);
    }

    #[test]
    fn disks_that_are_broken() {
        let mut status = status(2);
        status.map.disks.get_mut(&DiskId(1)).unwrap().healthy = false;
        check(&status, &["disk 1 of node 1 cannot be written or is missing"]);
        let report = status
            .nodes
            .get_mut(&NodeId(1))
            .unwrap()
            .last
            .as_mut()
            .unwrap()
            .disks
            .get_mut(&DiskId(1))
            .unwrap();
        report.healthy = false;
        report.problem = "write failed: I/O error".to_owned();
        check(&status, &["disk 1 of node 1: write failed: I/O error"]);
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
        let filled = "1 slot being filled: redundancy is coming back";
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
            &[
                "the cluster has 1 disk, its profile 1+1 needs 2: files cannot be stored until disks are added",
            ],
        );
    }

    #[test]
    fn relaxed_placement_is_a_problem_of_clusters_only() {
        let mut many = status(2);
        many.map.relaxed_count = 1;
        let want =
            "1 of 2 placement groups have too many shards on one node or in one zone: add nodes or zones";
        check(&many, &[want]);
        let mut one = status(1);
        one.map.relaxed_count = 2;
        check(&one, &[]);
        let note = "one node holds everything: any 1 of its disks may fail, but not the node";
        assert_eq!(Health::of(&one).notes, [note]);
    }
}
