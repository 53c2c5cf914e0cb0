//! The failure detector of the root leader: decides from heartbeats which nodes are up. Pure.

use std::collections::BTreeMap;

use proto::cluster::Heartbeat;
use proto::command::NodeChange;
use proto::map::ClusterMap;
use types::limits::NODE_SILENCE_MS_MAX;
use types::{DiskId, NodeId};

/// What the leader has heard. Times are milliseconds on the leader's monotonic clock.
#[derive(Debug)]
pub struct Liveness {
    /// When this node began to listen: nobody is silent for longer than we have listened.
    since_ms: u64,
    last: BTreeMap<NodeId, (u64, Heartbeat)>,
}

impl Liveness {
    /// A detector that begins to listen at `now_ms`.
    pub fn new(now_ms: u64) -> Self {
        Self { since_ms: now_ms, last: BTreeMap::new() }
    }

    /// Takes a heartbeat.
    pub fn heard(&mut self, now_ms: u64, heartbeat: Heartbeat) {
        self.last.insert(heartbeat.node, (now_ms, heartbeat));
    }

    /// The last heartbeat of a node and how long ago it was.
    pub fn last(&self, node: NodeId, now_ms: u64) -> Option<(u64, &Heartbeat)> {
        let (heard_ms, heartbeat) = self.last.get(&node)?;
        Some((now_ms.saturating_sub(*heard_ms), heartbeat))
    }

    /// Where the map differs from what was heard.
    pub fn changes(&self, now_ms: u64, map: &ClusterMap) -> Vec<NodeChange> {
        map.nodes
            .iter()
            .filter_map(|(id, node)| {
                let silent_ms = now_ms - self.last.get(id).map_or(self.since_ms, |(heard_ms, _)| *heard_ms);
                let down = silent_ms > NODE_SILENCE_MS_MAX;
                let change = match self.last.get(id) {
                    Some((_, h)) if !down => NodeChange {
                        node: *id,
                        up: true,
                        native: h.native,
                        control: h.control,
                        broken_disks: h.disks.iter().filter(|(_, d)| !d.healthy).map(|(id, _)| *id).collect(),
                    },
                    _ if down => NodeChange {
                        node: *id,
                        up: false,
                        native: node.native,
                        control: node.control,
                        broken_disks: broken_disks(map, *id),
                    },
                    // Not heard yet, but we have not listened for long either.
                    _ => return None,
                };
                let same = change.up == node.up
                    && change.native == node.native
                    && change.control == node.control
                    && change.broken_disks == broken_disks(map, *id);
                (!same).then_some(change)
            })
            .collect()
    }
}

fn broken_disks(map: &ClusterMap, node: NodeId) -> Vec<DiskId> {
    map.disks.iter().filter(|(_, d)| d.node == node && !d.healthy).map(|(id, _)| *id).collect()
}
