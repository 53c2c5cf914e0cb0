//! How healthy a cluster is, decided from what its root partition knows. Pure.
//!
//! Owns: what counts as degraded, who leads a partition, when a cluster is whole, and the words for all of it.
//! Knows nothing of: how the status was fetched.

mod disks;
mod groups;

use placement::SlotState;
use proto::cluster::ClusterStatus;
use proto::index::IndexStats;
use proto::map::ClusterMap;
use types::limits::CLOCK_APART_MS_MAX;
use types::{DiskId, NodeId, counted};

pub use disks::{disk_problem, disk_report, disk_trouble, node_disk_problems, storm};
pub use groups::{ReplicaStatus, leader, replicas};

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
    /// Whose disk has every shard of the slot.
    pub serving: u64,
    /// Being filled with older shards.
    pub syncing: u64,
    /// Whose disk is down, with none to take its place.
    pub offline: u64,
}

impl Health {
    /// Judges a cluster.
    pub fn of(status: &ClusterStatus) -> Self {
        let map = &status.map;
        let mut health = Self::default();
        health.problems.extend(map.nodes.keys().filter_map(|id| node_problem(status, *id)));
        health.problems.extend(map.nodes.keys().flat_map(|id| meta_problems(status, *id)));
        health.problems.extend(groups::problems(status));
        health.problems.extend(clock_problems(status));
        health.problems.extend(map.nodes.keys().flat_map(|id| node_disk_problems(status, *id)));
        health.problems.extend(map.disks.keys().filter_map(|id| disk_problem(status, *id)));
        health.problems.extend(disks::storm(map));
        health.judge_placement(map);
        health
    }

    /// Judges what the index knows of the chunks, too.
    pub fn judge_chunks(&mut self, stats: &IndexStats) {
        let IndexStats { displaced, thin, lost, .. } = *stats;
        if lost > 0 {
            self.problems.push(format!(
                "{} cannot be read: `cloudsync admin lost list` names the files; what is stored again heals",
                counted(lost, "chunk")
            ));
        }
        if thin > 0 {
            self.problems.push(format!("{} being given back parts that are lost", counted(thin, "chunk")));
        }
        if displaced > thin {
            let rest = counted(displaced - thin, "chunk");
            self.notes
                .push(format!("{rest} with parts on other disks than their own: they go home by and by"));
        }
    }

    /// True when nobody has to act.
    pub fn is_good(&self) -> bool {
        self.problems.is_empty()
    }

    fn judge_placement(&mut self, map: &ClusterMap) {
        if map.table.is_none() {
            self.problems.push(format!(
                "the cluster has {}, its profile {} needs {}: files cannot be stored until disks are added",
                counted(map.disks.len() as u64, "disk"),
                map.profile,
                map.profile.n()
            ));
        }
        let slots = Slots::of(map);
        if slots.syncing > 0 {
            self.problems.push(format!(
                "{} being filled: redundancy is being restored",
                counted(slots.syncing, "slot")
            ));
        }
        if slots.offline > 0 {
            self.problems.push(format!(
                "{} on disks that are down, with no disk to take their place: bring nodes back or add some",
                counted(slots.offline, "slot")
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

/// What a cluster has when nothing is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Complement {
    /// Nodes that are up.
    pub nodes: usize,
    /// Disks that take writes.
    pub disks: usize,
    /// Voters of every partition.
    pub voters: usize,
}

/// What a cluster still lacks to be whole; empty when it is.
pub fn missing(status: &ClusterStatus, want: Complement) -> Vec<String> {
    let map = &status.map;
    let mut missing = Vec::new();
    let mut need = |found: usize, want: usize, what: &str| {
        if found < want {
            missing.push(format!("{found} of {want} {what}"));
        }
    };
    need(map.nodes.values().filter(|node| node.up).count(), want.nodes, "nodes up");
    need(map.disks.keys().filter(|id| map.is_live(**id)).count(), want.disks, "disks writable");
    let slots = Slots::of(map);
    match (&map.table, slots.syncing + slots.offline) {
        (None, _) => missing.push(format!("{} disks, {} needed", map.disks.len(), map.profile.n())),
        (Some(_), 0) => {}
        (Some(_), count) => missing.push(format!("{} to fill", counted(count, "slot"))),
    }
    missing.extend(groups::without_voters(map, want.voters));
    missing.extend(groups::problems(status));
    missing
}

/// Why a node is not healthy; `None` when it is, or is not in the map.
pub fn node_problem(status: &ClusterStatus, id: NodeId) -> Option<String> {
    let node = status.map.nodes.get(&id)?;
    if node.up {
        return None;
    }
    let silence = match status.nodes.get(&id).and_then(|n| n.silent_ms) {
        Some(ms) => format!("silent for {} s", ms / 1000),
        None => "not heard from since the leader started listening".to_owned(),
    };
    let disks = disks::waiting_of(status, id).map(|waiting| format!("; its disks are {waiting}"));
    let disks = disks.unwrap_or_default();
    Some(format!("node {id} ({}, {}) is down: {silence}{disks}", node.zone, node.native))
}

/// The nodes whose clocks are not as those of most.
fn clock_problems(status: &ClusterStatus) -> Vec<String> {
    let is_up = |id: &NodeId| status.map.nodes.get(id).is_some_and(|node| node.up);
    let heard = status.nodes.iter().filter(|(id, node)| is_up(id) && node.last.is_some());
    let mut clocks: Vec<(i64, NodeId)> = heard.map(|(id, node)| (node.ahead_ms, *id)).collect();
    clocks.sort_unstable();
    let Some(&(most, _)) = clocks.get(clocks.len() / 2) else { return Vec::new() };
    let apart = clocks.into_iter().map(|(ahead_ms, id)| (ahead_ms.saturating_sub(most), id));
    let problem = |(ms, id): (i64, NodeId)| {
        let (seconds, which) = (ms.unsigned_abs() / 1000, if ms < 0 { "behind" } else { "ahead of" });
        format!(
            "the clock of node {id} is {seconds} s {which} the others: set it, or what it is asked may be refused"
        )
    };
    apart.filter(|(ms, _)| ms.unsigned_abs() > CLOCK_APART_MS_MAX.unsigned_abs()).map(problem).collect()
}

/// What is wrong with the metadata that a node holds, as it says itself.
pub fn meta_problems(status: &ClusterStatus, id: NodeId) -> Vec<String> {
    let last = status.nodes.get(&id).and_then(|node| node.last.as_ref());
    let Some(last) = last.filter(|_| status.map.nodes.get(&id).is_some_and(|node| node.up)) else {
        return Vec::new();
    };
    let silent = last.partitions.iter().filter(|report| !report.problem.is_empty());
    let silent = silent
        .map(|report| format!("partition {} on node {id} does not serve: {}", report.id, report.problem));
    let store = (!last.store_problem.is_empty())
        .then(|| format!("the metadata store of node {id} {}", last.store_problem));
    store.into_iter().chain(silent).collect()
}

#[cfg(test)]
mod tests;
