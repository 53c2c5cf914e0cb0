//! What this node shows of its partitions.

use std::collections::BTreeMap;

use proto::index::IndexStats;
use raft::GroupStatus;
use types::PartitionId;

use super::Metaserver;

impl Metaserver {
    /// The partitions whose copies this node has.
    pub fn partitions(&self) -> BTreeMap<PartitionId, GroupStatus> {
        let ids = self.host.groups().into_iter().map(|group| group.id());
        ids.filter_map(|id| Some((id, self.host.status(id)?))).collect()
    }

    /// What the partitions of the index know that this node leads.
    pub fn index_stats(&self) -> BTreeMap<PartitionId, IndexStats> {
        let indexes: Vec<_> = self.indexes().iter().map(|(id, index)| (*id, index.clone())).collect();
        let stats = |(id, index): (PartitionId, std::sync::Arc<tree::Replica<tree::index::IndexMachine>>)| {
            let group = self.host.group(id).filter(|group| group.is_leader())?;
            Some((id, group.read(|state| index.machine().stats(state)).ok()?))
        };
        indexes.into_iter().filter_map(stats).collect()
    }

    /// Readers of journals that wait here.
    pub fn poll_count(&self) -> usize {
        self.polls.count()
    }

    /// How often one of them was woken.
    pub fn poll_woken_count(&self) -> u64 {
        self.polls.woken()
    }
}
