//! What this node shows of its partitions.

use std::collections::BTreeMap;

use raft::GroupStatus;
use types::PartitionId;

use super::Metaserver;

impl Metaserver {
    /// The partitions whose copies this node has.
    pub fn partitions(&self) -> BTreeMap<PartitionId, GroupStatus> {
        let ids = self.host.groups().into_iter().map(|group| group.id());
        ids.filter_map(|id| Some((id, self.host.status(id)?))).collect()
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
