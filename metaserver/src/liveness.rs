//! The failure detector of the root leader: decides from heartbeats which nodes are up. Pure.

mod out;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use proto::cluster::{Heartbeat, PartitionReport};
use proto::command::NodeChange;
use proto::map::{ClusterMap, DiskState, Role};
use types::limits::NODE_SILENCE_MS_MAX;
use types::{DiskId, FeatureLevel, NodeId, PartitionId, ReplicaId};

use out::Absences;

/// What the leader has heard. Times are milliseconds on the leader's monotonic clock.
#[derive(Debug)]
pub struct Liveness {
    /// When this node started listening: nobody is silent for longer than we have listened.
    since_ms: u64,
    last: BTreeMap<NodeId, (u64, Heartbeat)>,
    /// The most commands that a copy of each partition was heard to have.
    newest: BTreeMap<PartitionId, u64>,
    /// How far each copy has to come, and since when.
    goals: BTreeMap<(NodeId, PartitionId), (u64, u64)>,
    /// When a node's replicas last took part, and at which address.
    took_part: BTreeMap<NodeId, (u64, SocketAddr)>,
    /// Since when it is known that a node has joined, of those that have not said that they know it.
    joined_ms: BTreeMap<NodeId, u64>,
    /// Which disks are away.
    pub absences: Absences,
}

impl Liveness {
    /// A detector that starts listening at `now_ms`.
    pub fn new(now_ms: u64) -> Self {
        let (last, newest, goals, took_part, joined_ms, absences) = Default::default();
        Self { since_ms: now_ms, last, newest, goals, took_part, joined_ms, absences }
    }

    /// Takes a heartbeat. One from elsewhere than where the node is known to listen counts only when that process is silent,
    /// or was started before this one: of a node and a copy of it that runs beside it, one is heard.
    pub fn heard(&mut self, now_ms: u64, heartbeat: Heartbeat, map: &ClusterMap) {
        let before = self.heard_ms(heartbeat.node);
        assert!(
            before <= now_ms,
            "the clock is read in the order of the heartbeats: {before} ms, now {now_ms} ms"
        );
        if !self.is_the_node(now_ms, &heartbeat, map) {
            return;
        }
        self.follow(now_ms, &heartbeat);
        if heartbeat.stamp.is_some() && heartbeat.partitions.iter().all(|p| p.problem.is_empty()) {
            self.took_part.insert(heartbeat.node, (now_ms, heartbeat.native));
        }
        self.last.insert(heartbeat.node, (now_ms, heartbeat));
    }

    fn is_the_node(&self, now_ms: u64, heartbeat: &Heartbeat, map: &ClusterMap) -> bool {
        let node = heartbeat.node;
        let known = self.last.get(&node).map(|(_, last)| last);
        let in_map = || map.nodes.get(&node).map(|info| (info.native, info.control));
        let address = known.map(|last| (last.native, last.control)).or_else(in_map);
        let is_elsewhere = address.is_some_and(|known| known != (heartbeat.native, heartbeat.control));
        // What was started later has another store, or the same once more.
        let started = |heartbeat: &Heartbeat| heartbeat.stamp.map(|stamp| (stamp.replica, stamp.start.count));
        !is_elsewhere
            || self.silence(node, now_ms) > NODE_SILENCE_MS_MAX
            || started(heartbeat) > known.and_then(started)
    }

    /// Notes which copies have come to where they had to, and how far they have to come next.
    fn follow(&mut self, now_ms: u64, heartbeat: &Heartbeat) {
        for report in &heartbeat.partitions {
            let newest = self.newest.entry(report.id).or_default();
            *newest = report.applied.max(*newest);
            let goal = self.goals.entry((heartbeat.node, report.id)).or_insert((*newest, now_ms));
            if report.applied >= goal.0 {
                *goal = (*newest, now_ms);
            }
        }
    }

    /// For how long each copy on a node has not come to where the newest one was when that time began.
    pub fn behind_ms(&self, node: NodeId, now_ms: u64) -> BTreeMap<PartitionId, u64> {
        let goals = self.goals.range((node, PartitionId(0))..=(node, PartitionId(u32::MAX)));
        goals.map(|((_, partition), (_, since_ms))| (*partition, now_ms.saturating_sub(*since_ms))).collect()
    }

    /// The last heartbeat of a node and how many milliseconds ago it came; `None` when there was none.
    pub fn last(&self, node: NodeId, now_ms: u64) -> Option<(u64, &Heartbeat)> {
        let (heard_ms, heartbeat) = self.last.get(&node)?;
        Some((now_ms.saturating_sub(*heard_ms), heartbeat))
    }

    /// Where the process listens whose replicas take part as those of `node`, as far as it was heard lately. Others may
    /// say that they are this node too.
    pub fn holder(&self, node: NodeId, now_ms: u64) -> Option<SocketAddr> {
        let (ms, native) = self.took_part.get(&node)?;
        (now_ms.saturating_sub(*ms) <= NODE_SILENCE_MS_MAX).then_some(*native)
    }

    /// The nodes whose replicas have not taken part for longer than `away_ms`: silent ones, and those that say that
    /// their store is closed or a copy has stopped.
    pub fn away(&self, now_ms: u64, away_ms: u64, map: &ClusterMap) -> BTreeSet<NodeId> {
        let since = |id: &NodeId| self.took_part.get(id).map_or(self.since_ms, |(ms, _)| *ms);
        map.nodes.keys().copied().filter(|id| now_ms - since(id) > away_ms).collect()
    }

    /// The nodes that have joined longer than `away_ms` ago, have never said that they know it, and have been silent for
    /// as long.
    pub fn ghosts(&mut self, now_ms: u64, away_ms: u64, map: &ClusterMap) -> Vec<NodeId> {
        let is_unconfirmed = |id: &NodeId| map.nodes.get(id).is_some_and(|node| !node.confirmed);
        self.joined_ms.retain(|id, _| is_unconfirmed(id));
        for id in map.nodes.keys().filter(|id| is_unconfirmed(id)) {
            self.joined_ms.entry(*id).or_insert(now_ms);
        }
        let joined_before = self.joined_ms.iter().filter(|(_, since_ms)| now_ms - **since_ms > away_ms);
        joined_before.map(|(id, _)| *id).filter(|id| self.silence(*id, now_ms) > away_ms).collect()
    }

    /// Who votes in each partition, as the node says that leads it with the newest term; partitions that nobody was heard
    /// to lead lately are left out.
    pub fn voters(&self, now_ms: u64) -> BTreeMap<PartitionId, BTreeSet<ReplicaId>> {
        let mut found: BTreeMap<PartitionId, &PartitionReport> = BTreeMap::new();
        let heard = self.last.values().filter(|(ms, _)| now_ms.saturating_sub(*ms) <= NODE_SILENCE_MS_MAX);
        for report in heard.flat_map(|(_, last)| &last.partitions).filter(|report| report.leading) {
            if found.get(&report.id).is_none_or(|known| report.term > known.term) {
                found.insert(report.id, report);
            }
        }
        found.into_iter().map(|(id, report)| (id, report.voters.clone())).collect()
    }

    /// The newest feature level that every meta node of the map knows; `None` while one of them is silent.
    pub fn level(&self, now_ms: u64, map: &ClusterMap) -> Option<FeatureLevel> {
        let meta = map.nodes.iter().filter(|(_, node)| node.roles.contains(&Role::Meta));
        let levels = meta.map(|(id, _)| {
            let (silent_ms, heartbeat) = self.last(*id, now_ms)?;
            (silent_ms <= NODE_SILENCE_MS_MAX).then_some(heartbeat.level)
        });
        levels.collect::<Option<Vec<_>>>()?.into_iter().min()
    }

    fn silence(&self, node: NodeId, now_ms: u64) -> u64 {
        let heard_ms = self.heard_ms(node);
        assert!(heard_ms <= now_ms, "nobody is heard in the future: at {heard_ms} ms, now {now_ms} ms");
        now_ms - heard_ms
    }

    fn heard_ms(&self, node: NodeId) -> u64 {
        self.last.get(&node).map_or(self.since_ms, |(heard_ms, _)| *heard_ms)
    }

    /// The changes that would make the map agree with what was heard.
    pub fn changes(&self, now_ms: u64, map: &ClusterMap) -> Vec<NodeChange> {
        map.nodes
            .iter()
            .filter_map(|(id, node)| {
                let down = self.silence(*id, now_ms) > NODE_SILENCE_MS_MAX;
                let change = match self.last.get(id) {
                    Some((_, h)) if !down => NodeChange {
                        node: *id,
                        up: true,
                        native: h.native,
                        control: h.control,
                        disks: said_of_disks(map, h),
                    },
                    _ if down => NodeChange {
                        node: *id,
                        up: false,
                        native: node.native,
                        control: node.control,
                        disks: BTreeMap::new(),
                    },
                    // Not heard from yet, but we have not listened for long either.
                    _ => return None,
                };
                let same = change.up == node.up
                    && change.native == node.native
                    && change.control == node.control
                    && change.disks.iter().all(|(id, state)| map.disks[id].state == *state);
                (!same).then_some(change)
            })
            .collect()
    }
}

/// What a node says of disks that the map knows as its own.
fn said_of_disks(map: &ClusterMap, heartbeat: &Heartbeat) -> BTreeMap<DiskId, DiskState> {
    let is_its_own = |id: &DiskId| map.disks.get(id).is_some_and(|disk| disk.node == heartbeat.node);
    let said = heartbeat.disks.iter().filter(|(id, _)| is_its_own(id));
    said.map(|(id, report)| (*id, report.state)).collect()
}

#[cfg(test)]
mod tests;
